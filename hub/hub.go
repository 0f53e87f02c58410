package hub

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"muster/internal/socket"
	"muster/iothub"
)

// Options configures a hub. The zero value is valid.
type Options struct {
	// HostName is the hub's identity: what user names and tokens must name, with or without a port. Default "localhost".
	HostName string

	// ServiceKey is the key of the policy iothubowner. Default: 32 random bytes.
	ServiceKey iothub.Key

	// JobRate is how many executions a second all jobs together dispatch. Default 0: as fast as the machine can.
	JobRate float64

	// Tier and Units limit what the hub does to what the service does for such a hub: see docs/quotas.md. Units without
	// a tier mean nothing. Default: no tier, no limits, and 1 unit. New panics for a tier or units that do not exist.
	Tier  Tier
	Units int

	// CA signs what the hub shows to TLS clients. Default: one of the hub's own, made when it is first needed.
	CA *CA

	// DeviceCAs vouch for the devices whose authentication is of type certificateAuthority. Default: none does.
	DeviceCAs []*x509.Certificate

	// MaxStrangers is how many connections there may be that have not proved who they are, of devices before CONNECT and
	// of services before a request with a good token. When one more comes, the oldest is closed. Default 16,384.
	MaxStrangers int

	// Store keeps identities, twins, sessions, jobs and keys; the hub begins with what it holds, and closes it. A key of the
	// policy iothubowner that it holds is used if ServiceKey is not given. Default: nothing is kept.
	Store *Store

	// Logger gets what happens to the hub, and at Debug what happens to its devices. Default: nothing is logged.
	Logger *slog.Logger
}

func (o *Options) resolve() Options {
	var r Options
	if o != nil {
		r = *o
	}
	r.HostName = cmp.Or(r.HostName, "localhost")
	r.Units = cmp.Or(r.Units, 1)
	if r.MaxStrangers <= 0 {
		r.MaxStrangers = defaultStrangers
	}
	if len(r.ServiceKey) == 0 {
		r.ServiceKey = newKey()
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	return r
}

// Hub is an IoT hub. Its methods are safe for concurrent use.
//
// Every goroutine is counted in tasks, or a worker of readers, and ends when ctx does; Close waits for them. tasks counts
// connections, with the goroutines that read one alone, running jobs, the timers, calls of ServeMQTT and ServeREST, REST
// connections and REST requests.
type Hub struct {
	host      string
	log       *slog.Logger
	policies  policies
	ca        func() (*CA, error)         // makes it at the first call
	tls       func() (*tls.Config, error) // of every TLS listener, made at the first call
	vouchers  *x509.CertPool              // Options.DeviceCAs
	registry  *registry
	jobs      *jobs
	blobs     blobs
	timers    *timers
	readers   readers
	flushers  *flushers
	pacer     pacer
	gate      gate
	throttle  *throttle // nil without a tier
	faults    faults
	store     *Store // nil = nothing is kept
	mux       *http.ServeMux
	counters  counters
	strangers strangers
	sockets   socket.Network
	etags     atomic.Uint64 // the newest identity's etag

	ctx   context.Context
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu      sync.Mutex // guards the fields below, and that nothing is added to tasks once closed is set
	closed  bool
	closers map[closer]struct{} // listeners and HTTP servers
	conns   map[*conn]struct{}
}

// closer is what Close closes to end a call of ServeMQTT or ServeREST.
type closer interface{ Close() error }

// New returns a hub that has no devices but those of its store, and listens nowhere. Close ends it.
func New(opts *Options) *Hub {
	o := opts.resolve()
	h := &Hub{
		host:     o.HostName,
		log:      o.Logger,
		policies: newPolicies(o.ServiceKey),
		vouchers: x509.NewCertPool(),
		registry: newRegistry(),
		jobs:     newJobs(),
		blobs:    blobs{seed: maphash.MakeSeed()},
		throttle: newThrottle(o.Tier, o.Units),
		store:    o.Store,
		timers:   newTimers(),
		flushers: newFlushers(),
		pacer:    pacer{perSecond: o.JobRate},
		closers:  make(map[closer]struct{}),
		conns:    make(map[*conn]struct{}),
	}
	h.jobs.most, h.registry.most = h.throttle.maxActiveJobs(), h.throttle.maxDevices()
	h.jobs.store, h.registry.store = o.Store, o.Store
	h.ca = sync.OnceValues(NewCA)
	if o.CA != nil {
		h.ca = func() (*CA, error) { return o.CA, nil }
	}
	h.tls = sync.OnceValues(h.makeTLS)
	for _, ca := range o.DeviceCAs {
		h.vouchers.AddCert(ca)
	}
	h.faults.hub = h
	h.readers.start()
	h.strangers.most = o.MaxStrangers
	h.mux = h.routes()
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.tasks.Go(func() { h.timers.run(h.ctx.Done()) })
	if h.store != nil {
		h.store.adopt(h, opts.ServiceKey)
	}
	return h
}

// ServeMQTT accepts devices until the hub is closed, and returns nil then. Any number of listeners may be served.
// The hub closes the listener.
func (h *Hub) ServeMQTT(l net.Listener) error {
	l, err := h.listen(l)
	if err != nil {
		return err
	}
	return h.serveMQTT(l)
}

// listen returns a listener in place of l, whose connections tell if they can. With an error it closes l.
func (h *Hub) listen(l net.Listener) (net.Listener, error) {
	sockets, err := h.sockets.Listen(l)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for devices: %w", err), l.Close())
	}
	return sockets, nil
}

func (h *Hub) serveMQTT(l net.Listener) error {
	if !h.enter(l) {
		return l.Close() // the hub was closed before it came to this
	}
	defer h.leave(l)
	for {
		nc, err := h.accept(l)
		if err != nil {
			return err
		}
		if nc == nil {
			return nil
		}
		if h.faults.turnedAway() {
			_ = nc.Close() // nobody has used it
			continue
		}
		c := newConn(h, nc)
		c.nt, _ = nc.(telling)
		c.trying, _ = nc.(prompter)
		_, c.isSecure = nc.(socket.Secure)
		h.welcome(c)
	}
}

// accept returns the next connection, or nil when the hub is closed. Running out of descriptors passes: it tries again.
func (h *Hub) accept(l net.Listener) (net.Conn, error) {
	failures := 0
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		nc, err := l.Accept()
		switch {
		case err == nil:
			if failures > 0 {
				h.log.Warn("connections are accepted again", "failures", failures)
			}
			return nc, nil
		case h.ctx.Err() != nil:
			return nil, nil
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case failures == 0:
			h.log.Warn("connections cannot be accepted", "error", err)
		}
		failures++
		h.counters.unaccepted.Add(1)
		h.strangers.shed() // what is missing may be the descriptor that it holds
		if sleep(h.ctx, delay) != nil {
			return nil, nil
		}
	}
}

// acceptor is a listener of an HTTP server, which accepts as the hub does.
type acceptor struct {
	net.Listener
	hub *Hub
}

// Accept implements net.Listener.
func (a acceptor) Accept() (net.Conn, error) {
	nc, err := a.hub.accept(a.Listener)
	if nc == nil && err == nil {
		return nil, net.ErrClosed
	}
	return nc, err
}

// welcome starts the reader of a connection.
func (h *Hub) welcome(c *conn) {
	polled := c.polled() // only its reader may ask once there is one
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		_ = c.nc.Close()
		return
	}
	h.conns[c] = struct{}{}
	h.strangers.enter(&c.place, c)
	h.tasks.Add(1) // until it has finished
	if !polled {
		h.tasks.Go(c.serve)
	}
	h.mu.Unlock()
	if polled {
		c.begin()
	}
}

// ended is told by a connection's reader that nothing of the connection is left.
func (h *Hub) ended(c *conn, why ending, err error) {
	h.mu.Lock()
	delete(h.conns, c)
	h.mu.Unlock()
	h.faults.forget(c)
	h.strangers.ended(&c.place)
	h.counters.endings[why].Add(1)
	if c.will != nil {
		h.counters.telemetry.Add(1)
		c.dev.latest().keep(*c.will, time.Now())
	}
	if c.dev != nil {
		h.log.Debug("connection ended", "device", c.dev.id, "reason", why, "error", err)
	} else {
		h.log.Debug("connection refused", "reason", why, "error", err)
	}
}

// ServeREST serves the REST side on l until the hub is closed, and returns nil then. The hub closes the listener.
func (h *Hub) ServeREST(l net.Listener) error { return h.serveHTTP(l, h) }

// serveHTTP serves HTTP/1.1 on l until the hub is closed.
func (h *Hub) serveHTTP(l net.Listener, handler http.Handler) error {
	var open sync.WaitGroup // the server's connections
	all := guests{strangers: &h.strangers}
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(all.enter(ctx, nc), serviceConn{}, nc)
		},
		// What is asked of the server itself is a request like any other.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
		ConnState: func(nc net.Conn, state http.ConnState) {
			all.follow(nc, state)
			switch state {
			case http.StateNew:
				open.Add(1)
				h.faults.opening(nc)
			case http.StateClosed, http.StateHijacked:
				h.faults.closing(nc)
				open.Done()
			}
		},
	}
	if !h.enter(srv) {
		return l.Close() // the hub was closed before it came to this
	}
	defer h.leave(srv)
	err := srv.Serve(acceptor{l, h})
	_ = srv.Close()
	open.Wait()
	if h.ctx.Err() != nil {
		return nil
	}
	return err
}

// enter counts a call that serves until the hub is closed; it reports false if the hub is closed already.
func (h *Hub) enter(c closer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.closers[c] = struct{}{}
	h.tasks.Add(1)
	return true
}

func (h *Hub) leave(c closer) {
	h.mu.Lock()
	delete(h.closers, c)
	h.mu.Unlock()
	h.tasks.Done()
}

// spawn runs f on a goroutine that Close waits for; on a closed hub it does nothing.
func (h *Hub) spawn(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.tasks.Go(f)
	}
}

// Close ends all connections, listeners, requests and jobs, and returns when nothing of the hub is running any more and its
// store is closed.
// It must not be called from within one of the hub's own requests.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	var ending []closer
	for c := range h.closers {
		ending = append(ending, c)
	}
	conns := make([]*conn, 0, len(h.conns))
	for c := range h.conns {
		conns = append(conns, c)
	}
	h.mu.Unlock()
	h.stop()
	var errs []error
	for _, c := range ending {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for _, c := range conns {
		c.end(endClosed)
	}
	h.tasks.Wait()
	h.readers.close()
	h.flushers.workers.Wait()
	if h.store != nil {
		errs = append(errs, h.store.Close())
	}
	return errors.Join(errs...)
}

// Pause stalls the service for d from now: no request is begun or answered and no job execution is dispatched. What
// was due in that time is made up for afterwards. It is a test hook, and does not block.
func (h *Hub) Pause(d time.Duration) { h.gate.shut(d) }
