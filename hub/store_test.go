package hub_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// storing returns options with the store of a folder.
func storing(t testing.TB, opts *hub.Options, dir string) *hub.Options {
	t.Helper()
	var o hub.Options
	if opts != nil {
		o = *opts
	}
	store, err := hub.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	o.Store = store
	return &o
}

// lives runs a test with hubs on a fake clock that follow each other.
func lives(t *testing.T, test func(t *testing.T, l *life)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &life{t: t, dir: t.TempDir()}
		l.Server = hubtest.Start(t, storing(t, nil, l.dir))
		test(t, l)
	})
}

// life is a hub with a store, and those after it.
type life struct {
	*hubtest.Server
	t   *testing.T
	dir string
}

// restart ends the hub and begins the next one.
func (l *life) restart() {
	l.t.Helper()
	if err := l.Close(); err != nil {
		l.t.Errorf("close the hub: %v", err)
	}
	l.Server = hubtest.Start(l.t, storing(l.t, nil, l.dir))
}

// crash begins the next hub with the folder as a kill would leave it now, and ends this one. Nothing is on its way in it, and
// what it does afterwards is lost.
func (l *life) crash(after time.Duration) {
	l.t.Helper()
	synctest.Wait()
	image, err := os.ReadFile(filepath.Join(l.dir, "hub.db"))
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		l.t.Errorf("close the hub: %v", err)
	}
	l.dir = l.t.TempDir()
	if err := os.WriteFile(filepath.Join(l.dir, "hub.db"), image, 0o600); err != nil {
		l.t.Fatal(err)
	}
	time.Sleep(after)
	l.Server = hubtest.Start(l.t, storing(l.t, nil, l.dir))
	synctest.Wait()
}

// shown returns what requests are answered with.
func (l *life) shown(lines ...string) []string {
	l.t.Helper()
	var all []string
	for _, line := range lines {
		line, body, _ := strings.Cut(line, "\n")
		a := rest(l.t, l.Server, line, body)
		all = append(all, fmt.Sprintf("%s: %d %s %s", line, a.status, a.header.Get("ETag"), a.body))
	}
	return all
}

// same checks that requests are answered as they were before.
func (l *life) same(before []string, lines ...string) {
	l.t.Helper()
	if diff := cmp.Diff(before, l.shown(lines...)); diff != "" {
		l.t.Errorf("before and after (-/+):\n%s", diff)
	}
}

// Whatever a service can see of devices, twins and jobs is there again, to the byte.
func TestRestartShowsTheSame(t *testing.T) {
	ask := []string{
		"GET /devices", "GET /twins/keys", "GET /twins/cert", "GET /twins/off", "GET /devices/cert", "GET /statistics/devices",
		"GET /devices/keys/modules", "GET /twins/keys/modules/m1", "GET /devices/cert/modules",
		"GET /jobs/v2/done", "GET /jobs/v2/waits", "GET /jobs/v2/bad", "GET /jobs/v2/gone", "GET /jobs/v2/none", "GET /jobs/v2/query",
		"POST /devices/query\n" + `{"query":"SELECT * FROM devices.jobs"}`,
		"POST /devices/query\n" + `{"query":"SELECT * FROM devices WHERE tags.a.b > 1"}`,
	}
	for _, end := range []struct {
		name  string
		begin func(l *life)
	}{
		{"closed", (*life).restart},
		{"crashed", func(l *life) { l.crash(0) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			lives(t, func(t *testing.T, l *life) {
				fill(t, l)
				before := l.shown(ask...)
				end.begin(l)
				l.same(before, ask...)
				end.begin(l) // what was read is kept as it is
				l.same(before, ask...)
			})
		})
	}
}

// fill makes devices and jobs of every kind.
func fill(t *testing.T, l *life) {
	t.Helper()
	dev := online(t, l.Server, "keys", iothub.FilterMethods, iothub.FilterTwinResponses)
	ok[iothub.Device](t, l.Server, "PUT /devices/cert", selfSigned(strings.Repeat("0A", 20), strings.Repeat("0b", 32)))
	ok[iothub.Device](t, l.Server, "PUT /devices/off", `{"status":"disabled","statusReason":"<broken> \"é\""}`)
	time.Sleep(time.Second + 123*time.Nanosecond)
	ok[iothub.Device](t, l.Server, "PUT /devices/off", `{"status":"enabled","statusReason":"x"}`, "If-Match", "*")
	ok[iothub.Twin](t, l.Server, "PATCH /twins/keys", `{"tags":{"a":{"b":2,"<":"&\u2028"}},"properties":{"desired":{"x":{"y":[1, 2],"z":1},"w":"é"}}}`)
	time.Sleep(time.Second)
	ok[iothub.Twin](t, l.Server, "PATCH /twins/keys", `{"tags":{"c":1.50},"properties":{"desired":{"x":{"z":null}}}}`)
	ok[iothub.Module](t, l.Server, "PUT /devices/keys/modules/m1", `{"moduleId":"m1","deviceId":"keys"}`)
	ok[iothub.Twin](t, l.Server, "PATCH /twins/keys/modules/m1", `{"tags":{"a":1},"properties":{"desired":{"b":1}}}`)
	ok[iothub.Module](t, l.Server, "PUT /devices/keys/modules/m2", `{"moduleId":"m2","deviceId":"keys"}`)
	ok[iothub.Module](t, l.Server, "PUT /devices/cert/modules/m1", `{"moduleId":"m1","deviceId":"cert"}`)
	schedule(t, l.Server, "modules", twinJob("FROM devices.modules WHERE tags.none != 1", `"tags":{"done":true}`))
	rest(t, l.Server, "DELETE /devices/keys/modules/m2", "")
	dev.publish(iothub.ReportedTopic("r1"), `{"fw":"1.0","n":{"deep":[{"a":1}]}}`)
	dev.wants("$iothub/twin/res/204/?$rid=r1&$version=2", "")
	time.Sleep(time.Second)
	schedule(t, l.Server, "done", methodJob("deviceId IN ['keys', 'cert']", 0, 60))
	dev.answerMethod("m", `{"a":1}`, 201, "{ \"spaced\" : \"<é>\\u2028\" }")
	synctest.Wait()
	schedule(t, l.Server, "waits", methodJob("*", time.Hour, 60))
	schedule(t, l.Server, "bad", methodJob("no condition", 0, 60))
	schedule(t, l.Server, "gone", methodJob("*", time.Hour, 60))
	rest(t, l.Server, "POST /jobs/v2/gone/cancel", "")
	schedule(t, l.Server, "none", twinJob("deviceId = 'nobody'", `"tags":{"a":1}`))
	schedule(t, l.Server, "tags", twinJob("deviceId = 'cert'", `"tags":{"done":true}`))
	rest(t, l.Server, "DELETE /devices/cert", "")
	ok[iothub.Device](t, l.Server, "PUT /devices/cert", selfSigned(strings.Repeat("0A", 20), ""))
	_ = dev.conn.Close()
	synctest.Wait()
}

// Keys survive, so that connection strings do; one that is given wins.
func TestRestartKeepsKeys(t *testing.T) {
	lives(t, func(t *testing.T, l *life) {
		policies := []string{"iothubowner", "service", "device", "registryRead", "registryReadWrite"}
		reveal := func(h *hub.Hub) (all []string) {
			for _, name := range policies {
				cs, _ := h.PolicyConnectionString(name)
				all = append(all, cs.Reveal())
			}
			return all
		}
		before := reveal(l.Hub)
		register(t, l.Server, "dev1")
		l.crash(0)
		if diff := cmp.Diff(before, reveal(l.Hub)); diff != "" {
			t.Errorf("connection strings (-before +after):\n%s", diff)
		}
		if code := dial(t, l.Server).connect(valid(l.Server, "dev1"), true, 0); code != mqtt.Accepted {
			t.Errorf("a device's key: CONNACK %d", code)
		}
		_ = l.Close()
		opts := storing(t, nil, l.dir)
		opts.ServiceKey = iothub.Key("another key of the owner")
		h := hub.New(opts)
		defer h.Close()
		if got := h.ConnectionString().SharedAccessKey.Base64(); got != opts.ServiceKey.Base64() {
			t.Errorf("the key that was given is not used")
		}
		if diff := cmp.Diff(before[1:], reveal(h)[1:]); diff != "" {
			t.Errorf("the other policies (-before +after):\n%s", diff)
		}
	})
}

// Numbers that were given out are not given out again, also if what had them is gone.
func TestRestartCountsOn(t *testing.T) {
	lives(t, func(t *testing.T, l *life) {
		register(t, l.Server, "a", "b")
		old := ok[iothub.Device](t, l.Server, "GET /devices/b", "")
		rest(t, l.Server, "DELETE /devices/b", "")
		l.crash(time.Second)
		made := ok[iothub.Device](t, l.Server, "PUT /devices/b", "{}")
		if made.ETag == old.ETag || made.GenerationID == old.GenerationID {
			t.Errorf("b anew: etag %s and generation %s, as before the restart", made.ETag, made.GenerationID)
		}
		refused(t, "the old etag", rest(t, l.Server, "DELETE /devices/b", "", "If-Match", old.ETag), iothub.CodePreconditionFailed)
	})
}

// The subscriptions of a persistent session survive with it, and only those.
func TestRestartKeepsSessions(t *testing.T) {
	lives(t, func(t *testing.T, l *life) {
		register(t, l.Server, "kept", "clean", "given-up")
		connect := func(id string, clean bool) (*bare, bool) {
			b := dial(t, l.Server)
			return b, b.connack(mqtt.Connect{CleanSession: clean}, valid(l.Server, id)).SessionPresent
		}
		for _, id := range []string{"kept", "clean", "given-up"} {
			b, present := connect(id, id == "clean")
			if present {
				t.Errorf("%s: a session is present before there was one", id)
			}
			b.subscribe(iothub.FilterDesired, iothub.FilterMethods, iothub.FilterTwinResponses)
			if id == "kept" {
				packet, _ := mqtt.AppendUnsubscribe(nil, 9, []byte(iothub.FilterMethods))
				b.write(packet)
				b.expect(mqtt.TypeUnsuback)
			}
		}
		if _, present := connect("given-up", true); present {
			t.Errorf("given-up: a session is present after it was given up")
		}
		l.crash(0)
		for id, want := range map[string]bool{"kept": true, "clean": false, "given-up": false} {
			b, present := connect(id, false)
			if present != want {
				t.Errorf("%s: session present %v, want %v", id, present, want)
			}
			rest(t, l.Server, "PATCH /twins/"+id, `{"properties":{"desired":{"a":1}}}`)
			if want {
				b.wants("$iothub/twin/PATCH/properties/desired/?$version=2", `{"a":1,"$version":2}`)
			}
			a := rest(t, l.Server, "POST /twins/"+id+"/methods", `{"methodName":"m"}`)
			refused(t, id+": no subscription to methods", a, iothub.CodeDeviceNotOnline)
			b.silent(time.Second)
		}
	})
}

// A device that was deleted takes its modules with it, also if the hub ended before they were.
func TestRestartBetweenDeviceAndModules(t *testing.T) {
	lives(t, func(t *testing.T, l *life) {
		register(t, l.Server, "dev1")
		ok[iothub.Module](t, l.Server, "PUT /devices/dev1/modules/m", "{}")
		hub.DropDevice(l.Hub, "dev1")
		l.crash(0)
		refused(t, "the device", rest(t, l.Server, "GET /devices/dev1", ""), iothub.CodeDeviceNotFound)
		register(t, l.Server, "dev1")
		if got := rest(t, l.Server, "GET /devices/dev1/modules", "").body; got != "[]" {
			t.Errorf("modules of a device anew: %s", got)
		}
		l.crash(0)
		if got := rest(t, l.Server, "GET /devices/dev1/modules", "").body; got != "[]" {
			t.Errorf("modules after another restart: %s", got)
		}
	})
}

// An answer to a method of the last hub is none to one of this.
func TestRestartForgetsCalls(t *testing.T) {
	lives(t, func(t *testing.T, l *life) {
		dev := online(t, l.Server, "dev1", iothub.FilterMethods)
		call := func() chan string {
			got := make(chan string, 1)
			client := l.Client()
			go func() {
				r, err := client.InvokeMethod(t.Context(), "dev1", iothub.Method{MethodName: "m"})
				got <- fmt.Sprintf("%s %v", r.Payload, err)
			}()
			return got
		}
		got := call()
		topic, _ := dev.message()
		old, _ := iothub.ParseTopic(topic)
		l.crash(0)
		<-got
		dev = reconnect(t, l.Server, "dev1", iothub.FilterMethods)
		got = call()
		topic, _ = dev.message()
		dev.publish(iothub.MethodResponseTopic(200, old.RequestID), `"late"`)
		synctest.Wait()
		now, _ := iothub.ParseTopic(topic)
		dev.publish(iothub.MethodResponseTopic(200, now.RequestID), `"new"`)
		if answer := <-got; answer != `"new" <nil>` {
			t.Errorf("method after a restart: %s, want the new answer", answer)
		}
	})
}
