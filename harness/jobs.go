package harness

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"time"

	"muster/fleet"
	"muster/internal/sample"
	"muster/iothub"
	"muster/scenarios"
	"muster/scheduler"
)

// hubJobs lets the scheduler run jobs on a hub: scheduler.Service and
// scheduler.Canceller over the hub's REST client.
type hubJobs struct{ client *iothub.Client }

func (h hubJobs) CreateJob(ctx context.Context, r scheduler.JobRequest) error {
	request := iothub.JobRequest{
		JobID: r.ID, QueryCondition: r.Condition, StartTime: iothub.Time{Time: r.Start},
		MaxExecutionTimeInSeconds: int(r.MaxExecution / time.Second),
	}
	if r.Kind == scheduler.Method {
		request.Type = iothub.JobMethod
		request.CloudToDeviceMethod = &iothub.Method{
			MethodName: r.MethodName, Payload: r.Payload,
			ResponseTimeoutInSeconds: wholeSeconds(r.ResponseTimeout), ConnectTimeoutInSeconds: wholeSeconds(r.ConnectTimeout),
		}
	} else {
		request.Type = iothub.JobTwin
		request.UpdateTwin = iothub.NewJobTwinUpdate(r.Tags, r.Desired)
	}
	_, err := h.client.CreateJob(ctx, request)
	return err
}

func (h hubJobs) JobStatus(ctx context.Context, id string) (scheduler.JobStatus, error) {
	job, err := h.client.Job(ctx, id)
	if err != nil {
		return scheduler.JobStatus{}, err
	}
	status := scheduler.JobStatus{Status: string(job.Status), Reason: job.FailureReason, Start: job.StartTime.Time}
	if s := job.DeviceJobStatistics; s != nil {
		status.Stats = &sample.Statistics{
			Devices: int64(s.DeviceCount), Failed: int64(s.FailedCount), Succeeded: int64(s.SucceededCount),
			Running: int64(s.RunningCount), Pending: int64(s.PendingCount),
		}
	}
	return status, nil
}

func (h hubJobs) Rows(ctx context.Context, id string, yield func(scheduler.Row) error) error {
	for row, err := range h.client.DeviceJobs(ctx, id) {
		if err != nil {
			return err
		}
		if err := yield(rowOf(row)); err != nil {
			return err
		}
	}
	return nil
}

func rowOf(d iothub.DeviceJob) scheduler.Row {
	row := scheduler.Row{Device: d.DeviceID, Status: string(d.Status), Start: d.StartTimeUTC.Time, End: d.EndTimeUTC.Time}
	if d.Error != nil {
		row.Code = d.Error.Code
	}
	if d.Outcome != nil && d.Outcome.DeviceMethodResponse != nil {
		row.MethodStatus = int32(d.Outcome.DeviceMethodResponse.Status)
	}
	return row
}

func (h hubJobs) CancelJob(ctx context.Context, id string) error {
	_, err := h.client.CancelJob(ctx, id)
	return err
}

// hubCalls lets the scheduler call devices one by one: scheduler.Caller and
// scheduler.Exister over the hub's REST client.
type hubCalls struct {
	client *iothub.Client
	clock  *sample.Clock
}

func (h hubCalls) Query(ctx context.Context, condition string) ([]string, error) {
	if condition == "*" {
		condition = ""
	}
	var ids []string
	for id, err := range h.client.DeviceIDs(ctx, condition, 0) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (h hubCalls) Exists(ctx context.Context, deviceID string) (bool, error) {
	_, err := h.client.Device(ctx, deviceID)
	if iothub.HasCode(err, iothub.CodeDeviceNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (h hubCalls) Invoke(ctx context.Context, deviceID string, call scheduler.Call) (scheduler.Reply, error) {
	timing := &callTiming{clock: h.clock}
	result, err := h.client.InvokeMethod(timing.watch(ctx), deviceID, iothub.Method{
		MethodName: call.Method, Payload: call.Payload,
		ResponseTimeoutInSeconds: wholeSeconds(call.ResponseTimeout), ConnectTimeoutInSeconds: wholeSeconds(call.ConnectTimeout),
	})
	return timing.reply(result.Status, err)
}

func (h hubCalls) Patch(ctx context.Context, deviceID string, tags, desired json.RawMessage) (scheduler.Reply, error) {
	timing := &callTiming{clock: h.clock}
	_, err := h.client.PatchTwin(timing.watch(ctx), deviceID, iothub.NewTwinPatch(tags, desired), "*")
	return timing.reply(0, err)
}

// callTiming takes the moment when a call's first request was written and
// counts its attempts. A call uses it from one goroutine at a time.
type callTiming struct {
	clock *sample.Clock
	wrote sample.Moment
	trace iothub.Trace
}

func (t *callTiming) watch(ctx context.Context) context.Context {
	t.trace.Wrote = func(int) {
		if !t.wrote.Seen() {
			t.wrote = t.clock.Now()
		}
	}
	return iothub.WithTrace(ctx, &t.trace)
}

func (t *callTiming) reply(status int, err error) (scheduler.Reply, error) {
	if err == nil {
		return scheduler.Reply{Wrote: t.wrote, Attempts: t.trace.Attempts, Status: status}, nil
	}
	failed := &scheduler.CallError{Outcome: sample.Failed, Wrote: t.wrote, Attempts: t.trace.Attempts, Err: err}
	var refused *iothub.Error
	switch {
	case errors.As(err, &refused):
		failed.Code = refused.Name
		failed.Outcome = outcomeOf(refused)
	case errors.Is(err, context.DeadlineExceeded):
		failed.Outcome, failed.Cause = sample.TimedOut, "NoAnswer"
	case iothub.Unanswered(err):
		failed.Cause = brokenCause(err)
	}
	return scheduler.Reply{}, failed
}

// brokenCause names why a call has no answer, of which nobody knows what
// became of it: its connection was not made, or was lost.
func brokenCause(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return "NotConnected"
	}
	return "ConnectionLost"
}

func outcomeOf(e *iothub.Error) sample.Outcome {
	switch e.Code {
	case iothub.CodeDeviceNotOnline:
		return sample.Offline
	case iothub.CodeGatewayTimeout:
		return sample.TimedOut
	}
	return sample.Failed
}

func wholeSeconds(d time.Duration) *int {
	if d <= 0 {
		return nil
	}
	return new(int(d / time.Second))
}

// relay passes what devices tell on to the scheduler, which is made after the
// fleet that it needs.
type relay struct{ to *scheduler.Scheduler }

func (r *relay) Received(receipt sample.Receipt) uint64 { return r.to.Received(receipt) }
func (r *relay) Answered(ticket uint64, status int32, at sample.Moment) {
	r.to.Answered(ticket, status, at)
}
func (r *relay) Finished(ticket uint64, at sample.Moment) { r.to.Finished(ticket, at) }

// build makes the fleet and the scheduler, each of which knows the other
// through an interface of its own, and names the devices in the samples. life
// ends when the hub cannot answer any more.
func (r *run) build(life context.Context, observer *relay) (*fleet.Fleet, *scheduler.Scheduler, error) {
	c := r.fleetConfig(observer)
	r.hand = handOf(&c)
	f, err := fleet.New(c)
	if err != nil {
		return nil, nil, err
	}
	r.reporter = &reporter{recorder: r.samples, jobs: r.scenario.Jobs, status: map[[2]uint32]string{}}
	jobs, opts := jobsOf(r.scenario), scheduler.Options{
		Clock: r.clock, Samples: r.reporter, Fleet: f, Service: hubJobs{r.client}, Direct: hubCalls{r.client, r.clock},
		Logger: r.opts.Logger, HubClock: true, Drain: r.opts.Drain, Life: life,
	}
	if r.remote != nil {
		r.suit(jobs, &opts)
	}
	if r.generators > 0 {
		opts.Fleet = settling{f, r}
	}
	observer.to, err = scheduler.New(jobs, opts)
	if err != nil {
		return nil, nil, err
	}
	for i := range f.Len() {
		r.samples.Write(&sample.Device{Index: uint32(i), ID: f.ID(i), Group: f.Group(i)})
	}
	r.scheduler.Store(observer.to)
	return f, observer.to, nil
}

// suit makes jobs and the scheduler's settings fit a hub that is not ours.
func (r *run) suit(jobs []scheduler.Job, o *scheduler.Options) {
	o.Service = capped{hubJobs{r.client}}
	o.HubClock = false // it has a clock of its own
	o.OnlyFleet = !r.remote.target.AllowForeignDevices
	o.Patience, o.QueryTime, o.PollTime = remotePatience, remoteQueryTime, remotePollTime
	echo := slices.ContainsFunc(r.scenario.Fleet, func(g scenarios.Group) bool { return g.EchoDesired })
	r.header.Warnings = append(r.header.Warnings, hold(jobs, r.remote.limits, echo)...)
}

// register makes the fleet's identities and twins on the hub, or makes sure
// that they are on one that is not ours.
func (r *run) register(ctx context.Context, f *fleet.Fleet) error {
	if r.remote != nil {
		return r.checkFleet(ctx, f)
	}
	r.enter(Registering)
	client, closeClient, err := r.provisioner()
	if err != nil {
		return err
	}
	defer closeClient()
	return f.Register(ctx, client)
}
