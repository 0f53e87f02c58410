//go:build linux

package socket_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/memnet"
	"muster/internal/socket"
)

// configs returns the configurations of both ends.
func configs(t testing.TB) (client, server *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"hub"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trusted.AddCert(parsed)
	client = &tls.Config{RootCAs: trusted, ServerName: "hub"}
	return client, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// secure returns both ends of a TLS connection whose handshake is done.
func secure(t testing.TB, below, peer net.Conn, version uint16) (client, server socket.Secure) {
	t.Helper()
	of, by := configs(t)
	of.MaxVersion = version
	client, server = socket.Client(below, of), socket.Server(peer, by)
	var shaking sync.WaitGroup
	shaking.Go(func() {
		if err := server.Handshake(); err != nil {
			t.Errorf("Handshake of the server: %v", err)
		}
	})
	if err := client.Handshake(); err != nil {
		t.Errorf("Handshake of the client: %v", err)
	}
	shaking.Wait()
	return client, server
}

// TestSecured has a client that is told read what comes in records of all sizes,
// which arrive in pieces, and the end.
func TestSecured(t *testing.T) {
	var n socket.Network
	check := func(name string, version uint16, below, peer net.Conn) {
		t.Helper()
		slow := &dribbler{Conn: peer}
		c, server := secure(t, below, slow, version)
		client, ok := c.(*socket.TLS)
		if !ok {
			t.Fatalf("%s: Client gives a %T", name, c)
		}
		var sent []byte
		var sending sync.WaitGroup
		for i, size := range []int{1, 100, 5000, 16 << 10, 40_000, 3} {
			sent = append(sent, bytes.Repeat([]byte{byte(i)}, size)...)
		}
		news := make(chan struct{}, 1) // says that something came since the last look
		client.TellRead(func() {
			select {
			case news <- struct{}{}:
			default:
			}
		})
		sending.Go(func() {
			slow.slow = true
			for _, part := range [][]byte{sent[:1], sent[1:101], sent[101:]} {
				if _, err := server.Write(part); err != nil {
					t.Errorf("%s: Write: %v", name, err)
				}
			}
			server.Close()
		})
		var got []byte
		for buf := make([]byte, 3000); ; {
			n, err := client.TryRead(buf)
			got = append(got, buf[:n]...)
			if err == syscall.EAGAIN {
				<-news // or the test is stuck
			} else if err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: TryRead: %v", name, err)
			}
		}
		sending.Wait()
		if !bytes.Equal(got, sent) {
			t.Errorf("%s: read %d bytes, other than the %d that were sent", name, len(got), len(sent))
		}
		client.Close()
		if _, err := client.TryRead(make([]byte, 1)); !errors.Is(err, net.ErrClosed) && err != io.EOF {
			t.Errorf("%s: TryRead after Close: %v", name, err)
		}
	}
	a, b := pair(t, &n)
	check("TLS 1.3 on sockets", tls.VersionTLS13, a, b)
	a, b = pair(t, &n)
	check("TLS 1.2 on sockets", tls.VersionTLS12, a, b)
	x, y := memnet.Pipe()
	check("in memory", tls.VersionTLS13, x, y)
}

// dribbler writes byte by byte where a record begins.
type dribbler struct {
	net.Conn
	slow bool
}

func (d *dribbler) Write(p []byte) (written int, err error) {
	for written < len(p) {
		next := len(p) - written
		if d.slow && written < 10 {
			next = 1
		}
		n, err := d.Conn.Write(p[written : written+next])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func TestSecureOfOneThatDoesNotTell(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	client, _ := secure(t, a, b, tls.VersionTLS13)
	if _, tells := client.(socket.Telling); tells {
		t.Errorf("Client of a %T gives a %T, which tells", a, client)
	}
}

func TestAdopt(t *testing.T) {
	var n socket.Network
	l, addr := listen(t, &n)
	defer l.Close()
	dialed, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	want := dialed.LocalAddr().String()
	c, err := n.Adopt(dialed)
	if err != nil {
		t.Fatalf("Adopt: %v", err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if got := c.LocalAddr().String(); got != want {
		t.Errorf("the local address of what was adopted is %s, want %s", got, want)
	}
	if _, err := dialed.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write on what was given: %v, want %v", err, net.ErrClosed)
	}
	told := tellerOf(c.(*socket.Conn))
	if _, err := accepted.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	told.await(0)
	if n, err := c.Read(make([]byte, 10)); n != 3 || err != nil {
		t.Errorf("Read = %d, %v; want 3, nil", n, err)
	}
}

// TestReadWaitsForNoWriter has a peer that reads nothing send a record that is
// none. Package tls answers such a one from within the read.
func TestReadWaitsForNoWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below, peer := memnet.Pipe()
		_, s := secure(t, below, peer, tls.VersionTLS13)
		server := s.(*socket.TLS)
		server.TellRead(func() {})
		var writing sync.WaitGroup
		writing.Go(func() {
			if n, err := server.Write(make([]byte, 1<<20)); n == 1<<20 || err == nil {
				t.Errorf("Write to a peer that does not read = %d, %v; want less, and an error", n, err)
			}
		})
		synctest.Wait() // the writer waits
		if _, err := below.Write([]byte("\x17\x03\x03\x00\x14garbage of 20 bytes.")); err != nil {
			t.Fatal(err)
		}
		for range 3 { // what the peer asked for before, and its garbage
			if _, err := server.TryRead(make([]byte, 10)); err != nil && err != syscall.EAGAIN {
				break
			}
		}
		if _, err := server.TryRead(make([]byte, 10)); err == nil || err == syscall.EAGAIN {
			t.Errorf("TryRead of garbage: %v, want an error", err)
		}
		server.NetConn().Close()
		writing.Wait()
		below.Close()
	})
}
