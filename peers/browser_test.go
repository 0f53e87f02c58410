package peers_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	devtools "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"muster/internal/sample"
	"muster/report"
)

// hostile is what an id, a name or a cause could be that comes from a hub.
const hostile = `</script><img src=x onerror="window.pwned=1"><!--`

// madeRun is the results folder of a run that never was: a method job, twice on every device, whose executions on some
// devices fail for a hostile cause, and a tags job on every tenth.
func madeRun(t *testing.T, devices int) string {
	t.Helper()
	dir := t.TempDir()
	half := devices / 2
	err := report.WriteRun(dir, &report.Run{
		Scenario: "made " + hostile, MusterVersion: "v0", Driver: "paho", Seed: 1, Host: report.Host{OS: "linux", CPUs: 2, MemoryBytes: 1 << 32},
		Target: report.Target{Kind: "embedded", Transport: "tcp"}, StartedAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		Groups: []report.Group{{Name: "doors", Devices: half}, {Name: "lamps " + hostile, Devices: devices - half}},
		Jobs: []report.RunJob{
			{Name: "lock", Type: "scheduleDeviceMethod", Via: "hub", QueryCondition: hostile, Repetitions: 2},
			{Name: "label " + hostile, Type: "scheduleUpdateTwin", Via: "hub", QueryCondition: "*", Repetitions: 1},
		},
		Thresholds: []string{"jobs.lock.total.p99 < 9s", "jobs.lock.succeeded == 100%"}, Warnings: []string{hostile},
		Limits:      report.Limits{Descriptors: 20_000, Ports: 28_000},
		Calibration: &report.Calibration{RoundTrips: 3000, CPUMicros: 42.5, P50: report.Millis(60 * time.Microsecond), P99: report.Millis(time.Millisecond), Max: report.Millis(2 * time.Millisecond)},
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := sample.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	took := func(ms float64) sample.Moment { return sample.Moment(ms * math.Exp(0.5*rng.NormFloat64()) * 1e6) }
	for i := range uint32(devices) {
		id, group := fmt.Sprintf("door-%06d", i), "doors"
		if int(i) >= half {
			group = "lamps " + hostile
		}
		if i == 1 {
			id = hostile
		}
		due := sample.Moment(i)*10_000_000_000/sample.Moment(devices) + 1
		w.Write(&sample.Device{Index: i, ID: id, Group: group})
		w.Write(&sample.Connect{Device: i, Attempt: 1, Due: due, Dialed: due, Ready: due + took(5)})
	}
	for rep := range uint32(2) {
		writeRepetition(w, 0, rep, devices, 1, sample.Moment(11+8*int64(rep))*1e9, took)
	}
	writeRepetition(w, 1, 0, devices, 10, 28e9, took)
	for at := sample.Moment(1e9); at <= 30e9; at += 1e9 {
		h := &sample.Health{At: at, TimerLate: time.Duration(took(1)), CPU: time.Duration(at / 3), RSS: int64(at) / 100, MaxRSS: 3e8, GCPauseP99: time.Millisecond, Goroutines: 100, Descriptors: 50}
		for sent := at - 1e9 + 1e6; sent <= at; sent += 1e6 {
			h.Wakes = append(h.Wakes, sample.Wake{Sent: sent, Delay: time.Duration(took(0.05))})
		}
		w.Write(h)
		w.Write(&sample.HubStats{At: at, CPU: time.Duration(at / 5), RSS: 1e8, Connections: int64(devices)})
	}
	w.Write(&sample.Recording{At: 30e9, Records: 12345, Late: 7, Waited: 1500 * time.Millisecond})
	if err := w.Close(sample.End{At: 31e9, Reason: "completed"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// writeRepetition writes a repetition of a job on every step-th device: a method, or for job 1 tags.
func writeRepetition(w *sample.Writer, job, rep uint32, devices, step int, due sample.Moment, took func(float64) sample.Moment) {
	targets := &sample.Targets{Job: job, Repetition: rep, ID: "id", Due: due}
	closing := &sample.Repetition{Job: job, Repetition: rep, ID: "id", Status: "completed", Due: due}
	for n := range devices / step {
		d := uint32(n * step)
		targets.Devices = append(targets.Devices, d)
		e := &sample.Execution{Job: job, Repetition: rep, Device: d, Due: due, Outcome: sample.Succeeded, Final: true, HubClock: true}
		e.Dispatched = due + sample.Moment(n)*5_000_000_000/sample.Moment(devices) + took(1)
		if job == 0 {
			e.Received = e.Dispatched + took(0.5)
			e.Answered = e.Received + took(3)
			e.Finished = e.Answered
		}
		e.Booked = max(e.Finished, e.Dispatched) + took(0.3)
		if job == 0 && d%97 == 13 {
			e.Outcome, e.Code, e.Received, e.Answered, e.Finished = sample.Offline, hostile, 0, 0, 0
		}
		closing.Ended = max(closing.Ended, e.Booked)
		w.Write(e)
	}
	closing.Targeted = int64(len(targets.Devices))
	w.Write(targets)
	w.Write(closing)
}

// browser is a page in headless Chromium, without a network but this host.
type browser struct {
	ctx context.Context
	url string

	mu       sync.Mutex // guards the fields below
	messages []string   // what went to the console, and uncaught exceptions
	requests []string   // what the page asked for beside itself
}

// newBrowser starts Chromium. It ends with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := needProgram(t, "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(filepath.Join(t.TempDir(), "chromium")),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), chromedp.Flag("hide-scrollbars", true))
	timed, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	allocator, release := chromedp.NewExecAllocator(timed, options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() { cancel(); release(); stop() })
	b := &browser{ctx: ctx}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return b
}

// note keeps what no page of muster's may cause.
func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.messages = append(b.messages, fmt.Sprintf("console.%s with %d arguments", e.Type, len(e.Args)))
	case *runtime.EventExceptionThrown:
		b.messages = append(b.messages, fmt.Sprintf("exception: %+v", *e.ExceptionDetails))
	case *network.EventRequestWillBeSent:
		own := strings.HasPrefix(b.url, "http:") && strings.HasPrefix(e.Request.URL, b.url)
		if e.Request.URL != b.url && !own && !strings.HasPrefix(e.Request.URL, "data:") {
			b.requests = append(b.requests, e.Request.URL)
		}
	}
}

// quiet checks that the page said and asked for nothing.
func (b *browser) quiet(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.messages) > 0 || len(b.requests) > 0 {
		t.Errorf("%s: console %q, requests %q; want none", b.url, b.messages, b.requests)
	}
}

// size gives the page a width, a height and a colour scheme.
func (b *browser) size(t *testing.T, width, height int64, scheme string) {
	t.Helper()
	b.do(t, chromedp.EmulateViewport(width, height))
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
}

// before has the page run a script before its own.
func (b *browser) before(t *testing.T, script string) {
	t.Helper()
	if _, err := chromedp.Call(b.ctx, devtools.AddScriptToEvaluateOnNewDocument, devtools.AddScriptToEvaluateOnNewDocumentParams{Source: script}); err != nil {
		t.Fatal(err)
	}
}

// open opens a file and waits until its page is whole; it returns how that went.
func (b *browser) open(t *testing.T, file string) (ready string) {
	t.Helper()
	b.mu.Lock()
	b.url = (&url.URL{Scheme: "file", Path: file}).String()
	b.mu.Unlock()
	b.do(t, chromedp.Navigate(b.url))
	ready, err := chromedp.Run(b.ctx, chromedp.Poll[string](`document.documentElement.dataset.ready`))
	if err != nil {
		t.Fatalf("%s was never ready: %v", b.url, err)
	}
	b.drawn(t)
	return ready
}

// drawn waits until every chart that is to be seen has been drawn.
func (b *browser) drawn(t *testing.T) {
	t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool](`[...document.querySelectorAll('.plot')].every(p => p.clientWidth === 0 || p.querySelector('canvas'))
		&& [...document.querySelectorAll('canvas.cells')].every(c => c.width > 300 || c.clientWidth > 0)`))
	if err != nil {
		t.Fatalf("a chart of %s was never drawn: %v", b.url, err)
	}
}

func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		t.Fatalf("%s: %v", b.url, err)
	}
}

// value returns what a script gives.
func value[T any](t *testing.T, b *browser, script string) T {
	t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return v
}
