package query

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"
)

// Groups collects the rows that a query selects into the rows of its result,
// for a query that is Grouped. It keeps no more of them than it was asked for,
// and is not safe for concurrent use.
type Groups struct {
	query *Query
	after []byte
	most  int
	rows  []*Group // by key
	key   []byte   // of the row that is added
}

// Group is one row of a grouped result.
type Group struct {
	query  *Query
	key    []byte
	rows   int
	values []Value // by which the rows are grouped
	sums   []sums  // one a column; nil if there is none to be calculated
}

// Groups returns an empty collection for the first groups after the one with
// the key after, at most that many; nil is before the first. Without GROUP BY
// there is one group, even of no rows.
func (q *Query) Groups(after []byte, most int) *Groups {
	g := &Groups{query: q, after: after, most: most}
	if len(q.groupBy) == 0 {
		g.rows = []*Group{q.newGroup(nil)}
	}
	return g
}

func (q *Query) newGroup(key []byte) *Group {
	g := &Group{query: q, key: key}
	if slices.ContainsFunc(q.columns, func(c column) bool { return c.aggregate > aggregateCount }) {
		g.sums = make([]sums, len(q.columns))
	}
	return g
}

// Add adds a row that the query selects. It keeps nothing of it.
func (g *Groups) Add(r Row) {
	g.key = g.key[:0]
	for _, path := range g.query.groupBy {
		v := r.Value(path)
		g.key = appendKey(g.key, &v)
	}
	g.key = shortKey(g.key)
	i, found := slices.BinarySearchFunc(g.rows, g.key, func(group *Group, key []byte) int {
		return bytes.Compare(group.key, key)
	})
	if !found {
		if i == g.most || bytes.Compare(g.key, g.after) <= 0 {
			return // if it is one too many, it was so before, and will be
		}
		g.rows = slices.Insert(g.rows[:min(len(g.rows), g.most-1)], i, g.grouped(r))
	}
	g.rows[i].add(r)
}

// grouped returns a new group for a row whose key is known.
func (g *Groups) grouped(r Row) *Group {
	group := g.query.newGroup(slices.Clone(g.key))
	for _, path := range g.query.groupBy {
		group.values = append(group.values, groupValue(r.Value(path)))
	}
	return group
}

// Rows returns the groups in the order of their keys: by the attributes of
// GROUP BY one after another, those without a value first, then null, false,
// true, numbers and strings.
func (g *Groups) Rows() []*Group { return g.rows }

func (g *Group) add(r Row) {
	g.rows++
	for i := range g.sums {
		if c := &g.query.columns[i]; c.aggregate > aggregateCount {
			v := r.Value(c.path)
			g.sums[i].add(&v)
		}
	}
}

// Key returns what tells the group from others. It says only which values its
// rows have in common, and so stays the same while rows come and go.
func (g *Group) Key() []byte { return g.key }

// Append appends the group as a JSON object, without the columns that have no
// value.
func (g *Group) Append(dst []byte) []byte {
	m := members{dst: append(dst, '{')}
	for i := range g.query.columns {
		c := &g.query.columns[i]
		var v Value
		switch c.aggregate {
		case aggregateNone:
			v = g.values[c.group]
		case aggregateCount:
			v = Number(float64(g.rows))
		default:
			v = g.sums[i].result(c.aggregate)
		}
		if v.kind != KindUndefined {
			m.begin(c)
			m.dst = v.appendJSON(m.dst)
		}
	}
	return append(m.dst, '}')
}

// sums is what aggregates are calculated from: the numbers among the values of
// an attribute.
type sums struct {
	count         int
	sum, min, max float64
}

func (s *sums) add(v *Value) {
	if v.kind != KindNumber {
		return
	}
	if s.count == 0 {
		s.min, s.max = v.num, v.num
	}
	s.count++
	s.sum += v.num
	s.min, s.max = min(s.min, v.num), max(s.max, v.num)
}

// result is undefined without a number, and beyond the range of a float64.
func (s *sums) result(a aggregate) Value {
	if s.count == 0 {
		return Value{}
	}
	switch a {
	case aggregateAvg:
		return Number(s.sum / float64(s.count))
	case aggregateMin:
		return Number(s.min)
	case aggregateMax:
		return Number(s.max)
	}
	return Number(s.sum)
}

// groupValue returns the value that a row is grouped by, for keeping. What
// cannot be compared is no such value, and of the two zeros there is one.
func groupValue(v Value) Value {
	switch v.kind {
	case KindObject:
		return Value{}
	case KindNumber:
		return Number(v.num + 0)
	case KindString:
		return String(strings.Clone(v.text()))
	}
	return v
}

// appendKey appends a value so that keys sort as the values do.
func appendKey(dst []byte, v *Value) []byte {
	switch v.kind {
	case KindNull:
		return append(dst, byte(KindNull))
	case KindBool:
		return append(dst, byte(KindBool), byte(v.num))
	case KindNumber:
		bits := math.Float64bits(v.num + 0)
		if v.num < 0 {
			bits = ^bits
		} else {
			bits |= 1 << 63
		}
		return binary.BigEndian.AppendUint64(append(dst, byte(KindNumber)), bits)
	case KindString:
		return appendTextKey(append(dst, byte(KindString)), v)
	}
	return append(dst, byte(KindUndefined))
}

// appendTextKey appends a string that ends with 0 1, which sorts before what
// could go on: a zero within is 0 255.
func appendTextKey(dst []byte, v *Value) []byte {
	start := len(dst)
	if v.view != nil {
		dst = append(dst, v.view...)
	} else {
		dst = append(dst, v.str...)
	}
	for i := start; i < len(dst); i++ {
		if dst[i] == 0 {
			dst = slices.Insert(dst, i+1, 255)
		}
	}
	return append(dst, 0, 1)
}

// maxKey bounds keys, so that one fits into a header.
const maxKey = 512

// shortKey replaces the end of a long key by a hash of it all. Such keys sort
// by their beginning.
func shortKey(key []byte) []byte {
	if len(key) <= maxKey {
		return key
	}
	hash := sha256.Sum256(key)
	return append(key[:maxKey-len(hash)], hash[:]...)
}

// appendJSON appends a value that is no object.
func (v Value) appendJSON(dst []byte) []byte {
	if v.kind != KindString {
		return v.append(dst)
	}
	quoted, _ := json.Marshal(v.text()) // a string never fails
	return append(dst, quoted...)
}
