package harness

import (
	"context"
	"io"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/fleet"
	"muster/hub"
	"muster/internal/sample"
	"muster/report"
)

// StartInside returns what starts the hub in this process and shows it.
func StartInside(show func(*hub.Hub, *Hub)) StartHub { return startHub(show, false) }

// StartInMemory is StartInside in memory, whatever the scenario says.
func StartInMemory(show func(*hub.Hub, *Hub)) StartHub { return startHub(show, true) }

func startHub(show func(*hub.Hub, *Hub), memory bool) StartHub {
	return func(_ context.Context, opts HubOptions) (*Hub, error) {
		h := hub.New(&hub.Options{JobRate: opts.JobRate, Logger: opts.Logger})
		opts.Memory = opts.Memory || memory
		running, err := serveInside(h, opts)
		if err == nil {
			show(h, running)
		}
		return running, err
	}
}

// FewFiles lets a generator believe that its process may open so few files.
func FewFiles(n int) *GeneratorOptions { return &GeneratorOptions{limits: &Limits{Descriptors: n}} }

// GeneratorsInside returns what starts generators in this process, on a fake
// clock if there is one, whose devices connect by dial.
func GeneratorsInside(dial fleet.DialFunc, wakes func(context.Context, *sample.Clock, func(sample.Wake)) error) StartGenerator {
	return func(ctx context.Context) (*Generator, error) {
		in, toIn := io.Pipe()
		fromOut, out := io.Pipe()
		var running errgroup.Group // one goroutine, which Stop ends and joins
		running.Go(func() error {
			defer out.Close()
			defer in.Close()
			return Generate(context.WithoutCancel(ctx), in, out, &GeneratorOptions{dial: dial, wakes: wakes, clock: func(e sample.Epoch) (*sample.Clock, error) {
				now := time.Now()
				return sample.ClockSince(now.Add(time.Unix(0, e.Wall).Sub(now))), nil
			}})
		})
		return &Generator{In: toIn, Out: fromOut, Stop: func() error {
			_ = toIn.Close()
			_ = fromOut.Close() // it may be writing
			return running.Wait()
		}}, nil
	}
}

// WakeSource is a canary.
type WakeSource = wakeSource

// Canaries are the canaries that there are here, by name.
func Canaries() map[string]WakeSource {
	return map[string]WakeSource{"connection": loopbackWakes, "pipe": pipeWakes, "run": runWakes(false), "run in memory": runWakes(true)}
}

// SetWakes replaces the canary.
func SetWakes(o *Options, wakes func(context.Context, *sample.Clock, func(sample.Wake)) error) {
	o.wakes = wakes
}

// SetNetwork replaces TCP below the connections to a hub that is not ours.
func SetNetwork(o *Options, below func(ctx context.Context, network, addr string) (net.Conn, error)) {
	o.below = below
}

// SetFleetNetwork is SetNetwork for provisioning.
func SetFleetNetwork(o *FleetOptions, below func(ctx context.Context, network, addr string) (net.Conn, error)) {
	o.below = below
}

// ReadHost reads a host's files below another root.
func ReadHost(root string) report.Host { return readHost(root) }

// HostUse returns what the processors did between two states of /proc/stat;
// nil if one cannot be read.
func HostUse(before, after string) *report.HostUse {
	from, ok := parseUse(before)
	to, alsoOK := parseUse(after)
	if !ok || !alsoOK {
		return nil
	}
	return to.since(from)
}

// MemoryTransport reaches a REST side in memory.
var MemoryTransport = memoryTransport
