package fleet

import (
	"errors"
	"time"

	"muster/iothub"
)

// A device that renews its token goes offline for it: MQTT 3.1.1 has no other
// way. It does so ahead of the token's end, at a time of its own, so that a
// fleet that came at once does not come back at once.
const (
	renewFrom  = 0.6              // of the token's life: the earliest
	renewUntil = 0.8              // and the latest
	renewRetry = time.Second      // between two looks whether the device is idle
	renewSpare = 30 * time.Second // before the token's end a device does not wait any more
)

var errRenewal = errors.New("renewing the token")

// token is a device's SAS token while it is good for another connection.
type token struct {
	text            string
	renewAt, expiry time.Time
}

// password returns a token for the session's next connection: the device's
// last one as long as it need not be renewed.
func (s *session) password(id string) string {
	f, now := s.fleet, time.Now()
	life := f.cfg.Connect.TokenLifetime
	fresh := func() token {
		expiry := now.Add(life)
		return token{
			text:   iothub.NewToken(iothub.DeviceResource(f.cfg.HostName, id), f.key(s.device, id), "", expiry),
			expiry: expiry,
		}
	}
	if !f.cfg.Connect.RenewTokens {
		return fresh().text
	}
	d := &f.devices[s.device]
	t := d.token.Load()
	if t == nil || !now.Before(t.renewAt) {
		made := fresh()
		draw := newDraw(f.cfg.Seed, s.device, streamRenewal, uint64(made.expiry.Unix()))
		part := renewFrom + (renewUntil-renewFrom)*draw.unit()
		made.renewAt = now.Add(time.Duration(part * float64(life)))
		t = &made
		d.token.Store(t)
	}
	s.token = t
	return t.text
}

// armRenewalLocked lets the session end when its token is to be renewed. What
// the timer does is a task of the fleet's, which Run joins.
func (s *session) armRenewalLocked() {
	if s.token != nil {
		s.renewal = time.AfterFunc(time.Until(s.token.renewAt), func() { s.fleet.tasks.start(s.renew) })
	}
}

// renew lets the device reconnect with a new token, once it has answered what
// it was asked, or must.
func (s *session) renew() {
	if s.handling.Load() > 0 && time.Until(s.token.expiry) > renewSpare {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.phase == active {
			s.renewal.Reset(renewRetry)
		}
		return
	}
	if s.end(errRenewal) == active {
		s.fleet.counts.renewed.Add(1)
		s.fleet.depart(s, 0)
	}
}
