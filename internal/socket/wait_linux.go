package socket

import (
	"net"
	"sync"
	"time"
)

// await waits until there may be something to do in a direction, or never will.
func (c *Conn) await(direction int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.ready[direction] && c.faultLocked(direction) == nil {
		c.waitLocked(direction)
	}
}

// waitLocked waits for a change, or for a direction's deadline.
func (c *Conn) waitLocked(direction int) {
	if c.changed == nil {
		c.changed = sync.NewCond(&c.mu)
	}
	if c.limits != nil && !c.limits[direction].IsZero() {
		alarm := time.AfterFunc(time.Until(c.limits[direction]), c.wake)
		defer alarm.Stop()
	}
	c.blocked++
	c.changed.Wait()
	if c.blocked--; c.blocked == 0 {
		c.changed = nil // an idle connection does not hold it
	}
}

func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeLocked()
}

func (c *Conn) wakeLocked() {
	if c.blocked > 0 {
		c.changed.Broadcast()
	}
}

// expired says whether a deadline has passed. The zero time is none.
func expired(t time.Time) bool { return !t.IsZero() && time.Until(t) <= 0 }

// SetDeadline sets both deadlines. The zero time is none.
func (c *Conn) SetDeadline(t time.Time) error { return c.setLimits(t, reading, writing) }

// SetReadDeadline ends present and future reads at t.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setLimits(t, reading) }

// SetWriteDeadline ends present and future writes at t.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setLimits(t, writing) }

func (c *Conn) setLimits(t time.Time, directions ...int) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.opError("set", net.ErrClosed)
	}
	defer c.mu.Unlock()
	var limits [2]time.Time
	if c.limits != nil {
		limits = *c.limits
	}
	for _, d := range directions {
		limits[d] = t
	}
	switch {
	case limits == [2]time.Time{}:
		c.limits = nil
	case c.limits == nil:
		c.limits = &limits
	default:
		*c.limits = limits
	}
	c.wakeLocked()
	return nil
}
