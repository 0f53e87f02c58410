package paho

import (
	"bufio"
	"context"
	"net"
	"sync/atomic"
	"time"

	"muster/fleet"
)

// readBuffer holds a device's usual messages whole. Paho reads a packet in four
// small pieces, each of which would be a call of the system.
const readBuffer = 512

// stream is the network connection under a paho client: reads are buffered and
// every write has a deadline.
type stream struct {
	net.Conn
	in       *bufio.Reader
	greeted  bool         // the first packet was looked at; only paho's reader uses it
	deadline atomic.Int64 // of writes, as Unix nanoseconds; 0: none is set
	release  func() bool  // keeps the attempt's context from closing the connection
}

func newStream(ctx context.Context, nc net.Conn) *stream {
	s := &stream{Conn: nc, in: bufio.NewReaderSize(nc, readBuffer)}
	s.release = context.AfterFunc(ctx, func() { _ = nc.Close() }) // nobody is left to tell
	return s
}

// detach makes the connection independent of the attempt's context. It reports
// false if that has closed it.
func (s *stream) detach() bool {
	release := s.release
	s.release = nil // it holds the context
	return release()
}

// Read reads through the buffer. The first packet is looked at before paho sees
// it: paho takes a refusal with a reserved code for a connection.
func (s *stream) Read(p []byte) (int, error) {
	if !s.greeted {
		s.greeted = true
		// MQTT 3.1.1, 3.2: type and flags, remaining length, session present, code.
		head, err := s.in.Peek(4)
		if err == nil && head[0] == 0x20 && head[1] == 2 && head[3] != 0 {
			return 0, &fleet.RefusedError{Code: head[3]}
		}
	}
	return s.in.Read(p)
}

// Write writes with a deadline of at least writeTimeout. It is set anew only
// once a quarter of it has passed, since each change costs a timer's.
func (s *stream) Write(p []byte) (int, error) {
	now := time.Now()
	if left := s.deadline.Load() - now.UnixNano(); left < int64(writeTimeout) {
		deadline := now.Add(writeTimeout + writeTimeout/4)
		s.deadline.Store(deadline.UnixNano())
		if err := s.Conn.SetWriteDeadline(deadline); err != nil {
			return 0, err
		}
	}
	return s.Conn.Write(p)
}

// SetDeadline sets the deadline of reads. Those of writes are set by Write.
func (s *stream) SetDeadline(t time.Time) error { return s.Conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing, since Write sets its own: paho sets and clears
// one around each message.
func (s *stream) SetWriteDeadline(time.Time) error { return nil }
