package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"muster/harness"
)

// progress shows how a run goes. Its calls come from one goroutine at a time;
// the last is close, with what came of the run if there is a report.
type progress interface {
	observe(harness.Progress)
	close(*harness.Result)
}

// plainEvery is how often a run that has nothing new to say says so.
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

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

type quiet struct{}

func (quiet) observe(harness.Progress) {}
func (quiet) close(*harness.Result)    {}

// lines shows progress as plain lines: one when something changes, and one
// every few seconds.
type lines struct {
	w     io.Writer
	news  news
	shown time.Duration // when the last line was written
}

func (l *lines) observe(p harness.Progress) {
	text := l.news.of(p)
	if len(text) == 0 && p.Elapsed-l.shown < plainEvery {
		return
	}
	if len(text) == 0 {
		text = []string{standing(p)}
	}
	l.shown = p.Elapsed
	for _, line := range text {
		fmt.Fprintf(l.w, "%6.1fs  %s\n", p.Elapsed.Seconds(), line)
	}
}

func (l *lines) close(*harness.Result) {}

// news words what is new in an observation: another stage, and the jobs whose
// status changed.
type news struct{ stage harness.Stage }

func (n *news) of(p harness.Progress) []string {
	var text []string
	for i := range p.News {
		text = append(text, jobStatus(&p.News[i]))
	}
	if p.Stage != n.stage {
		n.stage = p.Stage
		text = append(text, standing(p))
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

// standing says in one line where a run stands.
func standing(p harness.Progress) string {
	switch p.Stage {
	case harness.Connecting:
		return fmt.Sprintf("connecting: %d of %d devices online", p.Fleet.Online, p.Fleet.Devices)
	case harness.Running, harness.Draining:
		parts := []string{fmt.Sprintf("%s: %d of %d devices online", p.Stage, p.Fleet.Online, p.Fleet.Devices)}
		for _, j := range p.Jobs {
			if j.Targeted > 0 {
				parts = append(parts, fmt.Sprintf("%s %d/%d: %d of %d done", j.Job, j.Repetition, j.Repetitions, j.Done, j.Targeted))
			}
		}
		return strings.Join(parts, ", ")
	}
	return string(p.Stage)
}
