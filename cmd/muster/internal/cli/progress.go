package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"muster/harness"
	"muster/scheduler"
)

// progress shows how a run goes. Its calls come from one goroutine at a time.
type progress interface {
	observe(harness.Progress)
	close()
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
		return &jsonLines{encoder: json.NewEncoder(w)}, nil
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
func (quiet) close()                   {}

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

func (l *lines) close() {}

// jsonLines shows progress as one JSON object a line.
type jsonLines struct{ encoder *json.Encoder }

func (j *jsonLines) observe(p harness.Progress) {
	_ = j.encoder.Encode(jsonProgress(p)) // progress that nobody reads must not end the run
}

func (j *jsonLines) close() {}

// jobJSON is a job in a line of JSON progress.
type jobJSON struct {
	Name        string `json:"name"`
	Repetition  int    `json:"repetition"` // from 1; 0 before the first
	Repetitions int    `json:"repetitions"`
	ID          string `json:"id,omitempty"`
	Status      string `json:"status"`
	HubStatus   string `json:"hubStatus,omitempty"`
	Reason      string `json:"reason,omitempty"`
	Targeted    int64  `json:"targeted"`
	Received    int64  `json:"received"`
	Done        int64  `json:"done"`
}

// progressJSON is a line of JSON progress.
type progressJSON struct {
	Stage          harness.Stage `json:"stage"`
	ElapsedSeconds float64       `json:"elapsedSeconds"`
	Devices        int64         `json:"devices"`
	Online         int64         `json:"online"`
	Jobs           []jobJSON     `json:"jobs"`
}

func jsonProgress(p harness.Progress) progressJSON {
	out := progressJSON{
		Stage: p.Stage, ElapsedSeconds: p.Elapsed.Seconds(),
		Devices: int64(p.Fleet.Devices), Online: p.Fleet.Online, Jobs: make([]jobJSON, len(p.Jobs)),
	}
	for i, j := range p.Jobs {
		out.Jobs[i] = jobJSON{
			Name: j.Job, Repetition: j.Repetition, Repetitions: j.Repetitions, ID: j.ID, Status: j.Status,
			HubStatus: j.HubStatus, Reason: j.Reason, Targeted: j.Targeted, Received: j.Received, Done: j.Done,
		}
	}
	return out
}

// news finds what changed from one observation to the next: the stage, and
// the status of each job's repetition.
type news struct {
	stage  harness.Stage
	status []string // by job
}

func (n *news) of(p harness.Progress) []string {
	var text []string
	if p.Stage != n.stage {
		n.stage = p.Stage
		text = append(text, standing(p))
	}
	for len(n.status) < len(p.Jobs) {
		n.status = append(n.status, "")
	}
	for i, j := range p.Jobs {
		now := strings.Join([]string{j.ID, j.Status, j.HubStatus, j.Reason}, " ")
		if (j.Repetition == 0 && j.Reason == "") || now == n.status[i] {
			continue
		}
		n.status[i] = now
		text = append(text, jobStatus(&p.Jobs[i]))
	}
	return text
}

// jobStatus says how a job stands, in the hub's words where it has some.
func jobStatus(j *scheduler.Progress) string {
	var b strings.Builder
	fmt.Fprintf(&b, "job %s", j.Job)
	if j.Repetitions > 1 {
		fmt.Fprintf(&b, " %d/%d", j.Repetition, j.Repetitions)
	}
	if j.ID != "" {
		fmt.Fprintf(&b, " %s", j.ID)
	}
	status := j.Status
	if j.HubStatus != "" {
		status = j.HubStatus
	}
	fmt.Fprintf(&b, ": %s", status)
	switch {
	case j.Reason != "":
		fmt.Fprintf(&b, ": %s", j.Reason)
	case j.Targeted > 0 && j.Done > 0:
		fmt.Fprintf(&b, ", %d of %d done", j.Done, j.Targeted)
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
