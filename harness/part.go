package harness

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"muster/fleet"
	"muster/harness/wire"
	"muster/internal/sample"
)

// part is one generator with what it has told.
type part struct {
	fleet.Part
	split    *split
	process  *Generator
	stopping atomic.Bool   // it is to end
	hello    chan struct{} // closed when it has made its devices
	over     chan struct{} // closed when it tells nothing any more; lost says why
	lost     error         // nil: it has told all, as it was asked to
	counts   atomic.Pointer[counts]

	mu      sync.Mutex               // guards settles; never held across a write
	settles map[uint64]chan struct{} // those that the generator has not answered yet

	// The fields below belong to the goroutine that reads.
	greeted bool
	ready   bool
	events  wire.Decoder
	tickets map[uint64]ticket // of receipts, by number, for which there is more to come. One that is never answered stays
}

// ticket is the scheduler's name of an execution.
type ticket struct {
	id   uint64
	kind sample.ReceiptKind
}

// number counts generators from 1, as people do.
func (p *part) number() int { return p.Nth + 1 }

func (p *part) String() string {
	return fmt.Sprintf("generator %d of %d (devices %d to %d)", p.number(), p.Of, p.From, p.To-1)
}

// unheard words why the generator could not be told something: most likely it
// is gone, and its reader is about to know why.
func (p *part) unheard(err error) error {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-p.split.failed:
		return p.split.failure
	case <-timer.C:
		return p.fault(err)
	}
}

// fault words an error of the generator's.
func (p *part) fault(err error) error { return fmt.Errorf("%v: %w", p, err) }

// read takes what the generator tells until it ends, and says so if it should not have.
func (p *part) read() {
	defer close(p.over)
	err := p.follow(wire.NewReader(p.process.Out))
	switch {
	case err == nil:
		return
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = generatorDeath(p, p.process.Stop(), oomKills(os.DirFS("/"))-p.split.oomKills)
	default:
		err = p.fault(err)
	}
	if p.lost = err; !p.stopping.Load() { // else stop returns it
		p.split.fail(err)
	}
}

// follow takes frames until the last one.
func (p *part) follow(frames *wire.Reader) error {
	for {
		kind, payload, err := frames.Next()
		if err != nil {
			return err
		}
		if !p.greeted && kind != wire.Hello && kind != wire.Fault {
			return fmt.Errorf("it began with frame %d", kind)
		}
		switch kind {
		case wire.Hello:
			if len(payload) != 1 || payload[0] != wire.Version || p.greeted {
				return fmt.Errorf("it does not speak version %d", wire.Version)
			}
			p.greeted = true
			close(p.hello)
		case wire.Events:
			err = p.events.Decode(payload, p.happened)
		case wire.Stats:
			now := new(counts)
			err = json.Unmarshal(payload, now)
			p.counts.Store(now)
		case wire.Health:
			err = p.fares(payload)
		case wire.Ready:
			p.isReady()
		case wire.Settled:
			err = p.settled(payload)
		case wire.Fault:
			return errors.New(string(payload))
		case wire.Ended:
			if !p.stopping.Load() {
				return errors.New("it ended by itself")
			}
			return nil
		default:
			err = fmt.Errorf("it said frame %d", kind)
		}
		if err != nil {
			return err
		}
	}
}

// isReady notes that each device's first connect is decided.
func (p *part) isReady() {
	if !p.ready && int(p.split.readies.Add(1)) == p.Of {
		close(p.split.ready)
	}
	p.ready = true
}

// settle asks for an answer when all is told. Its channel is closed then.
func (p *part) settle(n uint64) <-chan struct{} {
	answer := make(chan struct{})
	p.mu.Lock()
	p.settles[n] = answer
	p.mu.Unlock()
	_ = tell(p.process.In, wire.Settle, binary.AppendUvarint(nil, n)) // fails only if it is gone, which its reader tells
	return answer
}

func (p *part) settled(payload []byte) error {
	n, _ := binary.Uvarint(payload)
	p.mu.Lock()
	defer p.mu.Unlock()
	answer, ok := p.settles[n]
	if !ok {
		return errors.New("it answers what nobody asked")
	}
	delete(p.settles, n)
	close(answer)
	return nil
}

// fares records the generator's account of itself.
func (p *part) fares(payload []byte) error {
	h, err := wire.DecodeHealth(payload)
	if err != nil {
		return err
	}
	h.Generator = uint32(p.number())
	p.split.samples.Write(h)
	return nil
}

// happened passes an event on to whom a fleet of this process would tell it.
func (p *part) happened(e *wire.Event) error {
	sp := p.split
	switch e.What {
	case wire.Answered, wire.Finished:
		p.ended(e)
		return nil
	}
	if !p.has(e.Device) {
		return fmt.Errorf("it tells of device %d, which is not its own", e.Device)
	}
	switch e.What {
	case wire.Received:
		if id := sp.observer.Received(e.Receipt); id != 0 {
			p.tickets[e.Number] = ticket{id, e.Receipt.Kind}
		}
	case wire.Attempted:
		sp.samples.Connect(&e.Attempt)
	case wire.Lost:
		sp.samples.Lost(&e.Loss)
	case wire.Online, wire.Offline:
		sp.fleet.Moved(e.Device, e.What == wire.Online)
	case wire.Reported:
		sp.fleet.Reported(e.Device, e.Patch)
	}
	return nil
}

// ended passes on what became of a receipt that belongs to an execution.
func (p *part) ended(e *wire.Event) {
	t, ok := p.tickets[e.Number]
	if !ok {
		return
	}
	if e.What == wire.Finished || t.kind == sample.MethodReceipt {
		delete(p.tickets, e.Number)
	}
	if e.What == wire.Finished {
		p.split.observer.Finished(t.id, e.At)
	} else {
		p.split.observer.Answered(t.id, e.Status, e.At)
	}
}

// has reports whether a device is one of the generator's.
func (p *part) has(device uint32) bool { return p.From <= int(device) && int(device) < p.To }

// counts are what a generator tells of its devices, some times a second.
type counts struct {
	fleet.Stats
	Short   int           `json:",omitempty"` // see fleet.Fleet.Short
	Number  syscall.Errno `json:",omitempty"` // of the newest such error
	Because string        `json:",omitempty"` // its words
}

func countsOf(f *fleet.Fleet) counts {
	c := counts{Stats: f.Stats()}
	var err error
	if c.Short, err = f.Short(); err != nil {
		errors.As(err, &c.Number)
		c.Because = unwrapped(err).Error()
	}
	return c
}

// shortage is an error of another process.
type shortage struct {
	text   string
	number syscall.Errno
}

func (e *shortage) Error() string { return e.text }
func (e *shortage) Unwrap() error { return e.number }

func (c *counts) shortage() error { return &shortage{c.Because, c.Number} }
