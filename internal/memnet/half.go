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
	mu      sync.Mutex // guards all below; never held while blocked
	changed sync.Cond  // broadcast at each change that a blocked read or write waits for

	data    ring
	writing bool // a write is waiting for room: others queue behind it
	eof     bool // nothing will be written any more

	reader, writer side
}

// A side is what one end did to a half.
type side struct {
	closed   bool
	deadline *deadline // nil until one is set
}

func (s *side) expired() bool { return s.deadline != nil && s.deadline.expired }

func (s *side) close() {
	s.closed = true
	if s.deadline != nil {
		s.deadline.clear()
	}
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.reader.closed:
			return 0, net.ErrClosed
		case h.reader.expired():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case h.data.n > 0:
			n := h.data.read(p)
			h.changed.Broadcast()
			return n, nil
		case h.eof:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.writing && h.writeFault() == nil {
		h.changed.Wait()
	}
	written := 0
	for {
		if err := h.writeFault(); err != nil {
			return written, err
		}
		if n := h.data.write(p[written:]); n > 0 {
			written += n
			h.changed.Broadcast()
		}
		if written == len(p) {
			return written, nil
		}
		h.await()
	}
}

// await waits for a change on behalf of a write that has begun.
func (h *half) await() {
	h.writing = true
	h.changed.Wait()
	h.writing = false
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
	defer h.mu.Unlock()
	if h.writer.closed {
		return false
	}
	h.eof = true
	h.changed.Broadcast()
	return true
}

// closeWriter closes the writer's side. It reports false if it was closed
// before.
func (h *half) closeWriter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writer.closed {
		return false
	}
	h.eof = true
	h.writer.close()
	h.changed.Broadcast()
	return true
}

// closeReader closes the reader's side and drops what it has not read.
func (h *half) closeReader() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reader.close()
	h.data.drop()
	h.changed.Broadcast()
}
