package device_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/device"
	"muster/fleet"
	"muster/iothub"
)

// script is a driver whose hub says what a test makes it say, in the order in
// which the test says it.
type script struct {
	mu       sync.Mutex // guards the fields below
	session  fleet.Session
	twin     string // what a twin GET is answered with
	status   int    // what a reported PATCH is answered with; 0: not at all
	gets     int
	reported []string
}

func (s *script) Dial(_ context.Context, _ fleet.DialFunc, session fleet.Session) (fleet.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = session
	return s, nil
}

func (s *script) Subscribe(context.Context, ...string) error { return nil }
func (s *script) Close() error                               { return nil }

func (s *script) Publish(_ context.Context, topic string, payload []byte, _ byte) error {
	t, err := iothub.ParseTopic(topic)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch t.Kind {
	case iothub.TopicTwinGet:
		s.gets++
		go s.session.OnMessage(iothub.TwinResponseTopic(200, t.RequestID, 0), []byte(s.twin))
	case iothub.TopicReported:
		s.reported = append(s.reported, string(payload))
		if s.status != 0 {
			go s.session.OnMessage(iothub.TwinResponseTopic(s.status, t.RequestID, int64(len(s.reported)+1)), nil)
		}
	default:
		return fmt.Errorf("unexpected topic %s", topic)
	}
	return nil
}

// notify delivers a notification, and waits until it is handled.
func (s *script) notify(version int64, body string) {
	s.mu.Lock()
	onMessage := s.session.OnMessage
	s.mu.Unlock()
	onMessage(iothub.DesiredTopic(version), []byte(body))
	synctest.Wait()
}

// play runs a device on a script for as long as do takes, and returns what it
// told of: the updates, and what came of reporting them.
func play(t *testing.T, s *script, do func()) (told, kept []string) {
	t.Helper()
	cs := iothub.ConnectionString{HostName: hubName, DeviceID: "dev1", SharedAccessKey: iothub.Key("k")}
	d, err := device.New(cs, s, func(context.Context) (net.Conn, error) { return nil, errors.New("not used") }, &device.Options{
		Desired: func(u device.Update) { told = append(told, describe(u)) },
		Reported: func(u device.Update, v int64, err error) {
			kept = append(kept, fmt.Sprint(u.Version, " as ", v, " ", err))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	synctest.Wait()
	do()
	cancel()
	running.Wait()
	return told, kept
}

// TestOvertakenNotifications delivers version 4 before version 3.
func TestOvertakenNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{twin: `{"desired":{"a":1,"$version":2},"reported":{"$version":1}}`, status: 204}
		told, kept := play(t, s, func() {
			s.mu.Lock()
			s.twin = `{"desired":{"a":1,"b":2,"c":3,"$version":4},"reported":{"$version":2}}`
			s.mu.Unlock()
			s.notify(4, `{"c":3,"$version":4}`)
			s.notify(3, `{"b":2,"$version":3}`)
			s.notify(5, `{"c":null,"$version":5}`)
		})
		want := []string{
			`{"Version":2,"Properties":{"a":1},"Complete":true}`,
			`{"Version":4,"Properties":{"a":1,"b":2,"c":3},"Complete":true}`,
			`{"Version":5,"Properties":{"c":null},"Complete":false}`,
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("updates (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"2 as 2 <nil>", "4 as 3 <nil>", "5 as 4 <nil>"}, kept); diff != "" {
			t.Errorf("reported (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{`{"a":1}`, `{"a":1,"b":2,"c":3}`, `{"c":null}`}, s.reported); diff != "" {
			t.Errorf("patches (-want +got):\n%s", diff)
		}
		if s.gets != 2 {
			t.Errorf("the twin was read %d times, want 2", s.gets)
		}
	})
}

func TestRefusedReportIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{twin: `{"desired":{"$version":1},"reported":{"$version":1}}`, status: 429}
		told, kept := play(t, s, func() {
			s.notify(2, `{"a":1,"$version":2}`)
			s.notify(3, `not JSON`)
		})
		if len(told) != 1 || len(kept) != 1 || !strings.Contains(kept[0], "report properties: hub answered 429") {
			t.Errorf("told of %q, reported %q; want one update, refused with 429", told, kept)
		}
	})
}

func TestReportWithoutAnswerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{twin: `{"desired":{"a":1,"$version":7},"reported":{"$version":1}}`}
		_, kept := play(t, s, func() { time.Sleep(2 * time.Minute) })
		if len(kept) != 1 || !strings.Contains(kept[0], "no answer from the hub") {
			t.Errorf("reported %q, want that there was no answer", kept)
		}
	})
}

// TestTwinMadeAnew loses the connection and finds a twin with a lower version.
func TestTwinMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{twin: `{"desired":{"a":1,"$version":7},"reported":{"$version":1}}`, status: 204}
		told, _ := play(t, s, func() {
			s.mu.Lock()
			s.twin = `{"desired":{"b":2,"$version":2},"reported":{"$version":1}}`
			lost := s.session.OnLost
			s.mu.Unlock()
			lost(errors.New("gone"))
			time.Sleep(2 * time.Second)
		})
		want := []string{
			`{"Version":7,"Properties":{"a":1},"Complete":true}`,
			`{"Version":2,"Properties":{"b":2},"Complete":true}`,
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("updates (-want +got):\n%s", diff)
		}
	})
}

// TestSessionGoesOn expects the device to ask for a session that outlives its
// connections, and no token in what prints it.
func TestSessionGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{twin: `{"desired":{"$version":1},"reported":{"$version":1}}`}
		play(t, s, func() {})
		if s.session.CleanSession || s.session.KeepAlive != time.Minute || s.session.ClientID != "dev1" {
			t.Errorf("session of %s, clean %v, keep-alive %v", s.session.ClientID, s.session.CleanSession, s.session.KeepAlive)
		}
		token, err := iothub.ParseToken(s.session.Password)
		if err != nil || !token.SignedBy(iothub.Key("k")) || !token.Covers(iothub.DeviceResource(hubName, "dev1")) {
			t.Errorf("token %v, %v", token, err)
		}
	})
}
