package memnet_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/memnet"
)

// serve runs handler on a listener and returns a client of it. Both end with the
// test's function.
func serve(t *testing.T, server *http.Server, f func(client *http.Client)) {
	t.Helper()
	l := memnet.Listen("rest")
	transport := &http.Transport{DialContext: l.DialContext}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(l); err != http.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	f(&http.Client{Transport: transport})
	transport.CloseIdleConnections()
	if err := server.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	wg.Wait()
}

// echo answers with what it was sent, while it is being sent.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).EnableFullDuplex()
	w.Header().Set("X-Remote", r.RemoteAddr)
	io.Copy(w, r.Body)
})

func TestHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve(t, &http.Server{Handler: echo}, func(client *http.Client) {
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() { checkEcho(t, client, strings.Repeat(strconv.Itoa(i), 1+i*1000)) })
			}
			wg.Wait()
		})
	})
}

func checkEcho(t *testing.T, client *http.Client, body string) {
	t.Helper()
	res, err := client.Post("http://hub/echo", "text/plain", strings.NewReader(body))
	if err != nil {
		t.Errorf("Post: %v", err)
		return
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); string(got) != body || err != nil {
		t.Errorf("echo of %d bytes: %d bytes, %v", len(body), len(got), err)
	}
	if got := res.Header.Get("X-Remote"); got != "memory:rest" {
		t.Errorf("server saw %q as its peer", got)
	}
}

// TestHTTPTimeouts wants the timeouts of net/http on the fake clock.
func TestHTTPTimeouts(t *testing.T) {
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(time.Hour):
		case <-r.Context().Done(): // the server sees that the client has gone
		}
	})
	synctest.Test(t, func(t *testing.T) {
		serve(t, &http.Server{Handler: slow}, func(client *http.Client) {
			client.Timeout = time.Minute
			start := time.Now()
			_, err := client.Get("http://hub/")
			if got := time.Since(start); got != time.Minute || !os.IsTimeout(err) {
				t.Errorf("Get ended after %v with %v, want 1m and a timeout", got, err)
			}
			synctest.Wait()
		})
	})
	synctest.Test(t, func(t *testing.T) {
		server := &http.Server{Handler: echo, ReadTimeout: time.Minute, IdleTimeout: time.Minute}
		serve(t, server, func(client *http.Client) {
			start := time.Now()
			body, w := io.Pipe() // nothing is ever written to it
			_, err := client.Post("http://hub/", "text/plain", body)
			w.Close()
			if got := time.Since(start); got < time.Minute || got > time.Minute+time.Second {
				t.Errorf("the server gave up after %v (%v), want 1m", got, err)
			}
		})
	})
}

// TestHTTPLargeBodies sends more than a connection can buffer both ways at once.
func TestHTTPLargeBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve(t, &http.Server{Handler: echo}, func(client *http.Client) {
			body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			res, err := client.Post("http://hub/", "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); !bytes.Equal(got, body) || err != nil {
				t.Errorf("echo of 1 MiB: %d bytes, %v", len(got), err)
			}
		})
	})
}

func TestHTTPRefused(t *testing.T) {
	l := memnet.Listen("rest")
	l.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: l.DialContext}}
	_, err := client.Get("http://hub/")
	if want := "connection refused"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Get: %v, want %q", err, want)
	}
}
