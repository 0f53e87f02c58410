package floor

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"
)

// Pair is which two programs, or one, exchange.
type Pair string

// The pairs.
const (
	TCP        Pair = "tcp"         // Client and Server
	TLS        Pair = "tls"         // the same over TLS
	Memory     Pair = "memory"      // the same in one process
	Paho       Pair = "paho"        // PahoClient and Server
	PahoTLS    Pair = "paho-tls"    // the same over TLS
	PahoMemory Pair = "paho-memory" // the same in one process
	HTTP       Pair = "http"        // Caller and Web: no devices, the caller makes the calls
	HTTPMemory Pair = "http-memory" // the same in one process
)

// Pairs returns all pairs.
func Pairs() []Pair { return []Pair{TCP, TLS, Memory, Paho, PahoTLS, PahoMemory, HTTP, HTTPMemory} }

// Case is a pair and what it is to do.
type Case struct {
	Pair       Pair
	Devices    int
	Broadcasts int
}

// Costs are what a pair took. Those of a pair in one process are all the
// client's, which is otherwise the half in the generator's place.
type Costs struct {
	RoundTrips    float64 // a second, of the median broadcast
	ClientMicros  float64 // processor time a round trip
	ServerMicros  float64
	ClientKB      float64 // resident when all were connected, a device
	ClientAfterKB float64 // the same after the last broadcast
	ServerKB      float64
	Connects      float64 // a second; 0 of callers
}

// Run measures a case. Its processes are of the binary, which plays a part as
// Args says.
func Run(ctx context.Context, binary string, c Case) (costs Costs, err error) {
	first, second := c.roles()
	server, hello, err := start(ctx, binary, Part{Role: first, Devices: c.Devices, TLS: c.Pair == TLS || c.Pair == PahoTLS})
	if err != nil {
		return Costs{}, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	if second == "" {
		return c.measure(server, server, server, hello.Connecting)
	}
	client, online, err := start(ctx, binary, Part{Role: second, Devices: c.Devices, Addr: hello.Addr, CA: hello.CA})
	if err != nil {
		return Costs{}, err
	}
	defer func() { err = errors.Join(err, client.stop()) }()
	if second == Callers {
		return c.measure(client, server, client, 0)
	}
	return c.measure(client, server, server, online.Connecting)
}

// roles returns who serves and who connects to it; "" if that is the same one.
func (c Case) roles() (server, client Role) {
	switch c.Pair {
	case Memory:
		return Both, ""
	case PahoMemory:
		return BothPaho, ""
	case HTTPMemory:
		return BothWeb, ""
	case Paho, PahoTLS:
		return Hub, PahoDevices
	case HTTP:
		return WebServer, Callers
	}
	return Hub, Devices
}

// measure has the one who begins broadcast, and reads the accounts around
// that.
func (c Case) measure(client, server, begins *process, connecting time.Duration) (Costs, error) {
	var costs Costs
	clientBefore, serverBefore, err := accounts(client, server)
	if err != nil {
		return costs, err
	}
	rates := make([]float64, c.Broadcasts)
	for i := range rates {
		var took time.Duration
		if err := begins.ask(askBroadcast, &took); err != nil {
			return costs, err
		}
		rates[i] = float64(c.Devices) / took.Seconds()
	}
	slices.Sort(rates)
	clientAfter, serverAfter, err := accounts(client, server)
	trips := float64(c.Devices * c.Broadcasts)
	costs.RoundTrips = rates[len(rates)/2]
	costs.ClientMicros = micros(clientAfter.CPU-clientBefore.CPU) / trips
	costs.ClientKB, costs.ClientAfterKB = clientBefore.kb(c.Devices), clientAfter.kb(c.Devices)
	if client != server {
		costs.ServerMicros = micros(serverAfter.CPU-serverBefore.CPU) / trips
		costs.ServerKB = serverBefore.kb(c.Devices)
	}
	if connecting > 0 { // callers have no devices
		costs.Connects = float64(c.Devices) / connecting.Seconds()
	}
	return costs, err
}

func (a Account) kb(devices int) float64 { return float64(a.RSS) / 1024 / float64(devices) }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func accounts(client, server *process) (ofClient, ofServer Account, err error) {
	if err := client.ask(askAccount, &ofClient); err != nil {
		return ofClient, ofServer, err
	}
	return ofClient, ofServer, server.ask(askAccount, &ofServer)
}

// process is a part that plays in a process of its own. It ends at the end of
// its questions, so it outlives neither stop nor this process.
type process struct {
	role    Role
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *bufio.Reader
}

func start(ctx context.Context, binary string, p Part) (*process, Hello, error) {
	var hello Hello
	run := &process{role: p.Role, cmd: exec.CommandContext(ctx, binary, p.Args()...)}
	run.cmd.Stderr = os.Stderr
	var err error
	if run.stdin, err = run.cmd.StdinPipe(); err != nil {
		return nil, hello, err
	}
	stdout, err := run.cmd.StdoutPipe()
	if err != nil {
		return nil, hello, err
	}
	run.answers = bufio.NewReader(stdout)
	if err := run.cmd.Start(); err != nil {
		return nil, hello, fmt.Errorf("start %s: %w", p.Role, err)
	}
	if err := run.read(&hello); err != nil {
		return nil, hello, errors.Join(err, run.stop())
	}
	return run, hello, nil
}

// Args are the arguments with which a process plays the part.
func (p Part) Args() []string {
	return []string{
		string(p.Role), "-devices", strconv.Itoa(p.Devices), "-tls=" + strconv.FormatBool(p.TLS),
		"-addr", p.Addr, "-ca", hex.EncodeToString(p.CA),
	}
}

func (p *process) ask(question string, answer any) error {
	if _, err := io.WriteString(p.stdin, question+"\n"); err != nil {
		return fmt.Errorf("ask %s for its %s: %w", p.role, question, err)
	}
	return p.read(answer)
}

func (p *process) read(answer any) error {
	line, err := p.answers.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the floor's %s ended: %w", p.role, err)
	}
	if err := json.Unmarshal(line, answer); err != nil {
		return fmt.Errorf("read what the floor's %s says: %w", p.role, err)
	}
	return nil
}

func (p *process) stop() error {
	_ = p.stdin.Close() // it may have ended
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the floor's %s: %w", p.role, err)
	}
	return nil
}
