//go:build !race

package dialer_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"muster/hub"
	"muster/internal/dialer"
	"muster/internal/memnet"
)

// maxIdleBytes is what a device's idle TLS connection may hold of the heap, with
// its configuration and its session for the next time: 5,900 bytes, nearly all of
// which is package tls's. The race detector adds to it.
const maxIdleBytes = 6500

// TestIdleConnectionIsSmall takes off the pipe below, and lets the server forget
// its end of TLS.
func TestIdleConnectionIsSmall(t *testing.T) {
	const n = 1000
	ca, err := hub.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue("hub.test")
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ca.PEM())
	l := memnet.Listen("mqtts")
	defer l.Close()
	d := dialer.New(dialer.Options{MQTT: mqttAddr, TLS: &tls.Config{RootCAs: trusted}, Network: places{mqttAddr: l}.dial})
	// As on the hub, which asks for a client's certificate.
	asServer := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert}

	var ends []net.Conn
	defer func() {
		for _, c := range ends {
			_ = c.(interface{ NetConn() net.Conn }).NetConn().Close()
		}
	}()
	pair := func(device string) {
		var serving sync.WaitGroup
		serving.Go(func() {
			below, err := l.Accept()
			if err == nil {
				_, err = tls.Server(below, asServer).Write([]byte("hello"))
			}
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		c, err := d.Dial(t.Context(), dialer.MQTT, device)
		serving.Wait()
		if err != nil {
			t.Fatalf("Dial: %v", err)
		}
		if _, err := io.ReadFull(c, make([]byte, len("hello"))); err != nil { // the ticket comes before it
			t.Fatal(err)
		}
		ends = append(ends, c)
	}
	pipes := heldBytes(n, func(int) net.Conn {
		c, err := l.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		return c
	})
	pair("before") // what all share
	got := heldBytes(n, func(i int) net.Conn {
		pair(fmt.Sprint("door-", i))
		return ends[len(ends)-1]
	}) - pipes
	if got > maxIdleBytes {
		t.Errorf("an idle TLS connection holds %.0f bytes of heap, want at most %d", got, maxIdleBytes)
	}
}

// heldBytes returns what each of n connections holds of the heap.
func heldBytes(n int, dial func(i int) net.Conn) float64 {
	conns := make([]net.Conn, n)
	before := heapBytes()
	for i := range conns {
		conns[i] = dial(i)
	}
	held := heapBytes() - before
	runtime.KeepAlive(conns)
	return held / float64(n)
}

func heapBytes() float64 {
	runtime.GC()
	runtime.GC() // the first only empties the caches
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
