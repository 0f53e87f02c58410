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

// wait waits until it is a request's turn. The hub has not heard of it yet, so
// that this is no part of the time that it has for an answer.
func (p pacer) wait(r *http.Request) error {
	m, n := p.meter(r)
	return m.Wait(r.Context(), n)
}

// meter returns what a request is metered by, and how much it takes.
func (p pacer) meter(r *http.Request) (*quota.Meter, int) {
	path := r.URL.Path
	switch {
	case strings.HasSuffix(path, "/devices/query"):
		return p.queries, 1
	case strings.Contains(path, "/jobs/v2"):
		return p.jobs, 1
	case strings.HasSuffix(path, "/methods"):
		return p.methods, quota.MethodBlocks(int(r.ContentLength)) // a little more than its payload
	case strings.Contains(path, "/twins/") && r.Method == http.MethodGet:
		return p.reads, 1
	case strings.Contains(path, "/twins/"):
		return p.updates, 1
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
