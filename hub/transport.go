package hub

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"muster/internal/socket"
)

// CA returns the certificate authority that signed what the hub shows to TLS clients: that of its options, or one that
// the hub made for itself.
func (h *Hub) CA() (*CA, error) { return h.ca() }

// ServeMQTTS is ServeMQTT over TLS 1.2 or newer, with a certificate of the hub's CA for its host name, localhost and the
// loopback addresses. A device may show a certificate; CONNECT judges it.
func (h *Hub) ServeMQTTS(l net.Listener) error {
	config, err := h.tls()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if l, err = h.listen(l); err != nil {
		return err
	}
	return h.serveMQTT(secureListener{l, config})
}

// secureListener accepts TLS connections that tell, where those below do.
type secureListener struct {
	net.Listener
	config *tls.Config
}

// Accept implements net.Listener.
func (l secureListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return socket.Server(nc, l.config), nil
}

// ServeRESTS is ServeREST over TLS, as ServeMQTTS is. As on port 443 of the service, devices may connect to it by
// WebSocket.
func (h *Hub) ServeRESTS(l net.Listener) error {
	config, err := h.tls()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return h.serveHTTP(tls.NewListener(l, config), h)
}

// ServeWebSocket accepts devices that speak MQTT over WebSocket and TLS until the hub is closed, and nothing else. The
// hub closes the listener.
func (h *Hub) ServeWebSocket(l net.Listener) error {
	config, err := h.tls()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	mux.Handle(webSocketPath, h)
	return h.serveHTTP(tls.NewListener(l, config), mux)
}

// makeTLS returns the configuration of every TLS listener. Client certificates are asked for and not verified: which
// ones are good depends on the device that CONNECT names.
func (h *Hub) makeTLS() (*tls.Config, error) {
	ca, err := h.ca()
	if err != nil {
		return nil, err
	}
	host := h.host
	if net.ParseIP(host) == nil {
		host = strings.Trim(withoutPort(host), "[]")
	}
	cert, err := ca.Issue("localhost", "127.0.0.1", "::1", host)
	if err != nil {
		return nil, fmt.Errorf("serve TLS: %w", err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		ClientAuth:   tls.RequestClientCert,
	}, nil
}
