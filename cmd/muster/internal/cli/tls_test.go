package cli_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/cmd/muster/internal/cli"
	"muster/hub"
	"muster/internal/mqtt"
	"muster/iothub"
)

// authority is a certificate that signs itself, for 127.0.0.1 and as its own
// authority, with its two PEM files.
type authority struct {
	pair      tls.Certificate
	cert, key string
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{cert: filepath.Join(t.TempDir(), "cert.pem"), key: filepath.Join(t.TempDir(), "key.pem")}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	if err := os.WriteFile(a.cert, certPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.key, keyPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	if a.pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return a
}

// listenTLS listens on loopback with the authority's certificate, and asks
// clients for theirs.
func (a authority) listenTLS(t *testing.T) net.Listener {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.pair}, ClientAuth: tls.RequestClientCert})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestAppsOverTLS runs both apps against a hub whose certificate is trusted by
// --ca alone.
func TestAppsOverTLS(t *testing.T) {
	trusted, other := newAuthority(t, "hub"), newAuthority(t, "other")
	h := hub.New(nil)
	devices, services := trusted.listenTLS(t), trusted.listenTLS(t)
	var serving sync.WaitGroup
	serving.Go(func() { _ = h.ServeMQTT(devices) }) // nil, once the hub is closed
	serving.Go(func() { _ = h.ServeREST(services) })
	defer serving.Wait()
	defer h.Close()

	t.Setenv("IOTHUB_CONNECTION_STRING", h.ConnectionString().Reveal())
	rest := []string{"--url", "https://" + services.Addr().String(), "--ca", trusted.cert}
	created := muster(t, append([]string{"device", "create", "door"}, rest...)...)
	if created.status != 0 {
		t.Fatalf("muster device create: exit status %d: %s", created.status, created.stderr)
	}
	t.Setenv("IOTHUB_DEVICE_CONNECTION_STRING", strings.TrimSpace(created.stdout))
	muster(t, "device", "--mqtt", devices.Addr().String(), "--ca", other.cert).ends(t, 1, "", "certificate signed by unknown authority")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	online := make(chan struct{})
	stderr := &trigger{text: "online", do: sync.OnceFunc(func() { close(online) })}
	var stdout bytes.Buffer
	status := make(chan int, 1) // its one value is the exit status
	var running sync.WaitGroup
	running.Go(func() {
		args := []string{"device", "--mqtt", devices.Addr().String(), "--ca", trusted.cert}
		status <- cli.Main(ctx, args, cli.Stdio{In: strings.NewReader(""), Out: &stdout, Err: stderr})
	})
	defer running.Wait()
	select {
	case <-online:
		muster(t, append([]string{"job", "method", "lockDoor", "--device", "door"}, rest...)...).
			ends(t, 0, "lockDoor called successfully", "1 of 1 devices done")
		cancel()
		if got := <-status; got != 0 || !strings.Contains(stdout.String(), "Locking Door!") {
			t.Errorf("muster device: exit status %d, on stdout %q", got, stdout.String())
		}
	case got := <-status:
		t.Errorf("muster device: exit status %d: %s", got, stderr.seen.String())
	}
}

// TestDeviceWithACertificate connects to a server that looks at what the device
// shows and refuses it.
func TestDeviceWithACertificate(t *testing.T) {
	server, door := newAuthority(t, "hub"), newAuthority(t, "door")
	l := server.listenTLS(t)
	var seen mqtt.Connect
	var shown string
	var serving sync.WaitGroup
	serving.Go(func() {
		nc, err := l.Accept()
		if err != nil {
			return // the assertions below fail
		}
		defer nc.Close()
		_, body, err := mqtt.NewReader(nc, 4096).Next()
		if err == nil {
			seen, err = mqtt.ParseConnect(body)
		}
		if certs := nc.(*tls.Conn).ConnectionState().PeerCertificates; err == nil && len(certs) > 0 {
			shown = certs[0].Subject.CommonName
		}
		_, _ = nc.Write(mqtt.AppendConnack(nil, false, 5)) // the device reports it
	})
	got := muster(t, "device", "--connection-string", "HostName=hub.test;DeviceId=door;x509=true",
		"--mqtt", l.Addr().String(), "--ca", server.cert, "--cert", door.cert, "--key", door.key)
	_ = l.Close()
	serving.Wait()
	got.ends(t, 1, "", "connect door: refused: not authorized")
	if shown != "door" || seen.HasPassword || string(seen.ClientID) != "door" || string(seen.Username) != iothub.Username("hub.test", "door") {
		t.Errorf("the device showed certificate %q, client id %q, user name %q, password %v", shown, seen.ClientID, seen.Username, seen.HasPassword)
	}
}
