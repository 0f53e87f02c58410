package harness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"muster/internal/quota"
	"muster/iothub"
	"muster/scheduler"
)

// A hub that is not ours shapes what comes too fast, and refuses it in the end.
// With its tier known, muster keeps to that by itself: what it measures then
// is the hub's work, not its queue.

// pacer has a meter for each kind of operation; nil meters wait for nothing.
type pacer struct{ connects, queries, jobs, methods, reads, updates *quota.Meter }

func newPacer(l *quota.Limits) pacer {
	if l == nil {
		return pacer{}
	}
	return pacer{
		connects: quota.Paced(l.Connects), queries: quota.Paced(l.Queries), jobs: quota.Paced(l.Jobs),
		methods: quota.Paced(l.Methods), reads: quota.Paced(l.TwinReads), updates: quota.Paced(l.TwinUpdates),
	}
}

// paced sends requests when it is their turn.
type paced struct {
	below http.RoundTripper
	pace  pacer
}

func newPaced(below http.RoundTripper, l *quota.Limits) paced { return paced{below, newPacer(l)} }

func (p paced) RoundTrip(r *http.Request) (*http.Response, error) {
	m, n := p.meter(r)
	if err := m.Wait(r.Context(), n); err != nil {
		return nil, err
	}
	return p.below.RoundTrip(r)
}

// meter returns what a request is metered by, and how much it takes.
func (p paced) meter(r *http.Request) (*quota.Meter, int) {
	path := r.URL.Path
	switch {
	case strings.HasSuffix(path, "/devices/query"):
		return p.pace.queries, 1
	case strings.Contains(path, "/jobs/v2"):
		return p.pace.jobs, 1
	case strings.HasSuffix(path, "/methods"):
		return p.pace.methods, quota.MethodBlocks(int(r.ContentLength)) // a little more than its payload
	case strings.Contains(path, "/twins/") && r.Method == http.MethodGet:
		return p.pace.reads, 1
	case strings.Contains(path, "/twins/"):
		return p.pace.updates, 1
	}
	return nil, 0
}

// hold holds direct jobs to what the tier takes, so that a call is due when
// the hub would take it, and returns which ones.
func hold(jobs []scheduler.Job, l *quota.Limits, echo bool) (held []string) {
	if l == nil {
		return nil
	}
	for i := range jobs {
		j := &jobs[i]
		if j.Via != scheduler.Direct || j.Device != "" {
			continue
		}
		most := l.TwinUpdates.Count
		switch {
		case j.Kind == scheduler.Method:
			most = l.Methods.Count / float64(quota.MethodBlocks(len(j.Payload)))
		case j.Kind == scheduler.Desired && echo:
			most /= 2 // the devices' own updates count too
		}
		if j.Rate == 0 || j.Rate > most {
			j.Rate = most
			held = append(held, fmt.Sprintf("job %s: its calls are held to %.4g/s, which is what the hub's tier takes", j.Name, most))
		}
	}
	return held
}

// capped is hubJobs on a hub where others may have jobs too.
type capped struct{ hubJobs }

// CreateJob waits as long as it may for a place among the hub's active jobs.
// The client does: it asks again after a 429.
func (c capped) CreateJob(ctx context.Context, r scheduler.JobRequest) error {
	err := c.hubJobs.CreateJob(ctx, r)
	var refused *iothub.Error
	if errors.As(err, &refused) && refused.Code == iothub.CodeThrottlingMaxActiveJobCountExceeded {
		return fmt.Errorf("the hub had no place for another active job for %v, whoever has them; "+
			"begin the job when the others have ended: %w", remotePatience, err)
	}
	return err
}
