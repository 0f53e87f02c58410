package fleet

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"muster/internal/sample"
	"muster/iothub"
)

const versionKey = "$version"

// notified handles a change of the desired properties. What the device's twin
// GET had returned already is dropped, as the hub's own guide asks.
func (s *session) notified(t iothub.Topic, payload []byte, at sample.Moment) {
	f := s.fleet
	f.counts.notifications.Add(1)
	patch, version, err := splitVersion(payload)
	if err != nil {
		f.counts.unexpected.Add(1)
		return
	}
	if t.Version != 0 {
		version = t.Version
	}
	if s.isStale(version) {
		f.counts.stale.Add(1)
		return
	}
	ticket := f.cfg.Observer.Received(sample.Receipt{
		Device: s.device, Kind: sample.DesiredReceipt, Payload: patch, At: at,
	})
	if g, _ := f.group(s.device); g.EchoDesired {
		s.report(ticket, version, bytes.Clone(patch)) // which the session keeps
	} else {
		f.cfg.Observer.Finished(ticket, at) // there is nothing else to do
	}
}

func (s *session) isStale(version int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return version <= s.fetched
}

// report reports the patch and awaits the hub's 204.
func (s *session) report(ticket uint64, version int64, patch []byte) {
	f := s.fleet
	rid, answer := s.expect()
	defer s.forget(rid)
	reports, err := s.writeReport(rid, version, patch)
	if reports == nil {
		if err != nil {
			f.counts.unsent.Add(1)
		}
		return
	}
	f.cfg.Observer.Answered(ticket, 200, s.link.lastWrite())
	r, err := await(&s.life, answer)
	if err != nil || r.status/100 != 2 {
		f.counts.echoFailed.Add(1)
		return
	}
	f.cfg.Observer.Finished(ticket, r.at)
	if f.cfg.Mirror != nil { // the twins are kept there
		f.cfg.Mirror.Reported(s.device, reports)
		return
	}
	f.merge(s.device, reported, reports)
}

// writeReport writes the reported PATCH of a desired version and returns it.
// Notifications are handled side by side and may overtake each other: they
// take turns here, and one that was overtaken reports what its successors did
// not change, lest an older value stays.
func (s *session) writeReport(rid string, version int64, patch []byte) (reports []byte, err error) {
	turn := s.echoTurn()
	select {
	case turn <- struct{}{}:
	case <-s.life.Done():
		return nil, s.life.Err()
	}
	defer func() { <-turn }()
	reports = s.advance(version, patch)
	if reports == nil {
		s.fleet.counts.stale.Add(1)
		return nil, nil
	}
	if err := s.link.Publish(&s.life, iothub.ReportedTopic(rid), reports, 0); err != nil {
		return nil, err
	}
	return reports, nil
}

// echoTurn returns the channel that holds one token while an echo is written.
func (s *session) echoTurn() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.echo == nil {
		s.echo = &echo{turn: make(chan struct{}, 1)}
	}
	return s.echo.turn
}

// echo is what a session knows of the desired changes that it reports.
type echo struct {
	turn     chan struct{} // one token: the right to write one
	reported []echoed      // what was reported last, by version; guarded by the session's mu
}

// echoed is a desired patch that a session has reported.
type echoed struct {
	version int64
	patch   []byte
}

// echoesKept is how many patches a session keeps to hold an overtaken one
// against. Only those on their way at one time can overtake each other.
const echoesKept = 8

// advance notes that a version is being echoed and returns what to report of
// it: nil if it was echoed before, or is too old to tell.
func (s *session) advance(version int64, patch []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.echo
	at, known := slices.BinarySearchFunc(e.reported, version, func(r echoed, v int64) int { return cmp.Compare(r.version, v) })
	if known || at == 0 && len(e.reported) == echoesKept {
		return nil
	}
	reports := patch
	for _, newer := range e.reported[at:] {
		reports = without(reports, newer.patch)
	}
	e.reported = slices.Insert(e.reported, at, echoed{version, patch})
	if len(e.reported) > echoesKept {
		e.reported = slices.Delete(e.reported, 0, 1)
	}
	return reports
}

// without returns patch without what newer, a patch that came after it, sets.
// Either is an object, or the patch is returned as it is.
func without(patch, newer []byte) []byte {
	var old, set map[string]json.RawMessage
	if json.Unmarshal(patch, &old) != nil || json.Unmarshal(newer, &set) != nil || old == nil {
		return patch
	}
	for name, value := range set {
		under, ok := old[name]
		switch {
		case !ok:
		case isObject(under) && isObject(value):
			old[name] = without(under, value)
		default:
			delete(old, name)
		}
	}
	out, err := json.Marshal(old)
	if err != nil {
		return patch // it was valid JSON before
	}
	return out
}

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }

// splitVersion takes the $version out of a notification and returns the patch
// without it. It may change body.
func splitVersion(body []byte) (patch []byte, version int64, err error) {
	if patch, version, ok := cutLastVersion(body); ok {
		return patch, version, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, 0, fmt.Errorf("read desired notification: %w", err)
	}
	if members == nil {
		return nil, 0, errors.New("read desired notification: it is null")
	}
	if raw, ok := members[versionKey]; ok {
		if version, err = strconv.ParseInt(string(raw), 10, 64); err != nil {
			return nil, 0, fmt.Errorf("read desired notification: %w", err)
		}
		delete(members, versionKey)
	}
	patch, err = json.Marshal(members)
	return patch, version, err
}

// cutLastVersion cuts the $version from a body that ends with it, as hubs write
// it, in place. What stands before the key decides whether it is one: a quote
// inside a string or a key would have a backslash before it.
func cutLastVersion(body []byte) (patch []byte, version int64, ok bool) {
	const key = `"` + versionKey + `":`
	at := bytes.LastIndex(body, []byte(key))
	if at < 1 || body[len(body)-1] != '}' {
		return nil, 0, false
	}
	version, err := strconv.ParseInt(string(body[at+len(key):len(body)-1]), 10, 64)
	if err != nil {
		return nil, 0, false
	}
	switch {
	case body[at-1] == ',':
		body[at-1] = '}'
		return body[:at], version, true
	case at == 1 && body[0] == '{':
		return append(body[:1], '}'), version, true
	}
	return nil, 0, false
}
