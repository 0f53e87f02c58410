package fleet_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/fleet"
	"muster/fleet/fleettest"
	"muster/fleet/paho"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/internal/sample"
	"muster/iothub"
)

// rebooting is what a door does that reboots.
func rebooting() map[string]fleet.Method {
	return map[string]fleet.Method{
		"reboot": {Latency: fleet.Latency{Median: 10 * time.Millisecond}, Away: 3 * time.Second},
		"break":  {FailureRate: 1, Away: 3 * time.Second},
		"stay":   {},
	}
}

// TestRebootAnswersLeavesAndComesBack follows a device through a reboot, and
// leaves the other alone.
func TestRebootAnswersLeavesAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, fleet.Config{Groups: []fleet.Group{withMethods(t, 2, rebooting())}}).ready()
		time.Sleep(time.Second)
		before := len(w.seen.attempts())
		called := w.clock.Now()
		w.call("door-0", "reboot", "r1", "")
		time.Sleep(2 * time.Second)
		want(t, "answers", len(w.hub.Published("$iothub/methods/res/200/?$rid=r1")), 1)
		want(t, "offline while it is away", w.fleet.Stats().Offline, 1)
		want(t, "online while it is away", w.fleet.Stats().Online, 1)
		want(t, "connections while it is away", w.fleet.Stats().Connections, 1)

		time.Sleep(2 * time.Second)
		stats := w.fleet.Stats()
		want(t, "online again", stats.Online, 2)
		want(t, "left", stats.Left, 1)
		want(t, "lost", stats.Lost, 0)
		attempts := w.seen.attempts()
		want(t, "attempts", len(attempts), before+1)
		last := attempts[1] // by device, then in order
		due := called.Add(10*time.Millisecond + 3*time.Second)
		want(t, "attempt", last, sample.Connect{
			Device: 0, Attempt: 1, Reconnect: true, Due: due, Dialed: last.Dialed, Accepted: last.Accepted, Ready: last.Ready,
		})
		want(t, "dialed", last.Dialed, due)
		w.call("door-0", "stay", "r2", "")
		synctest.Wait()
		want(t, "answers", len(w.hub.Published("$iothub/methods/res/200/?$rid=r2")), 1)
	})
}

func TestOnlyASuccessIsFollowedByAReboot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, fleet.Config{Groups: []fleet.Group{withMethods(t, 1, rebooting())}}).ready()
		w.call("door-0", "break", "r1", "")
		w.call("door-0", "stay", "r2", "")
		time.Sleep(time.Second)
		want(t, "left", w.fleet.Stats().Left, 0)
		want(t, "online", w.fleet.Stats().Online, 1)
	})
}

// TestRebootedDeviceTriesAgain lets the hub refuse the device when it comes
// back first.
func TestRebootedDeviceTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := &fleettest.HubOptions{Connack: func(_ string, n int) (byte, bool) {
			if n == 2 {
				return 3, true
			}
			return 0, true
		}}
		w := start(t, hub, fleet.Config{Groups: []fleet.Group{withMethods(t, 1, rebooting())}}).ready()
		w.call("door-0", "reboot", "r1", "")
		time.Sleep(5 * time.Second)
		attempts := w.seen.attempts()
		want(t, "attempts", len(attempts), 3)
		want(t, "refused", attempts[1].Error, "refused: server unavailable")
		want(t, "third attempt", attempts[2].Attempt, 2)
		want(t, "reconnect", attempts[2].Reconnect, true)
		want(t, "online", w.fleet.Stats().Online, 1)
	})
}

// TestRunEndsWhileADeviceIsAway stops a fleet in the middle of a reboot.
func TestRunEndsWhileADeviceIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, fleet.Config{Groups: []fleet.Group{withMethods(t, 1, rebooting())}}).ready()
		w.call("door-0", "reboot", "r1", "")
		time.Sleep(time.Second)
		began := time.Now()
		w.stop()
		want(t, "time to stop", time.Since(began), 0)
		want(t, "attempts", len(w.seen.attempts()), 1)
		want(t, "closed", w.fleet.Stats().Closed, 1)
	})
}

// greet accepts a device, grants what it subscribes to and reads that it asks
// for its twin.
func greet(t *testing.T, network *fleettest.Network) *fleettest.Peer {
	t.Helper()
	peer := network.Accept()
	peer.Greet(0)
	_, body := peer.Want(mqtt.TypeSubscribe)
	s, err := mqtt.ParseSubscribe(body)
	if err != nil {
		t.Fatal(err)
	}
	peer.Send(mqtt.AppendSuback(nil, s.ID, 0, 0, 0))
	peer.WantPublish()
	return peer
}

// TestRebootBeforeTheDeviceIsOnline calls a device that has subscribed and
// waits for its twin still.
func TestRebootBeforeTheDeviceIsOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := fleettest.NewNetwork(t)
		f, err := fleet.New(fleet.Config{
			HostName: "hub.test", Groups: []fleet.Group{withMethods(t, 1, rebooting())}, Driver: paho.Driver{}, Dial: network.Dial,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = f.Run(ctx) }) // nil, as other tests hold
		defer running.Wait()
		defer cancel()
		twin := func(peer *fleettest.Peer, rid string) {
			peer.SendPublish(mqtt.Publish{
				Topic: []byte(iothub.TwinResponseTopic(200, rid, 0)), Payload: []byte(`{"desired":{"$version":1},"reported":{"$version":1}}`),
			})
		}
		peer := greet(t, network)
		peer.SendPublish(mqtt.Publish{Topic: []byte(iothub.MethodRequestTopic("reboot", "7"))})
		peer.WantPublish() // the answer
		synctest.Wait()
		want(t, "left before it was online", f.Stats().Left, 0)
		twin(peer, "1")
		peer.Want(mqtt.TypeDisconnect)
		peer = greet(t, network)
		twin(peer, "1")
		synctest.Wait()
		stats := f.Stats()
		want(t, "left", stats.Left, 1)
		want(t, "online", stats.Online, 1)
		want(t, "failures", stats.ConnectFailures, 0)
	})
}

// TestRebootMeetsTheHub reboots a device of the embedded hub: its caller has
// the answer, then it is not online, then it is.
func TestRebootMeetsTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := hubtest.Start(t, nil)
		client := hub.Client()
		f, err := fleet.New(fleet.Config{
			HostName: hub.ConnectionString().HostName, Groups: []fleet.Group{withMethods(t, 1, rebooting())}, Driver: paho.Driver{},
			Dial: func(ctx context.Context) (net.Conn, error) { return hub.MQTT.DialContext(ctx, "", "") },
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Register(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = f.Run(ctx) }) // nil, as other tests hold
		defer running.Wait()
		defer cancel()
		<-f.Ready()
		invoke := func(method string) (int, error) {
			answer, err := client.InvokeMethod(t.Context(), "door-0", iothub.Method{MethodName: method})
			return answer.Status, err
		}
		if status, err := invoke("reboot"); status != 200 || err != nil {
			t.Errorf("reboot: %d, %v; want 200", status, err)
		}
		time.Sleep(2 * time.Second)
		if status, err := invoke("stay"); !iothub.HasCode(err, iothub.CodeDeviceNotOnline) {
			t.Errorf("stay, two seconds later: %d, %v; want that the device is not online", status, err)
		}
		time.Sleep(2 * time.Second)
		if status, err := invoke("stay"); status != 200 || err != nil {
			t.Errorf("stay, four seconds later: %d, %v; want 200", status, err)
		}
	})
}
