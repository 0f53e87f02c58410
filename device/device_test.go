package device_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/device"
	"muster/fleet"
	"muster/fleet/paho"
	"muster/iothub"
)

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
