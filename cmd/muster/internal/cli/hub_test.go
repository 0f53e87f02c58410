package cli_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"

	"muster/cmd/muster/internal/cli"
	"muster/iothub"
)

// TestHubTLS trusts the CA file alone and gets through every door with TLS.
func TestHubTLS(t *testing.T) {
	withoutVariables(t)
	in, input := io.Pipe()
	output, out := io.Pipe()
	var stderr bytes.Buffer
	var running sync.WaitGroup
	running.Go(func() {
		args := []string{
			"hub", "--json", "--until-eof", "--mqtt", "", "--http", "", "--hostname", "test.hub", "--data", t.TempDir(),
			"--mqtts", "127.0.0.1:0", "--ws", "127.0.0.1:0", "--https", "127.0.0.1:0",
		}
		if status := cli.Main(t.Context(), args, cli.Stdio{In: in, Out: out, Err: &stderr}); status != 0 || stderr.String() != "" {
			t.Errorf("exit status %d, on stderr %q; want 0 and nothing", status, stderr.String())
		}
		_ = out.Close() // never fails
	})
	defer running.Wait()
	defer output.Close()
	defer input.Close()

	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ready struct{ MQTTS, WS, HTTPS, ConnectionString, CAFile string }
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		t.Fatalf("muster hub --json printed %q: %v", line, err)
	}
	ca, err := os.ReadFile(ready.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ca)
	for name, addr := range map[string]string{"mqtts": ready.MQTTS, "ws": ready.WS, "https": ready.HTTPS} {
		for _, server := range []string{"localhost", "test.hub", "127.0.0.1"} {
			conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: trusted, ServerName: server})
			if err != nil {
				t.Errorf("%s as %s: %v", name, server, err)
				continue
			}
			_ = conn.Close()
		}
	}
	cs, err := iothub.ParseConnectionString(ready.ConnectionString)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	defer transport.CloseIdleConnections()
	client, err := iothub.NewClient(cs, &iothub.ClientOptions{BaseURL: "https://" + ready.HTTPS, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Device(t.Context(), "nobody"); !iothub.HasCode(err, iothub.CodeDeviceNotFound) {
		t.Errorf("the hub answers a look at a device that is not there with %v", err)
	}
}
