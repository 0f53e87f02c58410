package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"muster/fleet"
	"muster/harness"
	"muster/iothub"
)

const (
	hubStartTimeout = 10 * time.Second // a hub on loopback is up in a few milliseconds
	hubStopTimeout  = 5 * time.Second
)

// endpoints is what `muster hub --json` prints when it is ready.
type endpoints struct {
	MQTT             string `json:"mqtt,omitempty"`
	MQTTS            string `json:"mqtts,omitempty"`
	WS               string `json:"ws,omitempty"`
	HTTP             string `json:"http,omitempty"`
	HTTPS            string `json:"https,omitempty"`
	ConnectionString string `json:"connectionString"`
	CAFile           string `json:"caFile,omitempty"`
}

// child is the hub as a process of its own: own descriptors, own garbage
// collector, own account of CPU. It ends when its standard input does, so it
// outlives neither this process's interrupt, nor its crash, nor its kill.
// waiting has the one goroutine that waits for it; done is closed by it.
type child struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	waiting sync.WaitGroup
	done    chan struct{}
	err     error // how it ended; read after done
	once    sync.Once
}

// startSelf returns a function that starts this binary as `muster hub`.
// What the hub logs goes to stderr.
func startSelf(stderr io.Writer, verbose bool) harness.StartHub {
	return func(ctx context.Context, opts harness.HubOptions) (*harness.Hub, error) {
		c, ready, err := startChild(ctx, opts, stderr, verbose)
		if err != nil {
			return nil, fmt.Errorf("start the hub: %w", err)
		}
		cs, err := iothub.ParseConnectionString(ready.ConnectionString)
		if err != nil {
			c.stop()
			return nil, fmt.Errorf("start the hub: %w", err)
		}
		dial, err := ready.dial()
		if err != nil {
			c.stop()
			return nil, fmt.Errorf("start the hub: %w", err)
		}
		return &harness.Hub{
			ConnectionString: cs,
			BaseURL:          "http://" + ready.HTTP,
			Dial:             dial,
			Done:             c.done,
			Ended:            func() error { return c.err },
			Stop:             c.stop,
		}, nil
	}
}

// dial returns what opens devices' connections, over TLS if the hub serves that.
func (e endpoints) dial() (fleet.DialFunc, error) {
	if e.MQTTS == "" {
		return harness.DialTCP(e.MQTT), nil
	}
	authority, err := os.ReadFile(e.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read the hub's CA: %w", err)
	}
	return harness.DialTLS(e.MQTTS, authority)
}

func startChild(ctx context.Context, opts harness.HubOptions, stderr io.Writer, verbose bool) (*child, endpoints, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, endpoints{}, err
	}
	cmd := exec.Command(self, "hub", "--json", "--until-eof", "--http", "127.0.0.1:0",
		"--job-rate", strconv.FormatFloat(opts.JobRate, 'g', -1, 64), fmt.Sprintf("--verbose=%v", verbose))
	if opts.TLS {
		cmd.Args = append(cmd.Args, "--mqtt", "", "--mqtts", "127.0.0.1:0")
	} else {
		cmd.Args = append(cmd.Args, "--mqtt", "127.0.0.1:0")
	}
	if opts.Tier != "" {
		cmd.Args = append(cmd.Args, "--tier", string(opts.Tier), "--units", strconv.Itoa(opts.Units))
	}
	cmd.Env = withoutVariables(os.Environ(), "MUSTER_")
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the terminal's Ctrl-C is for the run, which then ends the hub
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, endpoints{}, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, endpoints{}, err
	}
	if err := cmd.Start(); err != nil {
		return nil, endpoints{}, err
	}
	c := &child{cmd: cmd, stdin: stdin, done: make(chan struct{})}
	ready, err := awaitReady(ctx, stdout)
	c.waiting.Go(func() { // after awaitReady: Wait closes stdout
		c.err = cmd.Wait()
		close(c.done)
	})
	if err != nil {
		c.stop()
		if c.err != nil {
			err = fmt.Errorf("%w (%w)", err, c.err)
		}
		return nil, endpoints{}, err
	}
	return c, ready, nil
}

// awaitReady reads the one line that the hub prints when it serves.
func awaitReady(ctx context.Context, stdout io.ReadCloser) (endpoints, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, hubStartTimeout, fmt.Errorf("it was not ready within %v", hubStartTimeout))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = stdout.Close() }) // ends the read below
	defer stop()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if ctx.Err() != nil {
		return endpoints{}, context.Cause(ctx)
	}
	if err != nil {
		return endpoints{}, fmt.Errorf("it ended before it was ready")
	}
	var ready endpoints
	if err := json.Unmarshal(line, &ready); err != nil {
		return endpoints{}, fmt.Errorf("it did not say where it serves: %w", err)
	}
	return ready, nil
}

// stop ends the child and waits for it: end of file first, then a kill.
func (c *child) stop() error {
	c.once.Do(func() { _ = c.stdin.Close() }) // fails only if the child is gone
	timer := time.NewTimer(hubStopTimeout)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		_ = c.cmd.Process.Kill() // fails only if the child is gone
	}
	c.waiting.Wait()
	return c.err
}

func withoutVariables(environ []string, prefix string) []string {
	var kept []string
	for _, v := range environ {
		if !strings.HasPrefix(v, prefix) {
			kept = append(kept, v)
		}
	}
	return kept
}
