package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"muster/harness"
	"muster/report"
)

// progress shows how a run goes. Its calls come from one goroutine at a time;
// the last is close, with what came of the run if there is a report.
type progress interface {
	observe(standing)
	close(*harness.Result)
}

// standing is how a run stands, and how long executions of each job took so
// far.
type standing struct {
	harness.Progress
	Running []report.Running // by job; empty if nobody counts
}

// runningEvery is how often a run is asked how long executions took so far.
const runningEvery = time.Second

// running asks live now and then, and when something has changed.
type running struct {
	live  *report.Live
	asked time.Duration // since the run began
	stage harness.Stage // at that time
	last  []report.Running
}

func (r *running) of(p harness.Progress) standing {
	if p.Stage != r.stage || len(p.News) > 0 || p.Elapsed-r.asked >= runningEvery {
		r.asked, r.stage, r.last = p.Elapsed, p.Stage, r.live.Running()
	}
	return standing{p, r.last}
}

// took says how long executions of job i took; "" if none has ended.
func (s *standing) took(i int) string {
	if i >= len(s.Running) {
		return ""
	}
	return s.Running[i].String()
}

// plainEvery is how often plain progress says how a run stands, whatever else
// it has to say.
const plainEvery = 5 * time.Second

func newProgress(mode string, w io.Writer) (progress, error) {
	switch mode {
	case "auto":
		if _, ci := os.LookupEnv("CI"); !ci && isTerminal(w) {
			return newBars(w), nil
		}
		return &lines{w: w}, nil
	case "tty":
		return newBars(w), nil
	case "plain":
		return &lines{w: w}, nil
	case "json":
		return newJSONLines(w), nil
	case "none":
		return quiet{}, nil
	}
	return nil, withStatus(exitUsage, fmt.Errorf("--progress %s: want auto, tty, plain, json or none", mode))
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

type quiet struct{}

func (quiet) observe(standing)      {}
func (quiet) close(*harness.Result) {}

// lines shows progress as plain lines: one when something changes, and one
// every few seconds.
type lines struct {
	w     io.Writer
	news  news
	stage harness.Stage
	shown time.Duration // when it last said how the run stands
}

func (l *lines) observe(p standing) {
	text := l.news.of(&p)
	if p.Stage != l.stage || p.Elapsed-l.shown >= plainEvery {
		if p.Stage == l.stage {
			text = append(text, p.String())
		}
		l.stage, l.shown = p.Stage, p.Elapsed // a new stage is news
	}
	for _, line := range text {
		fmt.Fprintf(l.w, "%6.1fs  %s\n", p.Elapsed.Seconds(), line)
	}
}

func (l *lines) close(*harness.Result) {}

// news words what is new in an observation: another stage, and the jobs whose
// status changed.
type news struct{ stage harness.Stage }

func (n *news) of(p *standing) []string {
	var text []string
	for i := range p.News {
		text = append(text, jobStatus(&p.News[i]))
	}
	if p.Stage != n.stage {
		n.stage = p.Stage
		text = append(text, p.String())
	}
	return text
}

// jobStatus says how a repetition stands, in the hub's words.
func jobStatus(n *harness.JobNews) string {
	var b strings.Builder
	fmt.Fprintf(&b, "job %s", n.Job)
	if n.Repetitions > 1 {
		fmt.Fprintf(&b, " %d/%d", n.Repetition, n.Repetitions)
	}
	if n.ID != "" {
		fmt.Fprintf(&b, " %s", n.ID)
	}
	fmt.Fprintf(&b, ": %s", n.Status)
	if n.Devices > 0 {
		fmt.Fprintf(&b, ", %d devices", n.Devices)
	}
	if n.Reason != "" {
		fmt.Fprintf(&b, ": %s", n.Reason)
	}
	return b.String()
}

// String says in one line how a run stands.
func (p *standing) String() string {
	switch p.Stage {
	case harness.Connecting:
		return fmt.Sprintf("connecting: %d of %d devices online", p.Fleet.Online, p.Fleet.Devices)
	case harness.Running, harness.Draining:
		parts := []string{fmt.Sprintf("%s: %d of %d devices online", p.Stage, p.Fleet.Online, p.Fleet.Devices)}
		for i, j := range p.Jobs {
			if j.Targeted > 0 {
				parts = append(parts, fmt.Sprintf("%s %d/%d: %d of %d done", j.Job, j.Repetition, j.Repetitions, j.Done, j.Targeted))
			}
			if took := p.took(i); took != "" {
				parts = append(parts, took)
			}
		}
		return strings.Join(parts, ", ")
	}
	return string(p.Stage)
}
