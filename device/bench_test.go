package device_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"muster/device"
	"muster/fleet/paho"
	"muster/hub"
	"muster/hub/hubtest"
	"muster/iothub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hubName = "hub.test"

// bench is a hub in memory and one device of it, which run starts.
type bench struct {
	t      *testing.T
	hub    *hubtest.Server
	cs     iothub.ConnectionString
	opts   device.Options
	cancel context.CancelFunc
	ended  chan error // its one value is what Run returned

	mu      sync.Mutex // guards the fields below
	down    bool       // dials fail
	conns   []net.Conn
	dialed  []time.Time
	news    []device.State
	waits   []time.Duration
	calls   []string
	desired []string
	kept    int // desired versions that were reported
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, hub: hubtest.Start(t, &hub.Options{HostName: hubName}), ended: make(chan error, 1)}
	d, err := b.hub.Client().CreateDevice(t.Context(), iothub.Device{DeviceID: "dev1"})
	if err != nil {
		t.Fatal(err)
	}
	b.cs = iothub.ConnectionString{HostName: hubName, DeviceID: "dev1", SharedAccessKey: d.Authentication.SymmetricKey.Primary}
	b.opts = device.Options{
		Seed: 1,
		Method: func(_ context.Context, c device.Call) device.Answer {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.calls = append(b.calls, c.Name+" "+string(c.Payload))
			return device.Answer{Status: 200, Payload: json.RawMessage(`{"ok":true}`)}
		},
		Desired: func(u device.Update) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.desired = append(b.desired, describe(u))
		},
		Reported: func(_ device.Update, _ int64, err error) {
			if err != nil {
				t.Errorf("report: %v", err)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.kept++
		},
		News: func(n device.News) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.news = append(b.news, n.State)
			if n.State == device.Lost || n.State == device.Failed {
				b.waits = append(b.waits, n.Wait)
			}
		},
	}
	return b
}

func describe(u device.Update) string {
	text, _ := json.Marshal(u) // never fails
	return string(text)
}

func (b *bench) dial(ctx context.Context) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dialed = append(b.dialed, time.Now())
	if b.down {
		return nil, errors.New("nobody listens")
	}
	nc, err := b.hub.MQTT.DialContext(ctx, "", "")
	if err != nil {
		return nil, err
	}
	b.conns = append(b.conns, nc)
	return severable{nc}, nil
}

// severable is a connection that, once it is closed under its reader, reads as
// one that the peer has ended.
type severable struct{ net.Conn }

func (c severable) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, net.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

// run starts the device, and stops it at the end of the test.
func (b *bench) run() {
	b.t.Helper()
	d, err := device.New(b.cs, paho.Driver{}, b.dial, &b.opts)
	if err != nil {
		b.t.Fatal(err)
	}
	var ctx context.Context
	ctx, b.cancel = context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.ended <- d.Run(ctx) })
	b.t.Cleanup(func() {
		b.cancel()
		running.Wait()
	})
	synctest.Wait()
}

// invoke calls the device, which must answer with 200.
func (b *bench) invoke(method string) {
	b.t.Helper()
	result, err := b.hub.Client().InvokeMethod(b.t.Context(), "dev1", iothub.Method{MethodName: method, Payload: json.RawMessage(`{"n":1}`)})
	if err != nil || result.Status != 200 {
		b.t.Errorf("InvokeMethod(%s) = %+v, %v; want status 200", method, result, err)
	}
}

// patch changes the desired properties.
func (b *bench) patch(desired string) {
	b.t.Helper()
	if _, err := b.hub.Client().PatchTwin(b.t.Context(), "dev1", iothub.NewTwinPatch(nil, json.RawMessage(desired)), "*"); err != nil {
		b.t.Errorf("PatchTwin(%s): %v", desired, err)
	}
	synctest.Wait()
}

// wantReported compares the reported properties that the hub has.
func (b *bench) wantReported(want string) {
	b.t.Helper()
	twin, err := b.hub.Client().Twin(b.t.Context(), "dev1")
	if err != nil {
		b.t.Fatal(err)
	}
	var reported map[string]any
	if err := json.Unmarshal(twin.Properties.Reported, &reported); err != nil {
		b.t.Fatal(err)
	}
	delete(reported, "$metadata")
	delete(reported, "$version")
	got, err := json.Marshal(reported)
	if err != nil || string(got) != want {
		b.t.Errorf("reported properties are %s, %v; want %s", got, err, want)
	}
}

func (b *bench) wantNews(want ...device.State) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff(want, b.news); diff != "" {
		b.t.Errorf("news (-want +got):\n%s", diff)
	}
}

func (b *bench) wantDesired(want ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff(want, b.desired); diff != "" {
		b.t.Errorf("desired updates (-want +got):\n%s", diff)
	}
}

// cut ends the newest connection under the device.
func (b *bench) cut() {
	b.mu.Lock()
	nc := b.conns[len(b.conns)-1]
	b.mu.Unlock()
	_ = nc.Close()
	synctest.Wait()
}

func (b *bench) setDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}
