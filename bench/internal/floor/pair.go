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

// Case is a pair and what it is to do.
type Case struct {
	Devices    int
	Broadcasts int
	TLS        bool
	Memory     bool // one process
}

// Costs are what a pair took. Those of a pair in one process are all the
// client's.
type Costs struct {
	RoundTrips   float64 // a second, of the median broadcast
	ClientMicros float64 // processor time a round trip
	ServerMicros float64
	ClientKB     float64 // resident when all were connected, a device
	ServerKB     float64
	Connects     float64 // a second
}

// Run measures a case. The two processes are of the binary, which plays a part
// as Args says.
func Run(ctx context.Context, binary string, c Case) (costs Costs, err error) {
	server := Part{Role: Hub, Devices: c.Devices, TLS: c.TLS}
	if c.Memory {
		server.Role = Both
	}
	hub, hello, err := start(ctx, binary, server)
	if err != nil {
		return Costs{}, err
	}
	defer func() { err = errors.Join(err, hub.stop()) }()
	devices := hub
	if !c.Memory {
		var online Hello
		devices, online, err = start(ctx, binary, Part{Role: Devices, Devices: c.Devices, Addr: hello.Addr, CA: hello.CA})
		if err != nil {
			return Costs{}, err
		}
		defer func() { err = errors.Join(err, devices.stop()) }()
		hello.Connecting = online.Connecting
	}
	costs, err = c.measure(devices, hub)
	costs.Connects = float64(c.Devices) / hello.Connecting.Seconds()
	return costs, err
}

func (c Case) measure(devices, hub *process) (Costs, error) {
	var costs Costs
	client, server, err := accounts(devices, hub)
	if err != nil {
		return costs, err
	}
	rates := make([]float64, c.Broadcasts)
	for i := range rates {
		var took time.Duration
		if err := hub.ask(askBroadcast, &took); err != nil {
			return costs, err
		}
		rates[i] = float64(c.Devices) / took.Seconds()
	}
	slices.Sort(rates)
	clientAfter, serverAfter, err := accounts(devices, hub)
	trips := float64(c.Devices * c.Broadcasts)
	costs.RoundTrips = rates[len(rates)/2]
	costs.ClientMicros = micros(clientAfter.CPU-client.CPU) / trips
	costs.ClientKB = float64(client.RSS) / 1024 / float64(c.Devices)
	if hub != devices {
		costs.ServerMicros = micros(serverAfter.CPU-server.CPU) / trips
		costs.ServerKB = float64(server.RSS) / 1024 / float64(c.Devices)
	}
	return costs, err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func accounts(devices, hub *process) (client, server Account, err error) {
	if err := devices.ask(askAccount, &client); err != nil {
		return client, server, err
	}
	return client, server, hub.ask(askAccount, &server)
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
