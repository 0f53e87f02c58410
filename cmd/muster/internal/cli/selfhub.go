package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"muster/harness"
	"muster/iothub"
)

// hubStartTimeout is ample: a hub on loopback is up in a few milliseconds.
const hubStartTimeout = 10 * time.Second

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
			_ = c.stop() // the error is why
			return nil, fmt.Errorf("start the hub: %w", err)
		}
		started := &harness.Hub{
			ConnectionString: cs,
			BaseURL:          "http://" + ready.HTTP,
			Done:             c.done,
			Ended:            func() error { return c.err },
			Stop:             c.stop,
		}
		if err := ready.connect(started); err != nil {
			_ = c.stop() // the error is why
			return nil, fmt.Errorf("start the hub: %w", err)
		}
		return started, nil
	}
}

// connect says where devices connect, over TLS if the hub serves that.
func (e endpoints) connect(h *harness.Hub) error {
	if e.MQTTS == "" {
		return h.ConnectTo(e.MQTT, nil)
	}
	authority, err := os.ReadFile(e.CAFile)
	if err != nil {
		return fmt.Errorf("read the hub's CA: %w", err)
	}
	return h.ConnectTo(e.MQTTS, authority)
}

func startChild(ctx context.Context, opts harness.HubOptions, stderr io.Writer, verbose bool) (*child, endpoints, error) {
	args := []string{
		"hub", "--json", "--until-eof", "--http", "127.0.0.1:0",
		"--job-rate", strconv.FormatFloat(opts.JobRate, 'g', -1, 64), fmt.Sprintf("--verbose=%v", verbose),
	}
	if opts.TLS {
		args = append(args, "--mqtt", "", "--mqtts", "127.0.0.1:0")
	} else {
		args = append(args, "--mqtt", "127.0.0.1:0")
	}
	if opts.Tier != "" {
		args = append(args, "--tier", string(opts.Tier), "--units", strconv.Itoa(opts.Units))
	}
	c, err := startProcess(args, stderr)
	if err != nil {
		return nil, endpoints{}, err
	}
	ready, err := awaitReady(ctx, c.stdout)
	if err != nil {
		_ = c.stop() // c.err says it too
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
