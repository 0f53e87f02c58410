// Package metrics shows Prometheus how a run goes: counters and gauges of the
// fleet and its jobs, and histograms of the phases. A label is a job, a phase,
// an outcome, a state or a stage, and never a device.
//
// # Concurrency
//
// Observe, Handler and scrapes may come from any goroutine. A scrape reads
// what the run has counted already; nothing that is measured waits for one.
package metrics

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"muster/harness"
	"muster/report"
)

// Info is what a run is, for muster_run_info.
type Info struct{ Scenario, Target, Driver, Version string }

// Metrics are those of one run.
type Metrics struct {
	info     Info
	live     *report.Live
	created  time.Time                        // when the counters were zero
	progress atomic.Pointer[harness.Progress] // nil before the first
	registry *prometheus.Registry
}

// New returns the metrics of a run whose records live counts.
func New(info Info, live *report.Live) *Metrics {
	m := &Metrics{info: info, live: live, created: time.Now(), registry: prometheus.NewRegistry()}
	m.registry.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe takes how the run stands; it is for harness.Options.Observe.
func (m *Metrics) Observe(p harness.Progress) { m.progress.Store(&p) }

// Handler serves the metrics, with native histograms to those who ask for
// Prometheus's protobuf format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range [...]*prometheus.Desc{
		runInfo, runStage, runElapsed,
		devices, devicesFailed, connections, attempts, failures, refused, lost, methodCalls, notifications, unsent,
		jobRepetition, jobRepetitions, jobTargeted, jobReceived, jobDone,
		executions, phase, connecting, wake, clockStep, hubCPU, hubMemory, hubConnections, hubSlow,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	c := sink{ch, m.created}
	c.gauge(runInfo, 1, m.info.Scenario, m.info.Target, m.info.Driver, m.info.Version)
	if p := m.progress.Load(); p != nil {
		c.run(p)
		c.fleet(p)
		c.jobs(p)
	}
	c.live(m.live.Snapshot())
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("muster_"+name, help, labels, nil)
}

var (
	runInfo    = desc("run_info", "The run that goes on; always 1.", "scenario", "target", "driver", "version")
	runStage   = desc("run_stage", "Whether the run is at this stage (1) or not (0).", "stage")
	runElapsed = desc("run_elapsed_seconds", "How long the run has gone on.")

	devices       = desc("devices", "Devices of the fleet by the state that they are in.", "state")
	devicesFailed = desc("devices_failed", "Devices that were not online within the connect timeout, nor since.")
	connections   = desc("connections", "Connections that are open.")
	attempts      = desc("connect_attempts_total", "Attempts to open a connection.")
	failures      = desc("connect_failures_total", "Attempts that ended without a connection.")
	refused       = desc("connects_refused_total", "Attempts that the hub refused.")
	lost          = desc("connections_lost_total", "Connections that ended by themselves.")
	methodCalls   = desc("method_calls_total", "Method calls that devices received.")
	notifications = desc("notifications_total", "Notifications of desired properties that devices received.")
	unsent        = desc("answers_unsent_total", "Answers that devices could not write.")

	jobRepetition  = desc("job_repetition", "The repetition of the job that began last, from 1; 0 before the first.", "job")
	jobRepetitions = desc("job_repetitions", "Repetitions that the job has.", "job")
	jobTargeted    = desc("job_targeted", "Devices that the last repetition targets.", "job")
	jobReceived    = desc("job_received", "Executions of the last repetition that reached their device.", "job")
	jobDone        = desc("job_done", "Executions of the last repetition that have ended, as far as is known.", "job")

	executions = desc("executions_total", "Executions of repetitions whose book is closed.", "job", "outcome")
	phase      = desc("phase_duration_seconds", "How long a phase of an execution took.", "job", "phase", "outcome")
	connecting = desc("connect_duration_seconds", "How long devices took to be ready for the first time, from when they were due.")
	wake       = desc("generator_wake_seconds", "How long the generator's messages to itself waited.")
	clockStep  = desc("generator_clock_step_seconds", "How far the wall clock has moved against the monotonic one.")

	hubCPU         = desc("hub_cpu_seconds_total", "Processor time of the embedded hub's process.")
	hubMemory      = desc("hub_resident_memory_bytes", "Resident memory of the embedded hub's process.")
	hubConnections = desc("hub_connections", "Connections that the embedded hub has open.")
	hubSlow        = desc("hub_slow_closed_total", "Connections that the embedded hub closed because they did not read.")
)

// sink sends metrics to a scrape.
type sink struct {
	ch      chan<- prometheus.Metric
	created time.Time
}

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func (s sink) run(p *harness.Progress) {
	for _, stage := range harness.Stages {
		on := 0.0
		if stage == p.Stage {
			on = 1
		}
		s.gauge(runStage, on, string(stage))
	}
	s.gauge(runElapsed, p.Elapsed.Seconds())
}

func (s sink) fleet(p *harness.Progress) {
	f := &p.Fleet
	for _, state := range []struct {
		name string
		n    int64
	}{{"idle", f.Idle}, {"connecting", f.Connecting}, {"online", f.Online}, {"offline", f.Offline}, {"closed", f.Closed}} {
		s.gauge(devices, float64(state.n), state.name)
	}
	s.gauge(devicesFailed, float64(f.Failed))
	s.gauge(connections, float64(f.Connections))
	s.counter(attempts, float64(f.Attempts))
	s.counter(failures, float64(f.ConnectFailures))
	s.counter(refused, float64(f.Refused))
	s.counter(lost, float64(f.Lost))
	s.counter(methodCalls, float64(f.MethodCalls))
	s.counter(notifications, float64(f.Notifications))
	s.counter(unsent, float64(f.Unsent))
}

func (s sink) jobs(p *harness.Progress) {
	for i := range p.Jobs {
		j := &p.Jobs[i]
		s.gauge(jobRepetition, float64(j.Repetition), j.Job)
		s.gauge(jobRepetitions, float64(j.Repetitions), j.Job)
		s.gauge(jobTargeted, float64(j.Targeted), j.Job)
		s.gauge(jobReceived, float64(j.Received), j.Job)
		s.gauge(jobDone, float64(j.Done), j.Job)
	}
}

func (s sink) live(l *report.Snapshot) {
	for _, j := range l.Jobs {
		s.counter(executions, float64(j.Executions), j.Job, j.Outcome)
		for name, values := range j.Phases {
			s.histogram(phase, &values, j.Job, name, j.Outcome)
		}
	}
	s.histogram(connecting, &l.Connects)
	s.histogram(wake, &l.Wakes)
	if l.Health != nil {
		s.gauge(clockStep, l.Health.ClockStep.Seconds())
	}
	if h := l.Hub; h != nil {
		s.gauge(hubConnections, float64(h.Connections))
		s.counter(hubSlow, float64(h.SlowClosed))
		if h.CPU > 0 { // it has a process of its own
			s.counter(hubCPU, h.CPU.Seconds())
			s.gauge(hubMemory, float64(h.RSS))
		}
	}
}
