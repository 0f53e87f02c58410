package device

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"muster/fleet"
	"muster/iothub"
)

// The ports that are registered for MQTT.
const (
	plainPort = "1883"
	tlsPort   = "8883"
)

// Endpoint is where a device connects to.
type Endpoint struct {
	Address string // host and port
	TLS     bool   // else plain TCP
}

// EndpointOf returns where the device of a connection string connects to:
// over TLS to its GatewayHostName, or else its HostName, on port 8883 unless
// the name has one. That is what every client of the service does.
func EndpointOf(cs iothub.ConnectionString) Endpoint {
	host := cs.GatewayHostName
	if host == "" {
		host = cs.HostName
	}
	return Endpoint{Address: withPort(host, tlsPort), TLS: true}
}

// ParseEndpoint reads an address that overrides that of the connection string:
// mqtt://HOST[:PORT] is plain TCP, on port 1883 unless it says another;
// mqtts://HOST[:PORT] is TLS, on port 8883; HOST:PORT without a scheme is plain
// on port 1883 and TLS on every other.
func ParseEndpoint(s string) (Endpoint, error) {
	scheme, host, ok := strings.Cut(s, "://")
	if !ok {
		scheme, host = "mqtts", s
		if strings.HasSuffix(s, ":"+plainPort) {
			scheme = "mqtt"
		}
	}
	host = strings.TrimSuffix(host, "/")
	e := Endpoint{TLS: scheme == "mqtts"}
	switch scheme {
	case "mqtt":
		e.Address = withPort(host, plainPort)
	case "mqtts":
		e.Address = withPort(host, tlsPort)
	default:
		return Endpoint{}, fmt.Errorf("parse address %q: want mqtt://HOST[:PORT], mqtts://HOST[:PORT] or HOST:PORT", s)
	}
	name, port, err := net.SplitHostPort(e.Address)
	if err != nil || name == "" || port == "" || strings.ContainsAny(name, "/@?#") || strings.ContainsAny(port, "/@?#") {
		return Endpoint{}, fmt.Errorf("parse address %q: not a host and a port", s)
	}
	return e, nil
}

// withPort returns host with a port: its own, or else the given one.
func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// String names the address as ParseEndpoint reads it.
func (e Endpoint) String() string {
	if e.TLS {
		return "mqtts://" + e.Address
	}
	return "mqtt://" + e.Address
}

// Exposed reports whether a token travels to the endpoint where others could
// read it: over plain TCP, and not to this machine.
func (e Endpoint) Exposed() bool {
	host, _, err := net.SplitHostPort(e.Address)
	if e.TLS || err != nil || strings.EqualFold(host, "localhost") {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err != nil || !addr.IsLoopback()
}

// Dial returns a function that opens connections to the endpoint. The
// configuration is for TLS, and may be nil: then the system's roots are
// trusted. The name that the hub must prove is the endpoint's.
func (e Endpoint) Dial(config *tls.Config) fleet.DialFunc {
	dialer := &net.Dialer{}
	if !e.TLS {
		return func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", e.Address) }
	}
	secure := &tls.Dialer{NetDialer: dialer, Config: config}
	return func(ctx context.Context) (net.Conn, error) { return secure.DialContext(ctx, "tcp", e.Address) }
}
