package device

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"muster/iothub"
)

const versionKey = "$version"

// twin is what a device reads of its twin: the desired properties.
type twin struct {
	desired json.RawMessage // without the version
	version int64
}

// take waits for the turn and reports whether it came before the session's end.
func (s *session) take() bool {
	select {
	case s.device.turn <- struct{}{}:
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (s *session) give() { <-s.device.turn }

// catchUp tells of what changed while the device was not online, and gives the
// turn back that open took.
func (s *session) catchUp(t twin) {
	defer s.give()
	d := s.device
	if t.version < d.told { // the device was deleted and made anew
		d.told, d.kept = 0, 0
	}
	s.change(Update{Version: t.version, Properties: t.desired, Complete: true})
}

// notified handles a change of the desired properties. What is older than what
// was told is dropped, as the hub's own guide asks.
func (s *session) notified(t iothub.Topic, payload []byte) {
	patch, version, err := splitVersion(payload)
	if err != nil {
		s.device.opts.Logger.Debug("unexpected message", "error", err)
		return
	}
	if t.Version != 0 {
		version = t.Version
	}
	if !s.take() {
		return
	}
	defer s.give()
	u := Update{Version: version, Properties: patch}
	if version > s.device.told+1 { // it has overtaken another, or one was lost
		t, err := s.fetch()
		if err != nil {
			s.device.opts.Logger.Debug("the twin was not read", "error", err)
			return
		}
		u = Update{Version: t.version, Properties: t.desired, Complete: true}
	}
	s.change(u)
}

// change tells of an update and reports it back, each unless that was done
// before. The caller has the turn.
func (s *session) change(u Update) {
	d := s.device
	empty := u.Complete && string(u.Properties) == "{}"
	if u.Version > d.told {
		d.told = u.Version
		if !empty {
			d.opts.Desired(u)
		}
	}
	if u.Version <= d.kept {
		return
	}
	if !empty {
		version, err := s.report(u.Properties)
		if err != nil && s.ctx.Err() != nil {
			return // it will be reported on the next connection
		}
		d.opts.Reported(u, version, err)
	}
	d.kept = u.Version
}

// report patches the reported properties and returns their new version.
func (s *session) report(patch []byte) (int64, error) {
	r, err := s.request(iothub.ReportedTopic, patch)
	if err == nil && r.status/100 != 2 {
		err = refusal(r)
	}
	if err != nil {
		return 0, fmt.Errorf("report properties: %w", err)
	}
	return r.version, nil
}

// fetch reads the twin.
func (s *session) fetch() (twin, error) {
	r, err := s.request(iothub.TwinGetTopic, []byte{})
	if err == nil && r.status != 200 {
		err = refusal(r)
	}
	var document iothub.Properties
	if err == nil {
		err = json.Unmarshal(r.payload, &document)
	}
	var t twin
	if err == nil {
		t.desired, t.version, err = splitVersion(document.Desired)
	}
	if err != nil {
		return twin{}, fmt.Errorf("read twin: %w", err)
	}
	return t, nil
}

// refusal reads the hub's error, which may be in an answer's body.
func refusal(r response) error { return iothub.ParseError(r.status, nil, r.payload) }

// request publishes a twin request and waits for its answer.
func (s *session) request(topic func(rid string) string, payload []byte) (response, error) {
	rid := strconv.FormatUint(s.device.lastRID.Add(1), 10)
	answer := make(chan response, 1) // one answer, so that its reader never waits for the waiter
	s.mu.Lock()
	s.pending[rid] = answer
	s.mu.Unlock()
	defer s.forget(rid)
	if err := s.conn.Publish(s.ctx, topic(rid), payload, 0); err != nil {
		return response{}, err
	}
	timer := time.NewTimer(twinTimeout)
	defer timer.Stop()
	select {
	case r := <-answer:
		return r, nil
	case <-s.ctx.Done():
		return response{}, context.Cause(s.ctx)
	case <-timer.C:
		return response{}, errNoAnswer
	}
}

// answered hands a response to the request that waits for it, if one does.
func (s *session) answered(t iothub.Topic, payload []byte) {
	if waiter := s.forget(t.RequestID); waiter != nil {
		waiter <- response{status: t.Status, version: t.Version, payload: payload}
	}
}

// forget removes the waiter of a request and returns it, or nil.
func (s *session) forget(rid string) chan response {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiter := s.pending[rid]
	delete(s.pending, rid)
	return waiter
}

// splitVersion takes the $version out of a section and returns what is left,
// on one line and with its keys in order.
func splitVersion(section []byte) (properties json.RawMessage, version int64, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(section, &members); err != nil {
		return nil, 0, fmt.Errorf("read desired properties: %w", err)
	}
	if raw, ok := members[versionKey]; ok {
		if version, err = strconv.ParseInt(string(bytes.TrimSpace(raw)), 10, 64); err != nil {
			return nil, 0, fmt.Errorf("read desired properties: %w", err)
		}
		delete(members, versionKey)
	}
	if members == nil {
		members = map[string]json.RawMessage{}
	}
	properties, err = json.Marshal(members)
	return properties, version, err
}
