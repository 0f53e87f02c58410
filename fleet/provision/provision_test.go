package provision_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"muster/fleet"
	"muster/fleet/provision"
	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/quota"
	"muster/internal/template"
	"muster/iothub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = iothub.Secret("a secret that only this test knows")

// lagging is a hub whose queries see what was done a while later.
type lagging struct {
	below http.RoundTripper
	lag   time.Duration

	mu      sync.Mutex // guards the fields below
	made    map[string]time.Time
	deleted map[string]time.Time
	rows    map[string]json.RawMessage // as last seen
	queries []string
	bulks   int
}

func newLagging(below http.RoundTripper, lag time.Duration) *lagging {
	return &lagging{below: below, lag: lag, made: map[string]time.Time{}, deleted: map[string]time.Time{}, rows: map[string]json.RawMessage{}}
}

func (l *lagging) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	answer, err := l.below.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case r.URL.Path == "/devices" && r.Method == http.MethodPost:
		l.note(body)
	case r.URL.Path == "/devices/query":
		return l.filter(answer, string(body))
	}
	return answer, nil
}

func (l *lagging) note(body []byte) {
	var entries []iothub.BulkEntry
	_ = json.Unmarshal(body, &entries) // ours, so it is JSON
	l.bulks++
	for _, e := range entries {
		if e.ImportMode == iothub.ImportCreate {
			l.made[e.ID] = time.Now()
		} else {
			l.deleted[e.ID] = time.Now()
		}
	}
}

func (l *lagging) filter(answer *http.Response, query string) (*http.Response, error) {
	l.queries = append(l.queries, query)
	var rows, shown []json.RawMessage
	if err := json.NewDecoder(answer.Body).Decode(&rows); err != nil {
		return nil, err
	}
	_ = answer.Body.Close()
	for _, row := range rows {
		var d struct{ DeviceID string }
		_ = json.Unmarshal(row, &d) // a row has one
		if made, ok := l.made[d.DeviceID]; !ok || time.Since(made) >= l.lag {
			shown = append(shown, row)
			l.rows[d.DeviceID] = row
		}
	}
	for id, at := range l.deleted {
		if strings.Contains(query, "'"+id+"'") && time.Since(at) < l.lag && l.rows[id] != nil {
			shown = append(shown, l.rows[id])
		}
	}
	text, err := json.Marshal(append([]json.RawMessage{}, shown...))
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	answer.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return answer, err
}

// start returns the options for a fleet on a hub, which lags.
func start(t *testing.T, devices int, id string, lag time.Duration) (*hubtest.Server, *lagging, provision.Options) {
	t.Helper()
	s := hubtest.Start(t, &hub.Options{})
	l := newLagging(s.HTTPClient().Transport, lag)
	client, err := iothub.NewClient(s.ConnectionString(), &iothub.ClientOptions{BaseURL: s.URL(), Transport: l})
	if err != nil {
		t.Fatal(err)
	}
	text, err := template.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.New(fleet.Config{HostName: "h", Groups: []fleet.Group{{Name: "doors", Devices: devices, ID: text}}})
	if err != nil {
		t.Fatal(err)
	}
	return s, l, provision.Options{Client: client, Fleet: f, Name: "test", Secret: secret}
}

// does checks what a call has done.
func does(t *testing.T, what string, got provision.Summary, err error, want provision.Summary) {
	t.Helper()
	if err != nil || got != want {
		t.Errorf("%s = %+v, %v; want %+v", what, got, err, want)
	}
}

// TestQueriesLag provisions and deprovisions on a hub whose queries are half a
// minute late.
func TestQueriesLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, o := start(t, 250, "door-{index}", 30*time.Second)
		began := time.Now()
		got, err := provision.Provision(t.Context(), o)
		does(t, "Provision()", got, err, provision.Summary{Devices: 250, Created: 250})
		if took := time.Since(began); took < 30*time.Second || took > 41*time.Second {
			t.Errorf("Provision() took %v, want it to end when queries see the fleet, after 30s", took)
		}
		if err := provision.Check(t.Context(), o); err != nil {
			t.Errorf("Check() = %v", err)
		}
		began = time.Now()
		got, err = provision.Deprovision(t.Context(), o)
		does(t, "Deprovision()", got, err, provision.Summary{Devices: 250, Deleted: 250})
		if took := time.Since(began); took < 30*time.Second || took > 41*time.Second {
			t.Errorf("Deprovision() took %v, want it to end when queries see nobody, after 30s", took)
		}
		if n, err := s.Client().DeviceStatistics(t.Context()); err != nil || n.Total != 0 {
			t.Errorf("%d devices are left, %v", n.Total, err)
		}
		o.Settle = 10 * time.Second
		got, err = provision.Provision(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "after 10s the hub's queries do not see 250 of them, such as door-0") || got.Created != 250 {
			t.Errorf("Provision() with less patience = %+v, %v", got, err)
		}
	})
}

// TestDevicesWithoutTheirMarkLagToo has devices that are known by their keys
// alone, which are gone with them.
func TestDevicesWithoutTheirMarkLagToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, o := start(t, 3, "door-{index}", 0)
		got, err := provision.Provision(t.Context(), o)
		does(t, "Provision()", got, err, provision.Summary{Devices: 3, Created: 3})
		for i := range 3 {
			if _, err := o.Client.PatchTwin(t.Context(), o.Fleet.ID(i), []byte(`{"tags":{"muster":null}}`), "*"); err != nil {
				t.Fatal(err)
			}
		}
		l.lag = 30 * time.Second
		time.Sleep(l.lag)
		began := time.Now()
		got, err = provision.Deprovision(t.Context(), o)
		does(t, "Deprovision()", got, err, provision.Summary{Devices: 3, Deleted: 3})
		if took := time.Since(began); took < 30*time.Second {
			t.Errorf("Deprovision() took %v, want it to end when queries see nobody, after 30s", took)
		}
	})
}

// TestDeletingLongAndLagging takes longer to delete than queries may lag.
func TestDeletingLongAndLagging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, o := start(t, 450, "door-{index}", 30*time.Second)
		limits, err := quota.For(quota.S1, 1)
		if err != nil {
			t.Fatal(err)
		}
		o.Limits, o.Settle = &limits, 40*time.Second
		got, err := provision.Provision(t.Context(), o)
		does(t, "Provision()", got, err, provision.Summary{Devices: 450, Created: 450})
		got, err = provision.Deprovision(t.Context(), o)
		does(t, "Deprovision()", got, err, provision.Summary{Devices: 450, Deleted: 450})
	})
}

// TestDevicesThatAQueryDoesNotShowYet are found when they are to be made.
func TestDevicesThatAQueryDoesNotShowYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, o := start(t, 120, "door-{index}", 0)
		got, err := provision.Provision(t.Context(), o)
		does(t, "Provision()", got, err, provision.Summary{Devices: 120, Created: 120})
		l.lag = time.Minute
		got, err = provision.Provision(t.Context(), o)
		does(t, "Provision() again at once", got, err, provision.Summary{Devices: 120, Unchanged: 120})

		_, err = o.Client.PatchTwin(t.Context(), "door-7", []byte(`{"tags":{"site":"moon"}}`), "*")
		if err != nil {
			t.Fatal(err)
		}
		l.made["door-7"] = time.Now()
		got, err = provision.Provision(t.Context(), o)
		does(t, "Provision() after a change", got, err, provision.Summary{Devices: 120, Updated: 1, Unchanged: 119})

		// Somebody else's, made just now, that the query does not show yet either.
		if err := o.Client.DeleteDevice(t.Context(), "door-8", "*"); err != nil {
			t.Fatal(err)
		}
		theirs, err := o.Client.CreateDevice(t.Context(), iothub.Device{DeviceID: "door-8"})
		if err != nil {
			t.Fatal(err)
		}
		l.made["door-8"] = time.Now()
		_, err = provision.Provision(t.Context(), o)
		var foreign *provision.ForeignError
		if now, nerr := o.Client.Device(t.Context(), "door-8"); !errors.As(err, &foreign) || nerr != nil || now.ETag != theirs.ETag {
			t.Errorf("Provision() with a foreign device that no query shows = %v; the device %v, %v; want it refused, and left", err, now, nerr)
		}
	})
}

// TestADeviceThatIsReplacedMeanwhileIsLeft lets somebody make a device of his
// own between the look and the deletion.
func TestADeviceThatIsReplacedMeanwhileIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, o := start(t, 3, "door-{index}", 0)
		got, err := provision.Provision(t.Context(), o)
		does(t, "Provision()", got, err, provision.Summary{Devices: 3, Created: 3})
		replaced := false
		o.Observe = func(step string, _, _ int) {
			if step != "deleting" || replaced {
				return
			}
			replaced = true
			if err := o.Client.DeleteDevice(t.Context(), "door-1", "*"); err != nil {
				t.Error(err)
			}
			if _, err := o.Client.CreateDevice(t.Context(), iothub.Device{DeviceID: "door-1"}); err != nil {
				t.Error(err)
			}
		}
		_, err = provision.Deprovision(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "delete device door-1: PreconditionFailed") {
			t.Errorf("Deprovision() = %v, want the replaced device to be refused", err)
		}
		if _, err := o.Client.Device(t.Context(), "door-1"); err != nil {
			t.Errorf("the device that replaced ours: %v, want it there", err)
		}
	})
}

// TestIDsOfEveryKind holds an id's template on each line: queries must name
// them as they are, within their length.
func TestIDsOfEveryKind(t *testing.T) {
	for _, id := range []string{"a'b.{index}", "$%+#?!({index}),:;=@*", strings.Repeat("x", 122) + "{index:05d}"} {
		synctest.Test(t, func(t *testing.T) {
			_, l, o := start(t, 130, id, 0)
			got, err := provision.Provision(t.Context(), o)
			does(t, "Provision() of "+id, got, err, provision.Summary{Devices: 130, Created: 130})
			got, err = provision.Provision(t.Context(), o)
			does(t, "Provision() of "+id+" again", got, err, provision.Summary{Devices: 130, Unchanged: 130})
			for _, q := range l.queries {
				if len(q) > 8192 {
					t.Errorf("a query has %d bytes, the service takes 8192", len(q))
				}
			}
			got, err = provision.Deprovision(t.Context(), o)
			does(t, "Deprovision() of "+id, got, err, provision.Summary{Devices: 130, Deleted: 130})
		})
	}
}

// TestNothingIsAskedOfTheRegistryTwice counts bulk calls.
func TestNothingIsAskedOfTheRegistryTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, o := start(t, 250, "door-{index}", 0)
		steps := map[string]int{}
		var mu sync.Mutex
		o.Observe = func(step string, done, total int) {
			mu.Lock()
			defer mu.Unlock()
			steps[step] = max(steps[step], done)
			if done > total || total > 250 {
				t.Errorf("%s: %d of %d", step, done, total)
			}
		}
		for range 3 {
			if _, err := provision.Provision(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		if want := "map[creating:250 looking:250 waiting until queries see the fleet:250]"; l.bulks != 3 || fmt.Sprint(steps) != want {
			t.Errorf("%d bulk calls, steps %v; want 3, %s", l.bulks, steps, want)
		}
	})
}
