package floor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

const loopback = "127.0.0.1:0"

// network is a Listener on sockets.
type network struct{ net.Listener }

func (n network) Accept() (io.ReadWriteCloser, error) { return n.Listener.Accept() }

// listen listens on loopback, over TLS with the certificate if there is one.
func listen(cert *tls.Certificate) (net.Listener, error) {
	l, err := net.Listen("tcp", loopback)
	if err != nil || cert == nil {
		return l, err
	}
	return tls.NewListener(l, tlsConfig(&tls.Config{Certificates: []tls.Certificate{*cert}})), nil
}

// dialNet returns what opens connections to addr, over TLS if there is an
// authority to trust.
func dialNet(addr string, ca []byte) (func(context.Context) (net.Conn, error), error) {
	var d net.Dialer
	if len(ca) == 0 {
		return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }, nil
	}
	cert, err := x509.ParseCertificate(ca)
	if err != nil {
		return nil, fmt.Errorf("read the server's certificate: %w", err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(cert)
	config := tlsConfig(&tls.Config{RootCAs: trusted, ServerName: hostName})
	return func(ctx context.Context) (net.Conn, error) {
		below, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(below, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = below.Close() // nobody has used it
			return nil, err
		}
		return conn, nil
	}, nil
}

// tlsConfig adds what muster's devices and hub use: X25519 without the hybrid
// that Go prefers, which takes twice as long.
func tlsConfig(c *tls.Config) *tls.Config {
	c.MinVersion = tls.VersionTLS12
	c.CurvePreferences = []tls.CurveID{tls.X25519}
	return c
}

// newCertificate makes a certificate of the kind that the embedded hub shows,
// and signs it with itself.
func newCertificate() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hostName}, DNSNames: []string{hostName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
