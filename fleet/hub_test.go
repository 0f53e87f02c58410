package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/fleet"
	"muster/fleet/paho"
	"muster/hub/hubtest"
	"muster/internal/sample"
	"muster/iothub"
)

// TestFleetMeetsTheHub runs a fleet against the embedded hub: registered over
// REST, connected over MQTT, called, and updated.
func TestFleetMeetsTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 250
		hub := hubtest.Start(t, nil)
		client := hub.Client()
		g := withMethods(t, devices, map[string]fleet.Method{
			"lockDoor": {Response: []byte(`{"ok":true}`), Latency: fleet.Latency{Median: 20 * time.Millisecond}},
			"silent":   {SilenceRate: 1},
		})
		g.Tags = tree(t, map[string]any{"building": "{index % 50}"})
		g.Reported = tree(t, map[string]any{"fw": "1.0"})
		g.EchoDesired = true
		seen := &watcher{}
		f, err := fleet.New(fleet.Config{
			Seed: 42, HostName: hub.Hub.ConnectionString().HostName, Groups: []fleet.Group{g}, Driver: paho.Driver{},
			Dial:     func(ctx context.Context) (net.Conn, error) { return hub.MQTT.DialContext(ctx, "", "") },
			Connect:  fleet.Connect{Rate: 500, KeepAlive: time.Minute},
			Observer: seen, Samples: seen, Clock: sample.NewClock(),
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
		want(t, "online", f.Stats().Online, devices)

		answer, err := client.InvokeMethod(t.Context(), "door-7", iothub.Method{MethodName: "lockDoor"})
		if err != nil || answer.Status != 200 || string(answer.Payload) != `{"ok":true}` {
			t.Errorf("InvokeMethod: got %+v, %v", answer, err)
		}
		answer, err = client.InvokeMethod(t.Context(), "door-7", iothub.Method{MethodName: "fly"})
		if err != nil || answer.Status != 404 {
			t.Errorf("InvokeMethod of an unknown method: got %+v, %v", answer, err)
		}
		patch := json.RawMessage(`{"properties":{"desired":{"floor":3}}}`)
		if _, err := client.PatchTwin(t.Context(), "door-7", patch, "*"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		twin, err := client.Twin(t.Context(), "door-7")
		if err != nil {
			t.Fatal(err)
		}
		var reported struct {
			Floor   int    `json:"floor"`
			FW      string `json:"fw"`
			Version int    `json:"$version"`
		}
		if err := json.Unmarshal(twin.Properties.Reported, &reported); err != nil {
			t.Fatal(err)
		}
		want(t, "reported", fmt.Sprint(reported), "{3 1.0 2}")
		wantMatch(t, f, "properties.reported.floor = 3", 7)
		wantMatch(t, f, "tags.building = 7 AND connectionState = 'Connected'", 7, 57, 107, 157, 207)

		time.Sleep(5 * time.Minute) // the pings keep all of it connected
		want(t, "lost", f.Stats().Lost, 0)
		want(t, "online", f.Stats().Online, devices)
	})
}
