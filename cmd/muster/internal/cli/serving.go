package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// mostServed is how many connections a run's own server has open at a time:
// they are descriptors of the generator's.
const mostServed = 64

// serving is an HTTP server beside a run, from before it starts until stop.
type serving struct {
	addr   net.Addr
	what   string // for errors
	server http.Server
	joined sync.WaitGroup // of server; stop ends it
}

// serve serves h at addr, which a flag gave. A port alone is one of loopback:
// who may read a run's numbers is for its owner to say.
func serve(flag, addr, what string, h func(net.Addr) http.Handler) (*serving, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, withStatus(exitUsage, fmt.Errorf("%s %s: want HOST:PORT, or :PORT for loopback", flag, addr))
	}
	if host == "" {
		host = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, addr, err)
	}
	s := &serving{addr: l.Addr(), what: what}
	s.server = http.Server{
		Handler: h(l.Addr()), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // of what strangers send
	}
	s.joined.Go(func() { _ = s.server.Serve(netutil.LimitListener(l, mostServed)) }) // it ends with ErrServerClosed
	return s, nil
}

// stop lets requests end, for a second, and waits until nothing is served.
func (s *serving) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	s.joined.Wait()
	if err != nil {
		err = fmt.Errorf("stop serving %s: %w", s.what, err)
	}
	return err
}
