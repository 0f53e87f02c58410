package sample

import (
	"encoding/binary"
	"errors"
	"time"
)

type kind byte

const (
	kindDevice kind = iota + 1
	kindConnect
	kindTargets
	kindExecution
	kindUnexpected
	kindRepetition
	kindJobState
	kindHubStats
	kindHealth
	kindEnd
	kindLost
	kindFault
	kindRecording

	kindRows kind = 0 // of a block: records of several kinds, each with its own before it
)

// newRecord returns an empty record of kind k, or nil if there is none.
func newRecord(k kind) Record {
	switch k {
	case kindDevice:
		return new(Device)
	case kindConnect:
		return new(Connect)
	case kindTargets:
		return new(Targets)
	case kindExecution:
		return new(Execution)
	case kindUnexpected:
		return new(Unexpected)
	case kindRepetition:
		return new(Repetition)
	case kindJobState:
		return new(JobState)
	case kindHubStats:
		return new(HubStats)
	case kindHealth:
		return new(Health)
	case kindEnd:
		return new(End)
	case kindLost:
		return new(Lost)
	case kindFault:
		return new(Fault)
	case kindRecording:
		return new(Recording)
	}
	return nil
}

var errMalformed = errors.New("malformed record")

// coder writes fields to buf, or reads them from it. One list of fields a
// record serves both directions, so they cannot drift apart. After an error
// every read yields zero.
type coder struct {
	buf     []byte
	reading bool
	first   bool // records are as the first version of the format has them
	err     error
}

func (c *coder) fail() {
	c.err = errMalformed
	c.buf = nil
}

func (c *coder) readUvarint() uint64 {
	v, n := binary.Uvarint(c.buf)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.buf = c.buf[n:]
	return v
}

func (c *coder) int64(v *int64) {
	if c.reading {
		*v = unzigzag(c.readUvarint())
		return
	}
	c.buf = binary.AppendUvarint(c.buf, zigzag(*v))
}

func (c *coder) uint32(v *uint32) {
	if c.reading {
		u := c.readUvarint()
		if u > 1<<32-1 {
			c.fail()
			u = 0
		}
		*v = uint32(u)
		return
	}
	c.buf = binary.AppendUvarint(c.buf, uint64(*v))
}

func (c *coder) int32(v *int32) {
	u := uint32(*v)
	c.uint32(&u)
	*v = int32(u)
}

func (c *coder) duration(v *time.Duration) { c.int64((*int64)(v)) }

func (c *coder) moment(v *Moment) { c.int64((*int64)(v)) }

// momentFrom codes v by its distance from base, which is short; zero stays
// the moment that was not seen.
func (c *coder) momentFrom(base Moment, v *Moment) {
	var d int64
	if !c.reading && v.Seen() {
		d = int64(*v - base)
		if d >= 0 {
			d++
		}
	}
	c.int64(&d)
	if !c.reading {
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
}

// flags codes up to eight booleans as one byte.
func (c *coder) flags(bits ...*bool) {
	if c.reading {
		if len(c.buf) == 0 {
			c.fail()
			return
		}
		b := c.buf[0]
		c.buf = c.buf[1:]
		for i, bit := range bits {
			*bit = b&(1<<i) != 0
		}
		return
	}
	var b byte
	for i, bit := range bits {
		if *bit {
			b |= 1 << i
		}
	}
	c.buf = append(c.buf, b)
}

func (c *coder) outcome(v *Outcome) {
	u := uint32(*v)
	c.uint32(&u)
	if u >= uint32(outcomes) {
		c.fail()
		u = 0
	}
	*v = Outcome(u)
}

func (c *coder) string(v *string) {
	n := c.length(len(*v), 1)
	if c.reading {
		*v = string(c.buf[:n])
		c.buf = c.buf[n:]
		return
	}
	c.buf = append(c.buf, *v...)
}

// length codes the number of elements that follow, each of at least size
// bytes: a count that the rest of the buffer cannot hold is malformed.
func (c *coder) length(n, size int) int {
	if c.reading {
		u := c.readUvarint()
		if u > uint64(len(c.buf)/size) {
			c.fail()
			return 0
		}
		return int(u)
	}
	c.buf = binary.AppendUvarint(c.buf, uint64(n))
	return n
}

// most bounds a list that columns hold, since a few bytes can tell of very many
// equal numbers: more than a fleet may have devices, or a process wakes in hours.
const most = 1 << 24

// numbers codes a list of n numbers by columns, of which it says one by one how
// they are got and set.
func (c *coder) numbers(n int, number func(i int, v *int64)) {
	var column [tableRecords]int64
	for from := 0; from < n && c.err == nil; from += len(column) {
		some := column[:min(n-from, len(column))]
		if c.reading {
			c.column(some)
		}
		for i := range some {
			number(from+i, &some[i])
		}
		if !c.reading {
			c.buf = appendColumn(c.buf, some)
		}
	}
}

// listed codes how many numbers follow by columns.
func (c *coder) listed(n int) int {
	if !c.reading {
		c.buf = binary.AppendUvarint(c.buf, uint64(n))
		return n
	}
	// A column takes two bytes at least.
	if u := c.readUvarint(); u <= min(uint64(len(c.buf))/2*tableRecords, most) {
		return int(u)
	}
	c.fail()
	return 0
}

// next reads one record.
func (c *coder) next() (Record, error) {
	k := kind(c.buf[0])
	c.buf = c.buf[1:]
	r := newRecord(k)
	if r == nil {
		c.fail()
		return nil, c.err
	}
	r.fields(c)
	return r, c.err
}
