// Package live serves the page of a run that goes on: the charts of
// report.html as far as they are known, once a second, with a button that
// stops the run. When the run is over, the page goes on to its report.html.
//
// # Who may see and stop a run
//
// A Page with a token answers only below /TOKEN/. One without is for loopback:
// it answers only to a loopback name, so that no page of the network's can
// reach it by a name that it makes point here. Either way, to stop the run
// takes a POST from the page itself: of the same origin, and with a secret of
// its own that no other origin can read.
//
// # Concurrency
//
// Observe, Handler's requests, End and Wait may come from any goroutine. A page
// that does not read holds up nobody: it is sent the latest there is, and is
// let go of, and counted, when a write takes too long. Page starts no
// goroutine; those of requests are the server's, and end with Close.
package live

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"sync"
	"time"

	"muster/harness"
	"muster/internal/sample"
	"muster/report"
	"muster/scenarios"
)

const (
	// every is how often pages are told.
	every = time.Second
	// mostPages is how many pages may watch at a time: each costs the
	// generator a write a second.
	mostPages = 8
	// writeWithin is how long a page may take to read what it is sent.
	writeWithin = 5 * time.Second
)

// Options are what a Page is of.
type Options struct {
	Version string
	// Token is what addresses begin with. Default none: for loopback only.
	Token string
	// Stop ends the run as an interrupt does. It is called at most once.
	Stop func()
}

// Page is that of one run.
type Page struct {
	opts      Options
	scenario  string
	transport string // of the embedded hub; "" of another target
	secret    string // what the stop button proves itself with
	stop      sync.Once

	mu       sync.Mutex // guards the fields below; never held across a write
	feed     *report.Feed
	standing report.Standing
	told     time.Duration // when pages were told last, since the run began
	pages    map[*watcher]struct{}
	dropped  int64
	dir      string        // of results, when there is a report
	unread   int           // pages that were told of the end and have not asked for the report
	over     chan struct{} // closed when the run is over
	closed   chan struct{} // closed when the page is no longer served
	read     chan struct{} // holds a token if unread has changed
}

// watcher is a page that is open.
type watcher struct {
	frames chan []byte // holds one, the latest
}

// New returns the page of the run of s whose records live counts. Observe is
// for harness.Options.Observe.
func New(s *scenarios.Scenario, live *report.Live, opts Options) *Page {
	about := report.FeedOf{Scenario: s.Name, CPUs: runtime.GOMAXPROCS(0), Descriptors: int64(harness.HostLimits().Descriptors)}
	for _, t := range s.Thresholds {
		about.Thresholds = append(about.Thresholds, t.Text)
	}
	transport := ""
	if e := s.Target.Embedded; e != nil {
		transport = string(e.Transport)
	}
	return &Page{
		opts: opts, scenario: s.Name, transport: transport, secret: rand.Text(), feed: report.NewFeed(about, live), pages: map[*watcher]struct{}{},
		over: make(chan struct{}), closed: make(chan struct{}), read: make(chan struct{}, 1),
	}
}

// Observe takes how the run stands, and tells the pages once a second and when
// its stage changes.
func (p *Page) Observe(now harness.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stage := p.standing.Stage
	p.standing = standingOf(&now)
	if now.Elapsed-p.told < every && stage == p.standing.Stage {
		return
	}
	p.told = now.Elapsed
	if len(p.pages) == 0 {
		p.feed.Take() // lest it pile up until somebody looks
		return
	}
	frame := p.frameLocked()
	for w := range p.pages {
		w.put(frame)
	}
}

// put leaves a frame for the page, in the place of one that it has not taken.
// It does not wait: the lock of Page makes it the only sender.
func (w *watcher) put(frame []byte) {
	select {
	case <-w.frames:
	default:
	}
	select {
	case w.frames <- frame:
	default: // never: there is room, and nobody else puts
	}
}

func (p *Page) frameLocked() []byte {
	data, err := p.feed.JSON(&p.standing, report.Watching{Pages: len(p.pages), Dropped: p.dropped})
	if err != nil {
		panic("live: " + err.Error()) // it is made of numbers and texts
	}
	return fmt.Appendf(nil, "event: state\ndata: %s\n\n", data)
}

func standingOf(now *harness.Progress) report.Standing {
	f := &now.Fleet
	st := report.Standing{
		Stage: string(now.Stage), Elapsed: now.Elapsed, Devices: int64(f.Devices), Online: f.Online, Connecting: f.Connecting,
		Offline: f.Offline, Failed: f.Failed, Lost: f.Lost, Jobs: []report.JobStanding{},
	}
	for i := range now.Jobs {
		j := &now.Jobs[i]
		job := report.JobStanding{
			Repetition: j.Repetition, Status: j.Status, Targeted: j.Targeted, Received: j.Received, Done: j.Done,
			Outcomes: map[sample.Outcome]int64{},
		}
		for _, o := range sample.Outcomes {
			job.Outcomes[o] = j.Outcomes[o]
		}
		st.Jobs = append(st.Jobs, job)
	}
	return st
}

// End tells the pages that the run is over. dir holds its report; "" if it has
// none.
func (p *Page) End(dir string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dir = dir
	if dir != "" {
		p.unread = len(p.pages)
	}
	close(p.over)
}

// Wait waits until each page that was open at the end has asked for the
// report, or ctx ends.
func (p *Page) Wait(ctx context.Context) {
	for {
		p.mu.Lock()
		unread := p.unread
		p.mu.Unlock()
		if unread <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-p.read:
		}
	}
}

// Close ends the requests that wait for the run.
func (p *Page) Close() { close(p.closed) }

// enter makes room for a page; nil if there is none.
func (p *Page) enter() *watcher {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pages) >= mostPages {
		return nil
	}
	w := &watcher{frames: make(chan []byte, 1)} // what it does not take in time is out of date
	p.pages[w] = struct{}{}
	if p.standing.Stage != "" {
		w.put(p.frameLocked())
	}
	return w
}

// leave gives up a page's room. slow says that it did not read in time.
func (p *Page) leave(w *watcher, slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pages, w)
	if slow {
		p.dropped++
	}
}

// folder returns where the report is; "" while there is none.
func (p *Page) folder() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dir
}

// fetched notes that a page has the report.
func (p *Page) fetched() {
	p.mu.Lock()
	p.unread--
	p.mu.Unlock()
	select {
	case p.read <- struct{}{}:
	default: // it is to be looked at already
	}
}
