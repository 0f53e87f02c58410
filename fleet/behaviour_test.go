package fleet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/fleet"
	"muster/fleet/fleettest"
	"muster/internal/sample"
	"muster/iothub"
)

// withMethods returns a group of n doors with methods.
func withMethods(t testing.TB, n int, methods map[string]fleet.Method) fleet.Group {
	g := doors(t, n)
	g.Methods = methods
	return g
}

func (w *world) call(device, method, rid, payload string) {
	w.Helper()
	if err := w.hub.Call(device, method, rid, payload); err != nil {
		w.Fatalf("call %s of %s: %v", method, device, err)
	}
}

func (w *world) desired(version int64, body string) {
	w.Helper()
	if err := w.hub.Desired("door-0", version, body); err != nil {
		w.Fatalf("notify: %v", err)
	}
}

func TestMethodAnswers(t *testing.T) {
	methods := map[string]fleet.Method{
		"lock":    {Response: []byte(`{"ok":true}`), Latency: fleet.Latency{Median: 20 * time.Millisecond}},
		"status":  {Status: 202},
		"fail":    {Response: []byte(`{"ok":true}`), FailureRate: 1},
		"refuse":  {FailureRate: 1, FailureStatus: 503},
		"silence": {SilenceRate: 1, FailureRate: 1},
	}
	for _, c := range []struct {
		method string
		topic  string // of the answer; empty: none
		body   string
		after  time.Duration
	}{
		{"lock", "$iothub/methods/res/200/?$rid=r1", `{"ok":true}`, 20 * time.Millisecond},
		{"status", "$iothub/methods/res/202/?$rid=r1", "", 0},
		{"fail", "$iothub/methods/res/500/?$rid=r1", "", 0},
		{"refuse", "$iothub/methods/res/503/?$rid=r1", "", 0},
		{"silence", "", "", 0},
		{"unknown", "$iothub/methods/res/404/?$rid=r1", "", 0},
	} {
		t.Run(c.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, nil, fleet.Config{Groups: []fleet.Group{withMethods(t, 1, methods)}}).ready()
				time.Sleep(time.Second)
				called := w.now()
				w.call("door-0", c.method, "r1", `{"lockTime":"10m"}`)
				time.Sleep(time.Second)
				synctest.Wait()
				receipts, events := w.seen.took()
				want(t, "receipts", receipts, []sample.Receipt{{
					Kind: sample.MethodReceipt, Name: c.method, Payload: []byte(`{"lockTime":"10m"}`), At: sample.Moment(called),
				}})
				answers := w.hub.Published("$iothub/methods/res/")
				if c.topic == "" {
					want(t, "answers", len(answers), 0)
					want(t, "events", events, nil)
					want(t, "silenced", w.fleet.Stats().Silenced, 1)
					return
				}
				want(t, "answers", len(answers), 1)
				want(t, "topic", answers[0].Topic, c.topic)
				want(t, "payload", answers[0].Payload, c.body)
				status := strings.Split(c.topic, "/")[3]
				want(t, "events", events, []string{
					fmt.Sprintf("answered 1 with %s at %v", status, (called + c.after).Round(time.Millisecond)),
				})
			})
		})
	}
}

// faults returns how devices took twenty calls each, called in two interleaved
// orders that must not matter: per call the answer's status and its latency.
func faults(t *testing.T, seed uint64, reverse bool) map[string]string {
	taken := map[string]string{}
	synctest.Test(t, func(t *testing.T) {
		m := fleet.Method{
			FailureRate: 0.3, SilenceRate: 0.2,
			Latency: fleet.Latency{Kind: fleet.Lognormal, Median: 20 * time.Millisecond, Sigma: 0.5},
		}
		w := start(t, nil, fleet.Config{
			Seed: seed, Groups: []fleet.Group{withMethods(t, 4, map[string]fleet.Method{"lock": m, "open": m})},
		}).ready()
		calls := []string{"door-0/lock", "door-0/open", "door-1/lock", "door-2/open", "door-3/lock"}
		if reverse {
			slices.Reverse(calls)
		}
		for n := range 20 {
			for _, call := range calls {
				device, method, _ := strings.Cut(call, "/")
				begin := time.Now()
				before := len(w.hub.Published("$iothub/methods/res/"))
				w.call(device, method, "1", "")
				time.Sleep(2 * time.Second)
				how := "silent"
				if answers := w.hub.Published("$iothub/methods/res/")[before:]; len(answers) == 1 {
					how = fmt.Sprintf("%s after %v", answers[0].Topic, answers[0].At.Sub(begin))
				}
				taken[fmt.Sprintf("%s %d", call, n)] = how
			}
		}
	})
	return taken
}

func TestFaultsAreRepeatable(t *testing.T) {
	first := faults(t, 42, false)
	want(t, "faults of the same seed", faults(t, 42, true), first)
	other := faults(t, 43, false)
	same := 0
	kinds := map[string]int{}
	for call, how := range first {
		if other[call] == how && how != "silent" {
			same++
		}
		kinds[strings.SplitN(how, "/?", 2)[0]]++
	}
	if same > 0 {
		t.Errorf("%d of %d answers are the same with another seed", same, len(first))
	}
	for how, share := range map[string]float64{"silent": 0.2, "$iothub/methods/res/500": 0.24, "$iothub/methods/res/200": 0.56} {
		if got := float64(kinds[how]) / float64(len(first)); got < share-0.15 || got > share+0.15 {
			t.Errorf("share of %s: got %.2f, want about %.2f", how, got, share)
		}
	}
}

func TestDesiredIsEchoedAndConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := doors(t, 1)
		g.EchoDesired = true
		w := start(t, nil, fleet.Config{Groups: []fleet.Group{g}}).ready()
		time.Sleep(time.Second)
		w.desired(5, `{"floor":3,"old":null,"$version":5}`)
		w.wantReceipts(`{"floor":3,"old":null}`)
		at := w.now().Round(time.Millisecond)
		w.wantEvents(fmt.Sprintf("answered 1 with 200 at %v", at), fmt.Sprintf("finished 1 at %v", at))
		want(t, "reported", payloads(w.hub), []string{`{"floor":3,"old":null}`})
		wantMatch(t, w.fleet, "properties.reported.floor = 3", 0)
	})
}

// wantReceipts compares the payloads received since the events were last taken.
func (w *world) wantReceipts(payloads ...string) {
	w.Helper()
	synctest.Wait()
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	var got []string
	for _, r := range w.seen.receipts {
		got = append(got, string(r.Payload))
	}
	want(w, "receipts", got, payloads)
}

// payloads returns the reported PATCHes so far.
func payloads(hub *fleettest.Hub) (patches []string) {
	for _, e := range hub.Published("$iothub/twin/PATCH/properties/reported/") {
		patches = append(patches, e.Payload)
	}
	return patches
}

func TestDesiredWithoutEchoIsFinishedWhenReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, fleet.Config{Groups: []fleet.Group{doors(t, 1)}}).ready()
		time.Sleep(time.Second)
		w.desired(2, `{"floor":3,"$version":2}`)
		w.wantReceipts(`{"floor":3}`)
		w.wantEvents(fmt.Sprintf("finished 1 at %v", w.now().Round(time.Millisecond)))
		want(t, "reported", payloads(w.hub), nil)
	})
}

func TestStaleNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := doors(t, 1)
		g.EchoDesired = true
		w := start(t, &fleettest.HubOptions{TwinVersion: 7}, fleet.Config{Groups: []fleet.Group{g}}).ready()
		w.desired(6, `{"a":6,"$version":6}`) // the twin GET had it
		w.desired(7, `{"a":7,"$version":7}`)
		w.wantReceipts()
		w.desired(9, `{"a":9,"$version":9}`)
		synctest.Wait()
		w.desired(8, `{"a":8,"b":{"c":1,"d":2},"$version":8}`) // overtaken: 9 must stay, the rest is reported
		synctest.Wait()
		w.desired(8, `{"a":8,"$version":8}`) // again
		w.wantReceipts(`{"a":9}`, `{"a":8,"b":{"c":1,"d":2}}`, `{"a":8}`)
		want(t, "reported", payloads(w.hub), []string{`{"a":9}`, `{"b":{"c":1,"d":2}}`})
		want(t, "stale", w.fleet.Stats().Stale, 3)
		want(t, "notifications", w.fleet.Stats().Notifications, 5)
	})
}

func TestOvertakenPatchesEndWhereTheirOrderLeads(t *testing.T) {
	ends := func(first, second, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			g := doors(t, 1)
			g.EchoDesired = true
			w := start(t, nil, fleet.Config{Groups: []fleet.Group{g}}).ready()
			w.desired(3, second)
			synctest.Wait()
			w.desired(2, first)
			synctest.Wait()
			got := []byte("{}")
			for _, patch := range payloads(w.hub) {
				var err error
				if got, err = iothub.MergePatch(got, []byte(patch)); err != nil {
					t.Fatal(err)
				}
			}
			if string(got) != want {
				t.Errorf("%s overtaken by %s: reported %s, want %s", first, second, got, want)
			}
		})
	}
	ends(`{"a":1}`, `{"b":1}`, `{"b":1,"a":1}`)
	ends(`{"a":1}`, `{"a":2}`, `{"a":2}`)
	ends(`{"a":1}`, `{"a":null}`, `{}`)
	ends(`{"a":{"b":1,"c":1}}`, `{"a":{"b":2}}`, `{"a":{"b":2,"c":1}}`)
	ends(`{"a":{"b":1}}`, `{"a":5}`, `{"a":5}`)
	ends(`{"a":5}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`)
}

func TestStaleNotificationsOfADeviceThatReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &fleettest.HubOptions{TwinVersion: 7}, fleet.Config{Groups: []fleet.Group{doors(t, 1)}}).ready()
		w.desired(7, `{"a":7,"$version":7}`)
		w.wantReceipts()
		want(t, "stale", w.fleet.Stats().Stale, 1)
	})
}

func TestNotificationShapes(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`{"a":1,"$version":5}`, `{"a":1}`},
		{`{"$version":5}`, `{}`},
		{`{"$version":5,"a":1}`, `{"a":1}`},
		{`{ "a" : 1 , "$version" : 5 }`, `{"a":1}`},
		{`{"a":"\"$version\":5}","$version":5}`, `{"a":"\"$version\":5}"}`},
		{`{"a":{"$version":5}}`, `{"a":{"$version":5}}`},
		{`{"a":{"b":1},"$version":5}`, `{"a":{"b":1}}`},
		{`{"a":1}`, `{"a":1}`},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, nil, fleet.Config{Groups: []fleet.Group{doors(t, 1)}}).ready()
			w.desired(5, c.body)
			w.wantReceipts(c.want)
		})
	}
	for _, body := range []string{``, `[]`, `null`, `{"a":1`, `"$version":5}`, `{"$version":"x"}`} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, nil, fleet.Config{Groups: []fleet.Group{doors(t, 1)}}).ready()
			w.desired(5, body)
			w.wantReceipts()
			want(t, "unexpected after "+body, w.fleet.Stats().Unexpected, 1)
		})
	}
}

func TestEchoThatIsNotConfirmedIsNotFinished(t *testing.T) {
	for _, status := range []int{429, -1} {
		synctest.Test(t, func(t *testing.T) {
			g := doors(t, 1)
			g.EchoDesired = true
			w := start(t, &fleettest.HubOptions{PatchStatus: status}, fleet.Config{Groups: []fleet.Group{g}}).ready()
			w.desired(5, `{"floor":3,"$version":5}`)
			at := w.now().Round(time.Millisecond)
			time.Sleep(2 * time.Minute)
			w.wantEvents(fmt.Sprintf("answered 1 with 200 at %v", at))
			want(t, "echo failures", w.fleet.Stats().EchoFailures, 1)
			wantMatch(t, w.fleet, "properties.reported.floor = 3")
		})
	}
}

func TestNoHandlerOutlivesRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := withMethods(t, 3, map[string]fleet.Method{"slow": {Latency: fleet.Latency{Median: time.Hour}}})
		g.EchoDesired = true
		w := start(t, &fleettest.HubOptions{PatchStatus: -1}, fleet.Config{Groups: []fleet.Group{g}}).ready()
		for n := range 3 {
			w.call(fmt.Sprintf("door-%d", n), "slow", "1", "")
		}
		w.desired(5, `{"a":1,"$version":5}`)
		synctest.Wait()
		begin := time.Now()
		w.stop()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Run took %v to end while handlers slept", took)
		}
		w.seen.took()
		time.Sleep(2 * time.Hour)
		w.wantEvents()
		want(t, "answers", len(w.hub.Published("$iothub/methods/res/")), 0)
	})
}

func TestUnexpectedMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, fleet.Config{Groups: []fleet.Group{doors(t, 1)}}).ready()
		for _, topic := range []string{"nonsense", "devices/door-0/messages/devicebound/"} {
			if err := w.hub.Send("door-0", topic, ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.hub.Send("door-0", "$iothub/twin/res/200/?$rid=99", ""); err != nil {
			t.Fatal(err) // an answer that nobody waits for is dropped
		}
		synctest.Wait()
		want(t, "unexpected", w.fleet.Stats().Unexpected, 2)
		want(t, "online", w.fleet.Stats().Online, 1)
	})
}

func TestCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, fleet.Config{Seed: 3, Groups: []fleet.Group{doors(t, 2)}}).ready()
		for i, e := range w.hub.Events(1) {
			device, _ := w.fleet.Index(e.Device)
			token, err := iothub.ParseToken(e.Payload)
			if err != nil {
				t.Fatalf("token of %s: %v", e.Device, err)
			}
			if !token.SignedBy(w.fleet.Identity(int(device)).Key) || !token.Covers("hub.test/devices/"+e.Device) {
				t.Errorf("connect %d: the token of %s is not signed by its key", i, e.Device)
			}
			if left := time.Until(token.Expiry); left < 23*time.Hour {
				t.Errorf("the token of %s is valid for %v", e.Device, left)
			}
			want(t, "username", e.Username, iothub.Username("hub.test", e.Device))
		}
	})
}
