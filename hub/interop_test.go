package hub_test

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// pahoDevice connects a device with the paho client, which knows nothing of the hub.
func pahoDevice(t testing.TB, s *hubtest.Server, id string) paho.Client {
	t.Helper()
	c := valid(s, id)
	opts := paho.NewClientOptions().SetClientID(c.clientID).SetUsername(c.username).SetPassword(c.password).
		SetProtocolVersion(4).SetAutoReconnect(false).SetOrderMatters(false).SetKeepAlive(30 * time.Second).
		AddBroker("tcp://hub.test:1883")
	opts.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		return s.MQTT.DialContext(context.Background(), "", "")
	})
	client := paho.NewClient(opts)
	wait(t, client.Connect())
	t.Cleanup(func() { client.Disconnect(0) })
	return client
}

func wait(t testing.TB, token paho.Token) {
	t.Helper()
	select {
	case <-token.Done():
	case <-time.After(time.Minute):
		t.Fatal("paho: no end within a minute")
	}
	if err := token.Error(); err != nil {
		t.Fatalf("paho: %v", err)
	}
}

// A device on paho and a service on the public client do everything that a run of muster does.
func TestPahoAndClient(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		ctx, service := t.Context(), s.Client()
		register(t, s, "dev1")
		device := pahoDevice(t, s, "dev1")
		desired, responses := make(chan string, 10), make(chan string, 10)
		wait(t, device.Subscribe(iothub.FilterDesired, 0, func(_ paho.Client, m paho.Message) { desired <- string(m.Payload()) }))
		wait(t, device.Subscribe(iothub.FilterTwinResponses, 1, func(_ paho.Client, m paho.Message) { responses <- m.Topic() + " " + string(m.Payload()) }))
		wait(t, device.Subscribe(iothub.FilterMethods, 0, func(c paho.Client, m paho.Message) {
			topic, _ := iothub.ParseTopic(m.Topic())
			c.Publish(iothub.MethodResponseTopic(200, topic.RequestID), 0, false, m.Payload())
		}))
		wait(t, device.Publish(iothub.EventsTopic("dev1"), 1, false, "hello"))

		result, err := service.InvokeMethod(ctx, "dev1", iothub.Method{MethodName: "echo", Payload: json.RawMessage(`{"a":1}`)})
		if err != nil || result.Status != 200 || string(result.Payload) != `{"a":1}` {
			t.Errorf("method: %+v, %v", result, err)
		}
		if _, err := service.PatchTwin(ctx, "dev1", iothub.NewTwinPatch(nil, json.RawMessage(`{"x":1}`)), "*"); err != nil {
			t.Errorf("patch: %v", err)
		}
		if got := <-desired; got != `{"x":1,"$version":2}` {
			t.Errorf("notification %s", got)
		}
		wait(t, device.Publish(iothub.ReportedTopic("7"), 0, false, `{"x":1}`))
		if got := <-responses; got != "$iothub/twin/res/204/?$rid=7&$version=2 " {
			t.Errorf("answer to a report: %s", got)
		}
		wait(t, device.Publish(iothub.TwinGetTopic("8"), 0, false, ""))
		if got := <-responses; got != `$iothub/twin/res/200/?$rid=8 {"desired":{"x":1,"$version":2},"reported":{"x":1,"$version":2}}` {
			t.Errorf("answer to a twin GET: %s", got)
		}

		if _, err := service.CreateJob(ctx, iothub.JobRequest{
			JobID: "job-1", Type: iothub.JobMethod, CloudToDeviceMethod: &iothub.Method{MethodName: "echo"}, QueryCondition: "*",
		}); err != nil {
			t.Errorf("create job: %v", err)
		}
		for {
			j, err := service.Job(ctx, "job-1")
			if err != nil {
				t.Fatalf("job: %v", err)
			}
			if j.Status.Done() {
				break
			}
			time.Sleep(time.Second)
		}
		var got []string
		for row, err := range service.DeviceJobs(ctx, "job-1") {
			if err != nil {
				t.Fatalf("rows: %v", err)
			}
			got = append(got, row.DeviceID+" "+string(row.Status)+" "+string(row.Outcome.DeviceMethodResponse.Payload))
		}
		if diff := cmp.Diff([]string{"dev1 completed null"}, got); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	})
}

// The same over sockets: nothing of the hub depends on the transport in memory.
func TestOverTCP(t *testing.T) {
	h := hub.New(nil)
	var serving sync.WaitGroup
	listen := func(serve func(net.Listener) error) net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Skipf("no sockets here: %v", err)
		}
		serving.Go(func() {
			if err := serve(l); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		return l
	}
	devices, services := listen(h.ServeMQTT), listen(h.ServeREST)
	service, err := iothub.NewClient(h.ConnectionString(), &iothub.ClientOptions{BaseURL: "http://" + services.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	_, err = service.CreateDevice(t.Context(), iothub.Device{
		DeviceID:       "dev1",
		Authentication: &iothub.Authentication{SymmetricKey: iothub.SymmetricKey{Primary: key("dev1"), Secondary: key("dev1")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", devices.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b := &bare{t: t, conn: conn, rd: mqtt.NewReader(conn, 1<<20)}
	token := iothub.NewToken("localhost/devices/dev1", key("dev1"), "", time.Now().Add(time.Hour))
	if code := b.connect(credentials{"dev1", iothub.Username("localhost", "dev1"), token}, true, 60); code != mqtt.Accepted {
		t.Fatalf("CONNACK %d", code)
	}
	b.subscribe(iothub.FilterMethods)
	var calling sync.WaitGroup
	calling.Go(func() {
		result, err := service.InvokeMethod(t.Context(), "dev1", iothub.Method{MethodName: "m"})
		if err != nil || string(result.Payload) != `"ok"` {
			t.Errorf("method: %s, %v", result.Payload, err)
		}
	})
	b.answerMethod("m", "null", 200, `"ok"`)
	calling.Wait()
	if err := h.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	serving.Wait()
	b.closed()
}
