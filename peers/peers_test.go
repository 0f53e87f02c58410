package peers_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	_ "muster/hub" // runs in a process of its own: when it changes, what go test remembers of this test is void
)

// need ends the test if something that it needs is missing: in CI by failing.
func need(t *testing.T, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("CI") == "true":
		t.Fatal(what)
	default:
		t.Skip(what)
	}
}

// TestNodeSDK runs the SDKs' tests in Node against the program. The SDKs speak HTTPS and WebSocket on port 443 alone, so
// the hub gets the service's ports, on a loopback address that no other test uses.
func TestNodeSDK(t *testing.T) {
	node, err := exec.LookPath("node")
	need(t, err == nil, "node is not installed")
	for _, input := range []string{"node_modules", "package-lock.json", "sdk.test.js"} { // void as well when these change
		_, err = os.Stat(input)
		need(t, err == nil, "the Node SDKs are not installed: run make peers")
	}
	host := "127.0.0.1"
	if runtime.GOOS == "linux" { // which has all of 127.0.0.0/8
		host = net.IPv4(127, byte(1+mathrand.IntN(250)), byte(mathrand.IntN(250)), byte(2+mathrand.IntN(250))).String()
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "443"))
	need(t, err == nil, "port 443 cannot be served: on Linux, sysctl net.ipv4.ip_unprivileged_port_start=443")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	thumbprint := deviceCertificates(t, dir)
	ready := startHub(t, "--hostname", host, "--mqtt", "", "--http", "", "--mqtts", host+":8883", "--https", host+":443",
		"--data", filepath.Join(dir, "data"), "--device-ca", filepath.Join(dir, "vouchers.pem"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// Forced: a device that the SDK has open would keep Node from ending, and a test that failed from being told.
	cmd := exec.CommandContext(ctx, node, "--test", "--test-force-exit", "--test-reporter=spec", "sdk.test.js")
	cmd.WaitDelay = time.Second // for a grandchild that holds the output
	cmd.Env = append(os.Environ(), "HUB="+ready.ConnectionString, "NODE_EXTRA_CA_CERTS="+ready.CAFile,
		"CERTIFICATES="+dir, "THUMBPRINT="+thumbprint)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("node: %v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
}

// endpoints is what the hub prints.
type endpoints struct{ ConnectionString, CAFile string }

// startHub builds and starts the program's hub. It ends with the test.
func startHub(t *testing.T, args ...string) endpoints {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "muster")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../cmd/muster").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(bin, append([]string{"hub", "--json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait()); err != nil {
			t.Errorf("muster hub: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("muster hub was not ready: %v", err)
	}
	var ready endpoints
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatal(err)
	}
	return ready
}

// deviceCertificates writes a certificate that signs itself (thumb.pem), one of a CA (vouched.pem) and that CA
// (vouchers.pem), and returns the thumbprint of the first.
func deviceCertificates(t *testing.T, dir string) string {
	t.Helper()
	thumb, _ := certify(t, dir, "thumb", nil, nil)
	ca, key := certify(t, dir, "vouchers", nil, nil)
	certify(t, dir, "vouched", ca, key)
	sum := sha1.Sum(thumb.Raw)
	return hex.EncodeToString(sum[:])
}

func certify(t *testing.T, dir, name string, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, IsCA: parent == nil,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if parent == nil {
		parent, by = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem":     {Type: "CERTIFICATE", Bytes: raw},
		name + "-key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}
