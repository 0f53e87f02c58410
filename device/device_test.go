package device_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"muster/device"
	"muster/fleet"
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

func TestMethodsAndTwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.patch(`{"floor":3,"old":1}`)
		b.run()
		b.invoke("lockDoor")
		b.patch(`{"floor":4,"old":null}`)
		b.wantNews(device.Online)
		b.wantDesired(
			`{"Version":2,"Properties":{"floor":3,"old":1},"Complete":true}`,
			`{"Version":3,"Properties":{"floor":4,"old":null},"Complete":false}`)
		b.wantReported(`{"floor":4}`)
		if diff := cmp.Diff([]string{`lockDoor {"n":1}`}, b.calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		b.cancel()
		if err := <-b.ended; err != nil {
			t.Errorf("Run() = %v after its context ended, want nil", err)
		}
	})
}

func TestMethodsAreUnknownByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.opts = device.Options{}
		b.run()
		result, err := b.hub.Client().InvokeMethod(t.Context(), "dev1", iothub.Method{MethodName: "lockDoor"})
		if err != nil || result.Status != device.StatusNoMethod || string(result.Payload) != "null" {
			t.Errorf("InvokeMethod() = %d %s, %v; want 404 null", result.Status, result.Payload, err)
		}
	})
}

// TestTokenIsRenewed keeps a device online for an hour with tokens of ten
// minutes: every eight it reconnects, the hub never finds an expired one, and
// the device can be called at any time.
func TestTokenIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.opts.TokenLifetime = 10 * time.Minute
		began := time.Now()
		b.run()
		for range 4 * 60 {
			time.Sleep(15 * time.Second)
			synctest.Wait()
			b.invoke("lockDoor")
		}
		want := []device.State{device.Online}
		var at []time.Duration
		for i := range 8 {
			at = append(at, time.Duration(i)*8*time.Minute)
			if i > 0 {
				want = append(want, device.Renewing, device.Online)
			}
		}
		b.wantNews(want...)
		var got []time.Duration
		for _, d := range b.dialed {
			got = append(got, d.Sub(began))
		}
		if diff := cmp.Diff(at, got); diff != "" {
			t.Errorf("connected after (-want +got):\n%s", diff)
		}
		b.patch(`{"floor":3}`)
		b.wantReported(`{"floor":3}`)
	})
}

// TestCallDuringRenewalIsAnswered lets the token be renewed while a method
// takes its time.
func TestCallDuringRenewalIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.opts.TokenLifetime = 10 * time.Minute
		b.opts.Method = func(context.Context, device.Call) device.Answer {
			time.Sleep(500 * time.Millisecond)
			return device.Answer{Status: 200}
		}
		b.run()
		time.Sleep(8*time.Minute - 100*time.Millisecond)
		b.invoke("slow")
		synctest.Wait()
		b.wantNews(device.Online, device.Renewing, device.Online)
	})
}

func TestReconnectsAfterALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.run()
		b.setDown(true)
		b.cut()
		b.patch(`{"floor":3}`) // the device misses these two
		b.patch(`{"locked":true}`)
		time.Sleep(3 * time.Minute)
		b.setDown(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		b.invoke("lockDoor")
		b.wantDesired(`{"Version":3,"Properties":{"floor":3,"locked":true},"Complete":true}`)
		b.wantReported(`{"floor":3,"locked":true}`)

		b.mu.Lock()
		defer b.mu.Unlock()
		if n := len(b.news); n < 6 || b.news[1] != device.Lost || b.news[2] != device.Failed || b.news[n-1] != device.Online {
			t.Errorf("news are %v, want online, lost, failed and so on, online", b.news)
		}
		longest := time.Duration(0)
		for i, wait := range b.waits {
			if limit := min(time.Second<<i, time.Minute); wait > limit {
				t.Errorf("wait %d is %v, want at most %v", i, wait, limit)
			}
			longest = max(longest, wait)
		}
		if longest < 5*time.Second {
			t.Errorf("the waits %v do not grow", b.waits)
		}
	})
}

// TestNothingIsToldTwice reconnects without a change in between.
func TestNothingIsToldTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.patch(`{"floor":3}`)
		b.run()
		b.cut()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		b.wantNews(device.Online, device.Lost, device.Online)
		b.wantDesired(`{"Version":2,"Properties":{"floor":3},"Complete":true}`)
		if b.kept != 1 {
			t.Errorf("the update was reported %d times, want once", b.kept)
		}
	})
}

func TestWaitsForAHubThatIsNotThereYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.down = true
		b.run()
		time.Sleep(10 * time.Second)
		b.setDown(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		b.invoke("lockDoor")
	})
}

// TestWrongKeyEndsTheRun expects an answer at once, and no key in it.
func TestWrongKeyEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.cs.SharedAccessKey = iothub.Key("a key of somebody else's own")
		b.run()
		err := <-b.ended
		if refused, ok := errors.AsType[*fleet.RefusedError](err); !ok || refused.Code != 5 {
			t.Errorf("Run() = %v, want a refusal with code 5", err)
		}
		if strings.Contains(err.Error(), b.cs.SharedAccessKey.Base64()) {
			t.Errorf("the key is in the error %q", err)
		}
		b.wantNews()
	})
}

// TestRefusalsLaterOnPass disables a device that was online, and enables it.
func TestRefusalsLaterOnPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.run()
		set := func(status string) {
			t.Helper()
			d, err := b.hub.Client().Device(t.Context(), "dev1")
			d.Status = status
			if err == nil {
				_, err = b.hub.Client().UpdateDevice(t.Context(), d, "*")
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		set("disabled")
		time.Sleep(30 * time.Second)
		set("enabled")
		time.Sleep(time.Minute)
		synctest.Wait()
		b.invoke("lockDoor")
	})
}

// TestGivenTokenEndsWithIt connects with a token in place of a key.
func TestGivenTokenEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		expiry := time.Now().Add(5 * time.Minute).Truncate(time.Second)
		token := iothub.NewToken(iothub.DeviceResource(hubName, "dev1"), b.cs.SharedAccessKey, "", expiry)
		b.cs.SharedAccessKey, b.cs.SharedAccessSignature = nil, iothub.Secret(token)
		b.run()
		b.invoke("lockDoor")
		time.Sleep(6 * time.Minute)
		if err := <-b.ended; !errors.Is(err, device.ErrTokenExpired) {
			t.Errorf("Run() = %v, want %v", err, device.ErrTokenExpired)
		}
		b.wantNews(device.Online, device.Lost)
	})
}

// TestEndWaitsForAnswers ends the run while a method takes its time.
func TestEndWaitsForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.opts.Method = func(context.Context, device.Call) device.Answer {
			b.cancel()
			time.Sleep(500 * time.Millisecond)
			return device.Answer{Status: 200}
		}
		b.run()
		b.invoke("last")
		if err := <-b.ended; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	bad := func(cs iothub.ConnectionString, want string) {
		t.Helper()
		if _, err := device.New(cs, paho.Driver{}, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New() error %v, want one with %q", err, want)
		}
	}
	bad(iothub.ConnectionString{HostName: hubName, SharedAccessKeyName: "service", SharedAccessKey: iothub.Key("k")}, "no DeviceId")
	bad(iothub.ConnectionString{HostName: hubName, DeviceID: "d", ModuleID: "m", SharedAccessKey: iothub.Key("k")}, "module")
}

func TestRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		d, err := device.New(b.cs, paho.Driver{}, b.dial, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := d.Run(ctx); err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
		if err := d.Run(ctx); err == nil {
			t.Error("the second Run() = nil, want an error")
		}
	})
}
