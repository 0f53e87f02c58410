package hub

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"muster/internal/socket"
)

// defaultStrangers is how many connections there may be that have not proved who they are. An honest one is a stranger for
// a few round trips only.
const defaultStrangers = 1 << 14

// strangers are the connections of devices and of services that have not proved yet who they are. When there are too
// many, the one that has been a stranger for the longest time is closed: who only holds a place loses it first, and who
// comes to prove something finds one.
type strangers struct {
	crowded  atomic.Int64 // closed since there were too many
	unproven atomic.Int64 // ended without a proof, for whatever other reason

	most int // that there may be

	mu    sync.Mutex // guards order and the places in it; never held while one is evicted
	order list.List  // of stranger, the oldest first
}

// stranger is a connection without a proof. evict ends it, and does not block.
type stranger interface{ evict() }

// place is a stranger's place in the order, kept by the stranger.
type place struct{ at *list.Element } // nil = none

// enter gives a stranger a place.
func (s *strangers) enter(p *place, who stranger) {
	s.mu.Lock()
	p.at = s.order.PushBack(who)
	crowded := s.order.Len() > s.most
	s.mu.Unlock()
	if crowded {
		s.shed()
	}
}

// shed closes the oldest stranger, if there is one.
func (s *strangers) shed() {
	s.mu.Lock()
	oldest := s.order.Front()
	if oldest != nil {
		s.order.Remove(oldest)
	}
	s.mu.Unlock()
	if oldest != nil {
		s.crowded.Add(1)
		oldest.Value.(stranger).evict()
	}
}

// proved takes the place from somebody who is no stranger any more; without a place it does nothing.
func (s *strangers) proved(p *place) { s.leave(p) }

// ended takes the place from a connection that has ended, and counts it if it had one.
func (s *strangers) ended(p *place) {
	if s.leave(p) {
		s.unproven.Add(1)
	}
}

// leave reports whether there was a place to be left: an evicted stranger has none.
func (s *strangers) leave(p *place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.at == nil {
		return false
	}
	before := s.order.Len()
	s.order.Remove(p.at) // of an element that is out already it does nothing
	p.at = nil
	return s.order.Len() < before
}

func (s *strangers) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.order.Len())
}

// evict ends a device's connection that has not proved itself.
func (c *conn) evict() { c.end(endCrowded) }

// guest is a connection of the REST side. Its first request that is authorized is its proof.
type guest struct {
	nc     net.Conn // nil if it is not known
	place  place
	proved bool // as shown, for its requests alone, of which there is one at a time
	shown  pass // the last good one
}

func (g *guest) evict() { closeNow(g.nc) }

// closeNow closes a connection without a farewell, which would take time.
func closeNow(nc net.Conn) {
	if t, ok := nc.(socket.Secure); ok {
		nc = t.NetConn()
	}
	_ = nc.Close()
}

// guests are the connections of one HTTP server.
type guests struct {
	strangers *strangers
	byConn    sync.Map // net.Conn to *guest
}

type guestKey struct{}

// enter is the server's ConnContext: it gives a connection its place, and its requests the way to it.
func (gs *guests) enter(ctx context.Context, nc net.Conn) context.Context {
	g := &guest{nc: nc}
	gs.byConn.Store(nc, g)
	gs.strangers.enter(&g.place, g)
	return context.WithValue(ctx, guestKey{}, g)
}

// follow is told what becomes of a connection. One that becomes a device's is a stranger anew, but has not ended.
func (gs *guests) follow(nc net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	found, ok := gs.byConn.LoadAndDelete(nc)
	if !ok {
		return
	}
	if g := found.(*guest); state == http.StateHijacked {
		gs.strangers.proved(&g.place)
	} else {
		gs.strangers.ended(&g.place)
	}
}

// guestOf returns a request's connection. That of a server which is not one of the hub's own is not known.
func guestOf(r *http.Request) *guest {
	if g, ok := r.Context().Value(guestKey{}).(*guest); ok {
		return g
	}
	return new(guest)
}

// authorized says that a connection has proved who it is.
func (s *strangers) authorized(g *guest) {
	if !g.proved {
		g.proved = true
		s.proved(&g.place)
	}
}
