package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// A half carries bytes in one direction. The end that writes into it and the end
// that reads from it each have a side.
type half struct {
	mu      sync.Mutex // guards all below; never held while blocked, or in tell
	changed *sync.Cond // broadcast at each change that a blocked call waits for; nil until one had to
	tell    func()     // called whenever there is something new to read; nil: a read waits for it

	data    ring
	blocked int32 // calls that wait
	writing bool  // a write has begun and not ended: others queue behind it
	eof     bool  // nothing will be written any more

	reader, writer side
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if n, done, err := h.take(p); done {
			return n, err
		}
		h.wait(&h.reader)
	}
}

// tryRead is read that does not wait.
func (h *half) tryRead(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, done, err := h.take(p)
	if !done {
		return 0, syscall.EAGAIN
	}
	return n, err
}

// take reads what is there; it reports false if that is nothing yet.
func (h *half) take(p []byte) (n int, done bool, err error) {
	switch {
	case h.reader.closed:
		return 0, true, net.ErrClosed
	case h.reader.expired():
		return 0, true, os.ErrDeadlineExceeded
	case len(p) == 0:
		return 0, true, nil
	case h.data.n > 0:
		n = h.data.read(p)
		h.broadcast()
		return n, true, nil
	case h.eof:
		return 0, true, io.EOF
	}
	return 0, false, nil
}

// unlock is what ends every call that has changed what a read returns.
func (h *half) unlock() {
	tell := h.tell
	h.mu.Unlock()
	if tell != nil {
		tell()
	}
}

// wait waits for a change on behalf of a side, or for its deadline.
func (h *half) wait(s *side) {
	h.arm(s)
	if h.changed == nil {
		h.changed = sync.NewCond(&h.mu)
	}
	h.blocked++
	h.changed.Wait()
	h.blocked--
}

func (h *half) broadcast() {
	if h.blocked > 0 {
		h.changed.Broadcast()
	}
}

func (h *half) write(p []byte) (written int, err error) {
	h.mu.Lock()
	for h.writing && h.writeFault() == nil {
		h.wait(&h.writer)
	}
	for {
		if err := h.writeFault(); err != nil {
			h.mu.Unlock()
			return written, err
		}
		n := h.data.write(p[written:])
		written += n
		switch {
		case n == 0 && len(p) > 0:
			h.writing = true
			h.wait(&h.writer)
			h.writing = false
			continue
		case n == 0:
			h.mu.Unlock()
			return 0, nil
		}
		h.broadcast()
		if written == len(p) {
			h.unlock()
			return written, nil
		}
		h.writing = true
		h.unlock() // who is told may make room
		h.mu.Lock()
		h.writing = false
	}
}

// tryWrite writes what there is room for, unless another write waits for that.
func (h *half) tryWrite(p []byte) (int, error) {
	h.mu.Lock()
	err := h.writeFault()
	if err != nil || h.writing {
		h.mu.Unlock()
		return 0, err
	}
	n := h.data.write(p)
	if n == 0 {
		h.mu.Unlock()
		return 0, nil
	}
	h.broadcast()
	h.unlock()
	return n, nil
}

// writeFault returns why nothing can be written, if so.
func (h *half) writeFault() error {
	switch {
	case h.writer.closed:
		return net.ErrClosed
	case h.writer.expired():
		return os.ErrDeadlineExceeded
	case h.eof, h.reader.closed:
		return syscall.EPIPE
	}
	return nil
}

// finish ends what is written; what has been written can still be read. It
// reports false if the writer is closed.
func (h *half) finish() bool {
	h.mu.Lock()
	defer h.unlock()
	if h.writer.closed {
		return false
	}
	h.eof = true
	h.broadcast()
	return true
}

// closeWriter closes the writer's side. It reports false if it was closed
// before.
func (h *half) closeWriter() bool {
	h.mu.Lock()
	defer h.unlock()
	if h.writer.closed {
		return false
	}
	h.eof = true
	h.writer.close()
	h.broadcast()
	return true
}

// closeReader closes the reader's side and drops what it has not read.
func (h *half) closeReader() {
	h.mu.Lock()
	defer h.unlock()
	h.reader.close()
	h.data.drop()
	h.broadcast()
}
