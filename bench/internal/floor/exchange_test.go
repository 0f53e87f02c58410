package floor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"muster/bench/internal/floor"
	"muster/fleet"
	"muster/fleet/lean"
	"muster/fleet/paho"
	"muster/hub/hubtest"
	"muster/internal/template"
	"muster/iothub"
)

// TestMain has this binary play a part, too, when a test of pairs starts it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains(floor.Roles(), floor.Role(os.Args[1])) {
		if err := floor.Play(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// calls is how many calls are compared: until the requests' ids have two digits.
const calls = 17

// tap keeps what passes a connection, each way.
type tap struct {
	net.Conn
	mu          sync.Mutex // guards the fields below
	read, wrote bytes.Buffer
}

func (c *tap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read.Write(b[:n])
	return n, err
}

func (c *tap) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote.Write(b[:n])
	return n, err
}

// TestExchangeIsMusters holds the floor's bytes to those of a device of muster's
// on muster's hub, down to the token: in a bubble it ends at a known time.
func TestExchangeIsMusters(t *testing.T) {
	for name, driver := range map[string]fleet.Driver{"lean": &lean.Driver{}, "paho": paho.Driver{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requested, answered bytes.Buffer
				seen, key := converse(t, driver)
				e, err := floor.NewExchangeOf(key, time.Now().Add(24*time.Hour))
				if err != nil {
					t.Fatal(err)
				}
				for i := range e.Hello {
					answered.Write(e.Hello[i])
					requested.Write(e.Welcome[i])
				}
				for n := range uint32(calls) {
					requested.Write(e.Request(n + 1))
					answered.Write(e.Response(n + 1))
				}
				if got, want := seen.read.String(), requested.String(); got != want {
					t.Errorf("the hub says\n%q\nto a device, the floor\n%q", got, want)
				}
				// Paho sends the filters of a SUBSCRIBE in any order.
				got, want := seen.wrote.Bytes(), answered.Bytes()
				if name == "paho" && len(got) == len(want) {
					from := len(e.Hello[0]) + 4
					copy(got[from:len(e.Hello[0])+len(e.Hello[1])], want[from:])
				}
				if !bytes.Equal(got, want) {
					t.Errorf("a device says\n%q\nto the hub, the floor\n%q", got, want)
				}
			})
		})
	}
}

// converse brings a device online on a hub, calls it, and returns what passed.
func converse(t *testing.T, driver fleet.Driver) (*tap, iothub.Key) {
	hub := hubtest.Start(t, nil)
	id, err := template.Parse("door-{index:06d}")
	if err != nil {
		t.Fatal(err)
	}
	seen := &tap{}
	f, err := fleet.New(fleet.Config{
		Seed: 1, HostName: hub.Hub.ConnectionString().HostName, Driver: driver,
		Dial: func(ctx context.Context) (_ net.Conn, err error) {
			seen.Conn, err = hub.MQTT.DialContext(ctx, "", "")
			return seen, err
		},
		Groups: []fleet.Group{{Name: "doors", Devices: 1, ID: id, Methods: map[string]fleet.Method{
			floor.Method: {Response: json.RawMessage(floor.Response)},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Register(t.Context(), hub.Client()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = f.Run(ctx) }) // nil, as tests of fleet hold
	defer running.Wait()
	defer cancel()
	<-f.Ready()
	for range calls {
		call(t, hub, f.ID(0))
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	before := &tap{} // the end of the connection is no part of the exchange
	before.read.Write(seen.read.Bytes())
	before.wrote.Write(seen.wrote.Bytes())
	return before, f.Identity(0).Key
}

// call calls the device as a direct job does, with the bytes that the floor's
// callers send.
func call(t *testing.T, hub *hubtest.Server, id string) {
	t.Helper()
	seconds := 60
	method := iothub.Method{MethodName: floor.Method, Payload: json.RawMessage(floor.Request), ResponseTimeoutInSeconds: &seconds}
	var body, answer, query, path string
	var header http.Header
	client, err := iothub.NewClient(hub.Hub.ConnectionString(), &iothub.ClientOptions{
		BaseURL: hub.URL(), Transport: transport(func(r *http.Request) (*http.Response, error) {
			path, query, header = r.URL.Path, r.URL.RawQuery, r.Header
			body = drain(t, r.Body)
			r.Body, _ = r.GetBody()
			got, err := hub.HTTPClient().Transport.RoundTrip(r)
			if err == nil {
				answer = drain(t, got.Body)
				got.Body = io.NopCloser(bytes.NewReader([]byte(answer)))
			}
			return got, err
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.InvokeMethod(t.Context(), id, method); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"header", headerText(header), headerText(floor.CallHeader())},
		{"path", path, floor.CallPath(id)},
		{"query", query, floor.CallQuery},
		{"body", body, floor.CallBody},
		{"answer", answer, floor.CallResult},
	} {
		if c.got != c.want {
			t.Errorf("the %s of muster's call is %q, of the floor's %q", c.what, c.got, c.want)
		}
	}
}

// headerText writes a header down, of the token no more than that there is one.
func headerText(h http.Header) string {
	var b strings.Builder
	h = h.Clone()
	h.Set("Authorization", strings.Split(h.Get("Authorization"), "sr=")[0])
	_ = h.Write(&b) // to memory
	return b.String()
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func drain(t *testing.T, r io.ReadCloser) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close() // read to its end
	return string(b)
}

func TestAnswerEchoesTheRequestsID(t *testing.T) {
	e, err := floor.NewExchange()
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, n := range []uint32{1, 15, 16, 255, 256, 1 << 31} {
		b = e.Answer(b, e.Request(n))
		if want := e.Response(n); !bytes.Equal(b, want) {
			t.Errorf("Answer(Request(%d)) = %q, want %q", n, b, want)
		}
	}
	first := e.Connect(nil, 0)
	if !bytes.Equal(first, e.Hello[0]) {
		t.Errorf("Connect(0) = %q, want %q", first, e.Hello[0])
	}
	if got, want := e.Connect(nil, 123456), len(e.Hello[0]); len(got) != want || bytes.Contains(got, []byte(floor.DeviceID(0))) || bytes.Count(got, []byte(floor.DeviceID(123456))) != 3 {
		t.Errorf("Connect(123456) = %q, want %d bytes with its id three times", got, want)
	}
}
