package lean

import (
	"context"
	"fmt"

	"muster/fleet"
)

const ackTicks = tick(fleet.AckTimeout / tickLength)

// look is the wheel's look at a connection: it ends what takes too long and
// finds what is quiet. It reports whether the wheel is to look again, and whether
// a ping is to be sent.
func (c *conn) look(now tick) (goesOn, pings bool) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return false, false
	}
	fault := c.faultLocked(now)
	pings = fault == nil && c.pingsLocked(now)
	if pings {
		c.pinged = now
	}
	c.overdueLocked(now)
	c.watched = c.keepAlive > 0 || !c.greeted || c.busy || c.pending.len() > 0
	goesOn = fault == nil && c.watched
	c.mu.Unlock()
	if fault != nil {
		_ = c.end(fault)
		c.crew.workers.dispatch((*breaking)(c)) // closing TLS may take a while
	}
	return goesOn, pings
}

// faultLocked returns what takes too long, or nil.
func (c *conn) faultLocked(now tick) error {
	taken := now - c.since
	switch {
	case c.writing != nil && taken >= writeTicks:
		return errStalled
	case c.writing != nil && taken > 1 && c.writing.Err() != nil:
		return fmt.Errorf("given up in the middle of a write: %w", context.Cause(c.writing))
	case !c.greeted && now-c.sent >= connectTicks:
		return errNoConnack
	case c.pinged != 0 && now-c.pinged >= pingTicks:
		return errNoPong
	}
	return nil
}

// pingsLocked reports whether the keep-alive would be over before the wheel
// looks again. Who writes at that time needs no ping, or is stuck.
func (c *conn) pingsLocked(now tick) bool {
	return c.greeted && c.writing == nil && c.keepAlive > 0 && c.pinged == 0 && now-c.sent+c.every >= c.keepAlive
}
