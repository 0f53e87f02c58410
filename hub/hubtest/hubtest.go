// Package hubtest runs an embedded hub in memory for a test: without sockets, and in a testing/synctest bubble on the
// bubble's clock.
//
// # Concurrency
//
// A Server owns the goroutines that serve its listeners. Close, which the test's cleanup calls, ends them together
// with the hub, and waits for them.
package hubtest

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"sync"
	"testing"

	"muster/hub"
	"muster/internal/memnet"
	"muster/iothub"
)

// baseURL is where clients believe the REST side to be; the transport takes every address to Server.REST.
const baseURL = "http://hub.test"

// Server is a hub whose two sides listen in memory, each with and without TLS.
type Server struct {
	*hub.Hub
	MQTT  *memnet.Listener // for devices
	MQTTS *memnet.Listener // for devices, TLS
	REST  *memnet.Listener // for services, plain HTTP
	RESTS *memnet.Listener // for services, HTTPS, and for devices on WebSockets

	transport *http.Transport
	client    *iothub.Client
	serving   sync.WaitGroup // one goroutine a listener
}

// Start returns a running hub. It ends with the test, in a bubble as the last thing in it.
func Start(t testing.TB, opts *hub.Options) *Server {
	t.Helper()
	s := &Server{
		Hub:  hub.New(opts),
		MQTT: memnet.Listen("mqtt"), MQTTS: memnet.Listen("mqtts"),
		REST: memnet.Listen("rest"), RESTS: memnet.Listen("rests"),
	}
	s.transport = &http.Transport{DialContext: s.REST.DialContext, MaxIdleConnsPerHost: 64}
	var err error
	s.client, err = iothub.NewClient(s.ConnectionString(), &iothub.ClientOptions{BaseURL: baseURL, Transport: s.transport})
	if err != nil {
		t.Fatalf("make a client of the hub: %v", err)
	}
	s.serving.Go(func() { _ = s.ServeMQTT(s.MQTT) }) // nil unless somebody else closed the listener
	s.serving.Go(func() { _ = s.ServeMQTTS(s.MQTTS) })
	s.serving.Go(func() { _ = s.ServeREST(s.REST) })
	s.serving.Go(func() { _ = s.ServeRESTS(s.RESTS) })
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the hub: %v", err)
		}
	})
	return s
}

// Client returns a service client of the hub, with the policy iothubowner.
func (s *Server) Client() *iothub.Client { return s.client }

// HTTPClient returns a plain client for requests to URL.
func (s *Server) HTTPClient() *http.Client { return &http.Client{Transport: s.transport} }

// TLS returns a client's configuration for MQTTS and RESTS: it trusts the hub's CA alone.
func (s *Server) TLS(t testing.TB) *tls.Config {
	t.Helper()
	ca, err := s.CA()
	if err != nil {
		t.Fatalf("the hub's CA: %v", err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ca.PEM())
	return &tls.Config{RootCAs: trusted, ServerName: "localhost"}
}

// URL returns the address of the REST side, without a slash at the end, for use with HTTPClient.
func (s *Server) URL() string { return baseURL }

// Close ends the hub and waits until nothing of it is left.
func (s *Server) Close() error {
	err := s.Hub.Close()
	s.serving.Wait()
	s.client.Close()
	s.transport.CloseIdleConnections()
	return err
}
