package floor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/iothub"
)

// What a direct call of a method says over HTTP.
const (
	callBody   = `{"methodName":"` + method + `","payload":` + request + `,"responseTimeoutInSeconds":60,"connectTimeoutInSeconds":0}`
	callResult = `{"status":200,"payload":` + response + `}`
	callQuery  = "api-version=" + iothub.APIVersion
	jsonType   = "application/json; charset=utf-8"
)

func callPath(id string) string { return "/twins/" + id + "/methods" }

// callsAtOnce is how many calls are in flight, as in the runs of muster that
// they are compared with.
const callsAtOnce = 128

// Web is a server of bare net/http that answers each call at once. serving
// joins it; Close ends it.
type Web struct {
	server  http.Server
	serving sync.WaitGroup
}

// NewWeb serves calls at a listener, which is its own from now on.
func NewWeb(l net.Listener) *Web {
	w := &Web{}
	w.server.Handler = http.HandlerFunc(answerCall)
	w.serving.Go(func() { _ = w.server.Serve(l) }) // ends with Close
	return w
}

func answerCall(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || string(body) != callBody {
		http.Error(w, "not the call", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", jsonType)
	_, _ = io.WriteString(w, callResult) // the caller finds out
}

// Close ends the server and its connections.
func (w *Web) Close() {
	_ = w.server.Close() // its connections end anyway
	w.serving.Wait()
}

// Caller makes calls with bare net/http.
type Caller struct {
	base      string
	devices   int
	header    http.Header
	transport *http.Transport
	client    *http.Client
}

// NewCaller returns a Caller of so many devices at a Web, which dial reaches;
// nil is TCP.
func NewCaller(addr string, devices int, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *Caller {
	c := &Caller{base: "http://" + addr, devices: devices, transport: &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: callsAtOnce, DisableCompression: true,
	}}
	c.client = &http.Client{Transport: c.transport}
	c.header = http.Header{
		"Authorization": {iothub.NewToken(hostName, make(iothub.Key, 32), "iothubowner", expiry)},
		"User-Agent":    {"muster"}, "Accept": {"application/json"}, "Content-Type": {jsonType},
	}
	return c
}

// Broadcast calls every device and returns how long it took from the first
// call to the last answer.
func (c *Caller) Broadcast(ctx context.Context) (time.Duration, error) {
	calling, ctx := errgroup.WithContext(ctx)
	next := make(chan int)
	began := time.Now()
	for range callsAtOnce {
		calling.Go(func() error {
			for i := range next {
				if err := c.call(ctx, deviceID(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	calling.Go(func() error {
		defer close(next)
		for i := range c.devices {
			select {
			case next <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	err := calling.Wait()
	return time.Since(began), err
}

func (c *Caller) call(ctx context.Context, id string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+callPath(id)+"?"+callQuery, strings.NewReader(callBody))
	if err != nil {
		return err
	}
	r.Header = c.header
	answer, err := c.client.Do(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK || string(body) != callResult {
		return fmt.Errorf("the answer is %s, %q; want 200, %q", answer.Status, body, callResult)
	}
	return nil
}

// Close ends the connections.
func (c *Caller) Close() { c.transport.CloseIdleConnections() }
