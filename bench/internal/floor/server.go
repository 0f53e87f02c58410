package floor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// bufferSize holds each request and each answer.
const bufferSize = 160

// Listener is where a Server's devices come from.
type Listener interface {
	Accept() (io.ReadWriteCloser, error)
	Close() error
}

// Server is a hub that knows one exchange. serving joins its accept loop and
// the goroutine of each connection; Close ends them.
type Server struct {
	exchange *Exchange
	listener Listener
	devices  int
	ready    chan struct{} // closed when all devices are
	ended    context.Context
	end      context.CancelCauseFunc
	serving  sync.WaitGroup

	sent     uint32                 // broadcasts so far
	want     atomic.Pointer[[]byte] // the answer to the broadcast that goes on
	left     atomic.Int64           // answers to it that are to come
	answered chan struct{}          // one token: the last answer has come

	mu    sync.Mutex // guards conns
	conns []io.ReadWriteCloser
}

// NewServer serves so many devices at the listener, which is the server's from
// now on.
func NewServer(e *Exchange, l Listener, devices int) *Server {
	s := &Server{
		exchange: e, listener: l, devices: devices,
		ready:    make(chan struct{}),
		answered: make(chan struct{}, 1), // of one broadcast at a time
	}
	s.ended, s.end = context.WithCancelCause(context.Background())
	s.serving.Go(s.accept)
	return s
}

func (s *Server) accept() {
	for range s.devices {
		conn, err := s.listener.Accept()
		if err != nil {
			s.end(fmt.Errorf("accept: %w", err))
			return
		}
		s.serving.Go(func() {
			defer conn.Close()
			s.end(fmt.Errorf("serve a device: %w", s.serve(conn)))
		})
	}
}

// serve returns why the device's connection ended.
func (s *Server) serve(conn io.ReadWriteCloser) error {
	if err := s.welcome(conn); err != nil {
		return err
	}
	b := make([]byte, bufferSize)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return err
		}
		want := s.want.Load()
		if want == nil {
			return fmt.Errorf("an answer to nothing: %q", b[:n])
		}
		if rest := len(*want) - n; rest > 0 {
			m, err := io.ReadFull(conn, b[n:n+rest])
			if err != nil {
				return err
			}
			n += m
		}
		if !bytes.Equal(b[:n], *want) {
			return fmt.Errorf("the answer is %q, want %q", b[:n], *want)
		}
		if s.left.Add(-1) == 0 {
			s.answered <- struct{}{}
		}
	}
}

// welcome answers a device that comes online. All are as long as the first, so
// the server knows how much to read.
func (s *Server) welcome(conn io.ReadWriteCloser) error {
	b := make([]byte, len(s.exchange.Hello[0]))
	for i, hello := range s.exchange.Hello {
		if _, err := io.ReadFull(conn, b[:len(hello)]); err != nil {
			return err
		}
		if i == len(s.exchange.Hello)-1 {
			s.add(conn) // before the device can know that it is online
		}
		if _, err := conn.Write(s.exchange.Welcome[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) add(conn io.ReadWriteCloser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, conn)
	if len(s.conns) == s.devices {
		close(s.ready)
	}
}

// Broadcast sends a request to every device and returns how long it took from
// the first one to the last answer.
func (s *Server) Broadcast(ctx context.Context) (time.Duration, error) {
	if err := s.await(ctx, s.ready); err != nil {
		return 0, err
	}
	s.sent++
	request, want := s.exchange.Request(s.sent), s.exchange.Response(s.sent)
	s.want.Store(&want)
	s.left.Store(int64(s.devices))
	began := time.Now()
	s.send(request)
	err := s.await(ctx, s.answered)
	return time.Since(began), err
}

// send writes the request to all, a share of them in a goroutine for each
// processor.
func (s *Server) send(request []byte) {
	var writing sync.WaitGroup
	writers := runtime.GOMAXPROCS(0)
	for w := range writers {
		writing.Go(func() {
			for i := w; i < len(s.conns); i += writers {
				if _, err := s.conns[i].Write(request); err != nil {
					s.end(fmt.Errorf("send a request: %w", err))
					return
				}
			}
		})
	}
	writing.Wait()
}

func (s *Server) await(ctx context.Context, event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	case <-s.ended.Done():
		return context.Cause(s.ended)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends all connections.
func (s *Server) Close() {
	_ = s.listener.Close() // it may have ended by itself
	s.mu.Lock()
	conns := s.conns
	s.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close() // its device may be gone
	}
	s.serving.Wait()
}
