package peers_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "muster/device" // like hub, runs in a process of its own: when they change, what go test remembers is void
	_ "muster/hub"
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

// needProgram returns the path of a program that make peers installs.
func needProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	need(t, err == nil, name+" is not installed: run make peers")
	return path
}

// needModules says that files of this folder are there. Reading them voids what go test remembers when they change.
func needModules(t *testing.T, files ...string) {
	t.Helper()
	for _, file := range append(files, "node_modules", "package-lock.json") {
		_, err := os.Stat(file)
		need(t, err == nil, file+" is not there: run make peers")
	}
}

// needAddress returns a loopback address that no other test uses and on which the service's HTTPS port can be served:
// the SDKs know no other.
func needAddress(t *testing.T) string {
	t.Helper()
	host := "127.0.0.1"
	if runtime.GOOS == "linux" { // which has all of 127.0.0.0/8
		host = net.IPv4(127, byte(1+mathrand.IntN(250)), byte(mathrand.IntN(250)), byte(2+mathrand.IntN(250))).String()
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "443"))
	need(t, err == nil, "port 443 cannot be served: on Linux, sysctl net.ipv4.ip_unprivileged_port_start=443")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return host
}

// built says whether program was called.
var built atomic.Bool

// program builds muster once for all tests and returns its path.
var program = sync.OnceValues(func() (string, error) {
	built.Store(true)
	dir, err := os.MkdirTemp("", "muster-peers-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "muster")
	out, err := exec.Command("go", "build", "-o", bin, "../cmd/muster").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built.Load() {
		if bin, err := program(); err == nil {
			_ = os.RemoveAll(filepath.Dir(bin))
		}
	}
	os.Exit(code)
}

// theHub is a hub that runs for a test.
type theHub struct {
	host                     string // its name and address
	ConnectionString, CAFile string
}

// startHub starts the program's hub with TLS on the ports of the service. It ends with the test.
func startHub(t *testing.T, host string, args ...string) theHub {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatalf("go build: %v", err)
	}
	cmd := exec.Command(bin, append([]string{
		"hub", "--json", "--hostname", host, "--mqtt", "", "--http", "", "--mqtts", host + ":8883", "--https", host + ":443",
		"--data", filepath.Join(t.TempDir(), "data"),
	}, args...)...)
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
	ready := theHub{host: host}
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatal(err)
	}
	return ready
}

// environment is what clients of the hub find it by.
func (h *theHub) environment() []string {
	bin, _ := program()
	return append(os.Environ(),
		"HUB="+h.ConnectionString, "IOTHUB_CONNECTION_STRING="+h.ConnectionString, "NODE_EXTRA_CA_CERTS="+h.CAFile,
		"MUSTER_CA="+h.CAFile, "PATH="+filepath.Dir(bin)+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// command is a program that finds the hub. It is killed if the test takes longer than anybody would wait.
func (h *theHub) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	if name == "muster" {
		name, _ = program() // which started the hub
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = h.environment()
	cmd.WaitDelay = time.Second // for a grandchild that holds the output
	return cmd
}

// run runs a program to its end and returns what it printed on stdout.
func (h *theHub) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := h.command(t, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return string(out)
}

// service is a program that runs until the test is over.
type service struct {
	name  string
	cmd   *exec.Cmd
	lines chan string   // of stdout; closed at its end. Holds more than any program here prints
	ended chan struct{} // closed with lines
}

// start starts a program and interrupts it when the test is over.
func (h *theHub) start(t *testing.T, env []string, name string, args ...string) *service {
	t.Helper()
	s := &service{name: filepath.Base(name), cmd: h.command(t, name, args...), lines: make(chan string, 1000), ended: make(chan struct{})}
	s.cmd.Env = append(s.cmd.Env, env...)
	s.cmd.Stderr = os.Stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { s.read(stdout) })
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(os.Interrupt)
		reading.Wait()
		_ = s.cmd.Wait() // how it takes an interrupt is its own affair
	})
	return s
}

func (s *service) read(stdout io.Reader) {
	defer close(s.ended)
	defer close(s.lines)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		s.lines <- lines.Text()
	}
}

// await waits until stdout has had a line for each pattern, in any order.
func (s *service) await(t *testing.T, patterns ...string) {
	t.Helper()
	want := make(map[string]*regexp.Regexp)
	for _, p := range patterns {
		want[p] = regexp.MustCompile(p)
	}
	var seen []string
	for timeout := time.After(time.Minute); len(want) > 0; {
		select {
		case line, ok := <-s.lines:
			if !ok {
				t.Fatalf("%s ended without %q; it printed %q", s.name, slices.Collect(maps.Keys(want)), seen)
			}
			seen = append(seen, line)
			maps.DeleteFunc(want, func(_ string, p *regexp.Regexp) bool { return p.MatchString(line) })
		case <-timeout:
			t.Fatalf("%s did not print %q in a minute, but %q", s.name, slices.Collect(maps.Keys(want)), seen)
		}
	}
}
