package sample

import "encoding/binary"

// A table is a block of records of one kind by columns. Devices, connects and
// executions are written so; they are nearly all that a run records. What one
// record has in common with the one before takes no room, and the moments of
// one are written by how far they are from each other.
//
// A table's cells are numbers. Texts are in a list that cells count from 1,
// but for ids, which nearly all differ: of these a table has what each does not
// share with the one before.
type table struct {
	reading bool
	failed  bool // what was read cannot have been written
	n       int  // records
	row     int  // the present record, and its next cell
	cell    int
	columns [maxColumns][tableRecords]int64
	used    int // columns
	text    int // bytes of it

	texts   []string
	placeOf map[string]int64 // of a text, while writing
	tails   []byte           // of ids
	tail    int              // where the next is, while reading
}

const (
	maxColumns = 14
	// tableRecords is how many records a table has at most. With so many its
	// numbers are in a processor's cache while they are written.
	tableRecords = 2048
	// tableText is how many bytes of text a table has at most, unless its first
	// record alone has more.
	tableText = 256 << 10
)

// tabled is a pointer to a record that is written in tables.
type tabled[R any] interface {
	*R
	Record
	cells(t *table, before *R) // reads or writes every field, in a fixed order
	text() int                 // bytes of text
}

// full reports whether a record with so much text does not go into the table.
func (t *table) full(text int) bool {
	return t.n == tableRecords || t.n > 0 && t.text+text > tableText
}

// addRow adds a record to a table that is being written.
func addRow[R any, P tabled[R]](t *table, r P, before *R) {
	t.row, t.cell = t.n, 0
	r.cells(t, before)
	t.n, t.used = t.n+1, t.cell
	t.text += r.text()
}

func (t *table) reset(reading bool) {
	t.reading, t.failed, t.n, t.row, t.used, t.text, t.tail = reading, false, 0, 0, 0, 0, 0
	clear(t.texts)
	t.texts, t.tails = t.texts[:0], t.tails[:0]
	if len(t.placeOf) > 0 {
		clear(t.placeOf)
	}
}

func (t *table) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(t.n))
	dst = binary.AppendUvarint(dst, uint64(len(t.texts)))
	for _, s := range t.texts {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	dst = append(binary.AppendUvarint(dst, uint64(len(t.tails))), t.tails...)
	for i := range t.used {
		dst = appendColumn(dst, t.columns[i][:t.n])
	}
	return dst
}

// read takes in a table of so many columns.
func (t *table) read(src []byte, columns int) bool {
	t.reset(true)
	c := coder{buf: src, reading: true}
	n := c.readUvarint()
	if n == 0 || n > tableRecords {
		return false
	}
	t.n, t.used = int(n), columns
	texts := c.length(0, 1)
	for range texts {
		var s string
		c.string(&s)
		t.texts = append(t.texts, s)
	}
	tails := c.length(0, 1)
	t.tails = append(t.tails, c.buf[:tails]...)
	c.buf = c.buf[tails:]
	for i := range columns {
		c.column(t.columns[i][:n])
	}
	return c.err == nil && len(c.buf) == 0
}

// more reports whether the table that was read has records left.
func (t *table) more() bool { return t.row < t.n }

// number codes a cell as it is.
func (t *table) number(v *int64) {
	c := &t.columns[t.cell][t.row]
	t.cell++
	if t.reading {
		*v = *c
	} else {
		*c = *v
	}
}

func (t *table) uint32(v *uint32) {
	n := int64(*v)
	t.number(&n)
	if t.reading {
		*v = uint32(n)
		t.failed = t.failed || n != int64(*v)
	}
}

func (t *table) int32(v *int32) {
	n := int64(*v)
	t.number(&n)
	if t.reading {
		*v = int32(n)
		t.failed = t.failed || n != int64(*v)
	}
}

// device codes an index by how far it is from the one before. Those of one
// stripe are multiples of the number of stripes apart.
func (t *table) device(v *uint32, before uint32) {
	step := int64(*v) - int64(before)
	if step%stripeCount == 0 {
		step = step / stripeCount * 2
	} else {
		step = step*2 + 1
	}
	t.number(&step)
	if !t.reading {
		return
	}
	if step&1 == 0 {
		step = step >> 1 * stripeCount
	} else {
		step >>= 1
	}
	step += int64(before)
	*v = uint32(step)
	t.failed = t.failed || step != int64(*v)
}

// farthest bounds a moment that can be read: 73 years from the epoch. So no
// two are too far from each other for a number.
const farthest = Moment(1) << 61

// moment codes a moment that was seen by how far it is from base.
func (t *table) moment(base Moment, v *Moment) {
	var d int64
	if !t.reading && v.Seen() {
		if d = int64(*v - base); d >= 0 {
			d++
		}
	}
	t.number(&d)
	if !t.reading {
		return
	}
	switch {
	case d > 0:
		*v = base + Moment(d-1)
	case d < 0:
		*v = base + Moment(d)
	default:
		*v = 0
	}
	t.failed = t.failed || *v > farthest || *v < -farthest
}

// string codes a text that few records have and many of them share.
func (t *table) string(v *string) {
	if t.reading {
		var place int64
		t.number(&place)
		switch {
		case place == 0:
			*v = ""
		case place < 0 || place > int64(len(t.texts)):
			t.failed = true
		default:
			*v = t.texts[place-1]
		}
		return
	}
	place := t.place(*v)
	t.number(&place)
}

// place returns where the list of texts has s, from 1; 0 for no text.
func (t *table) place(s string) int64 {
	if s == "" {
		return 0
	}
	if n := len(t.texts); n > 0 && t.texts[n-1] == s {
		return int64(n)
	}
	place, ok := t.placeOf[s]
	if !ok {
		if t.placeOf == nil {
			t.placeOf = map[string]int64{}
		}
		t.texts = append(t.texts, s)
		place = int64(len(t.texts))
		t.placeOf[s] = place
	}
	return place
}

// id codes a text by what it does not share with the one before.
func (t *table) id(v *string, before string) {
	shared, tail := int64(0), int64(0)
	if !t.reading {
		for shared < int64(min(len(*v), len(before))) && (*v)[shared] == before[shared] {
			shared++
		}
		tail = int64(len(*v)) - shared
		t.tails = append(t.tails, (*v)[shared:]...)
	}
	t.number(&shared)
	t.number(&tail)
	if !t.reading {
		return
	}
	if shared < 0 || shared > int64(len(before)) || tail < 0 || tail > int64(len(t.tails)-t.tail) {
		t.failed = true
		return
	}
	from := t.tail
	t.tail += int(tail)
	*v = before[:shared] + string(t.tails[from:t.tail])
}
