package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"muster/internal/mqtt"
	"muster/internal/quota"
	"muster/iothub"
)

// Tier is an edition of the service's hubs, which decides what a hub does at most. "" is none: nothing is limited.
type Tier = quota.Tier

// The tiers.
const (
	F1 = quota.F1
	S1 = quota.S1
	S2 = quota.S2
	S3 = quota.S3
)

// throttle is what a hub with a tier meters; a hub without one has none (nil), and asks nothing more than that.
type throttle struct {
	registry, queries, methods, reads, updates, jobs *quota.Meter
	connects                                         *quota.Meter // CONNECTs of devices that proved to be who they are
	jobDevices                                       *quota.Meter // executions of all jobs together

	activeJobs int // jobs that have not ended
	devices    int // identities of devices and modules
}

// newThrottle returns the meters of a tier, nil for none.
func newThrottle(tier Tier, units int) *throttle {
	if tier == "" {
		return nil
	}
	l, err := quota.For(tier, units)
	if err != nil {
		panic("hub: " + err.Error())
	}
	shaped := func(l quota.Limit) *quota.Meter { return quota.NewMeter(l, quota.Shaped(l)) }
	return &throttle{
		registry: shaped(l.Registry), queries: shaped(l.Queries), methods: shaped(l.Methods),
		reads: shaped(l.TwinReads), updates: shaped(l.TwinUpdates), jobs: shaped(l.Jobs), connects: shaped(l.Connects),
		jobDevices: quota.NewMeter(l.JobDevices, quota.Steady()),
		activeJobs: l.ActiveJobs, devices: l.Devices,
	}
}

// ProvisioningHeader, with any value, takes a bulk request out of the meter of identities: for seeding an embedded hub with a
// fleet that a real one would have had for long. It is muster's own.
const ProvisioningHeader = "Muster-Provisioning"

// shape lets a REST request wait for its turn, or refuses it.
func (h *Hub) shape(r *http.Request, body []byte) *iothub.Error {
	if h.throttle == nil {
		return nil
	}
	meter, n := h.throttle.cost(r, body)
	if meter == nil {
		return nil
	}
	wait, err := h.take(meter, n)
	if err != nil {
		return err
	}
	if wait == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	if sleep(ctx, wait) != nil {
		return errClosed()
	}
	return nil
}

// take takes from a meter, and counts what had to wait or was refused.
func (h *Hub) take(m *quota.Meter, n int) (time.Duration, *iothub.Error) {
	wait, err := m.Take(time.Now(), n)
	switch {
	case err != nil:
		h.counters.throttled.Add(1)
		return 0, errThrottled(err)
	case wait > 0:
		h.counters.delayed.Add(1)
	}
	return wait, nil
}

// cost returns what a request is metered by, and how much it takes; nil is nothing.
func (t *throttle) cost(r *http.Request, body []byte) (*quota.Meter, int) {
	_, path, _ := strings.Cut(r.Pattern, " ")
	switch {
	case path == "/devices/query":
		return t.queries, 1
	case strings.HasPrefix(path, "/jobs/v2"):
		return t.jobs, 1
	case strings.HasPrefix(path, "/twins/") && strings.HasSuffix(path, "/methods"):
		return t.methods, payloadBlocks(body)
	case strings.HasPrefix(path, "/twins/") && r.Method == http.MethodGet:
		return t.reads, 1
	case strings.HasPrefix(path, "/twins/"):
		return t.updates, 1
	case strings.HasPrefix(path, "/devices") && r.Method == http.MethodPost:
		if r.Header.Get(ProvisioningHeader) != "" {
			return nil, 0
		}
		return t.registry, entryCount(body)
	case strings.HasPrefix(path, "/devices") && path != "/devices/{id}/commands":
		return t.registry, 1
	}
	return nil, 0
}

// payloadBlocks returns how many blocks a method's payload counts; a request that will be refused counts one.
func payloadBlocks(body []byte) int {
	var m struct {
		Payload json.RawMessage `json:"payload"`
	}
	_ = json.Unmarshal(body, &m)
	return min(quota.MethodBlocks(len(m.Payload)), quota.MethodBlocks(iothub.MaxMethodPayload))
}

// entryCount returns how many identities a bulk request has; one that will be refused counts one.
func entryCount(body []byte) int {
	var entries []json.RawMessage
	if json.Unmarshal(body, &entries) != nil || len(entries) > iothub.MaxBulk {
		return 1
	}
	return max(1, len(entries))
}

// awaitConnect lets a CONNECT wait for its turn, or refuses it. The reader waits: nothing else may come before the answer.
func (c *conn) awaitConnect() error {
	t := c.hub.throttle
	if t == nil {
		return nil
	}
	wait, refusal := c.hub.take(t.connects, 1)
	switch {
	case refusal != nil:
		return c.refuse(mqtt.RefusedUnavailable, refusal.Message)
	case wait == 0:
		return nil
	}
	var err error
	c.aside(func() { err = sleep(c.hub.ctx, wait) })
	if err != nil {
		return &endError{endClosed, "the hub closes"}
	}
	c.heard = time.Now() // its keep-alive counts from the answer
	return nil
}

// awaitExecution lets a job's next execution wait for its turn, which it returns; it returns an error if the context ends.
// last is the turn of the job's last execution, or when it began: what was late is made up for.
func (t *throttle) awaitExecution(ctx context.Context, last time.Time) (time.Time, error) {
	if t == nil {
		return last, nil
	}
	wait, _ := t.jobDevices.Take(last, 1) // refuses nothing
	turn := last.Add(wait)
	if wait = time.Until(turn); wait <= 0 {
		return turn, nil
	}
	return turn, sleep(ctx, wait)
}

// maxActiveJobs returns how many jobs may be active at a time; 0 is any number.
func (t *throttle) maxActiveJobs() int {
	if t == nil {
		return 0
	}
	return t.activeJobs
}

// maxDevices returns how many identities there may be; 0 is any number.
func (t *throttle) maxDevices() int {
	if t == nil {
		return 0
	}
	return t.devices
}

// errThrottled says why a meter refused.
func errThrottled(why error) *iothub.Error {
	code := iothub.CodeThrottlingException
	switch {
	case errors.Is(why, quota.ErrBacklogFull):
		code = iothub.CodeThrottleBacklogLimitExceeded
	case errors.Is(why, quota.ErrBacklogTimeout):
		code = iothub.CodeThrottlingBacklogTimeout
	}
	return fault(code, "Throttled: "+why.Error()+".")
}

func errTooManyJobs(limit int) *iothub.Error {
	return fault(iothub.CodeThrottlingMaxActiveJobCountExceeded,
		fmt.Sprintf("Error: 429 The tier's limit of active jobs is %d.", limit))
}

func errHubFull(limit int) *iothub.Error {
	return fault(iothub.CodeIotHubQuotaExceeded, fmt.Sprintf("The tier's limit of devices and modules is %d.", limit))
}
