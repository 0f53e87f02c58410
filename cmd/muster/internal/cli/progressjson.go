package cli

import (
	"encoding/json"
	"io"
	"time"

	"muster/harness"
	"muster/internal/sample"
	"muster/report"
	"muster/scheduler"
)

// jsonLines shows progress as one JSON object a line, about four times a
// second and at each change of stage. The last line has the stage "done" and
// the result; a run without a report has none. docs/run.md tells of each member.
type jsonLines struct {
	encoder *json.Encoder
	last    progressJSON
}

func newJSONLines(w io.Writer) *jsonLines {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return &jsonLines{encoder: encoder}
}

func (j *jsonLines) observe(p standing) {
	j.last = jsonProgress(&p)
	_ = j.encoder.Encode(j.last) // progress that nobody reads must not end the run
}

func (j *jsonLines) close(result *harness.Result) {
	if result == nil || result.Report == nil {
		return
	}
	s := &result.Report.Summary
	line := j.last
	line.Stage, line.Time, line.ElapsedSeconds, line.News = stageDone, time.Now().UTC(), s.DurationSeconds, nil
	line.Result = &endJSON{Verdict: s.Verdict, Reasons: s.Reasons, Results: result.Dir}
	_ = j.encoder.Encode(line)
}

// stageDone is the stage of the last line.
const stageDone = "done"

// progressJSON is a line of JSON progress.
type progressJSON struct {
	Stage          harness.Stage `json:"stage"`
	Time           time.Time     `json:"time"`
	ElapsedSeconds float64       `json:"elapsedSeconds"` // since the run began
	Devices        int64         `json:"devices"`
	Online         int64         `json:"online"`
	Connecting     int64         `json:"connecting"`
	Offline        int64         `json:"offline"` // lost or away, and coming back
	Failed         int64         `json:"failed"`  // not online within the connect timeout, nor since
	Jobs           []jobJSON     `json:"jobs"`
	News           []newsJSON    `json:"news,omitempty"`
	Result         *endJSON      `json:"result,omitempty"` // in the last line
}

// jobJSON is a job in a line of JSON progress. Targeted, Received and Done are
// of the repetition that began last, Outcomes of all that are over, Response of
// all executions that have ended.
type jobJSON struct {
	Name        string           `json:"name"`
	Repetition  int              `json:"repetition"` // from 1; 0 before the first
	Repetitions int              `json:"repetitions"`
	Status      string           `json:"status"`
	Targeted    int64            `json:"targeted"`
	Received    int64            `json:"received"`
	Done        int64            `json:"done"`
	Outcomes    map[string]int64 `json:"outcomes"`
	Response    *tookJSON        `json:"response,omitempty"` // absent while none has ended
}

// tookJSON is how long executions took so far, from when they were due.
type tookJSON struct {
	Count int64         `json:"count"`
	P50   report.Millis `json:"p50"`
	P99   report.Millis `json:"p99"`
}

// newsJSON is a repetition that changed its status.
type newsJSON struct {
	Name       string `json:"name"`
	Repetition int    `json:"repetition"`
	ID         string `json:"id,omitempty"`
	Status     string `json:"status"`
	Reason     string `json:"reason,omitempty"`
	Devices    int64  `json:"devices"`
}

// endJSON is what came of a run.
type endJSON struct {
	Verdict report.Verdict `json:"verdict"`
	Reasons []string       `json:"reasons"`
	Results string         `json:"results"` // the folder
}

func jsonProgress(p *standing) progressJSON {
	out := progressJSON{
		Stage: p.Stage, Time: time.Now().UTC(), ElapsedSeconds: p.Elapsed.Seconds(),
		Devices: int64(p.Fleet.Devices), Online: p.Fleet.Online, Connecting: p.Fleet.Connecting, Offline: p.Fleet.Offline, Failed: p.Fleet.Failed,
		Jobs: make([]jobJSON, len(p.Jobs)),
	}
	for i, j := range p.Jobs {
		out.Jobs[i] = jobJSON{
			Name: j.Job, Repetition: j.Repetition, Repetitions: j.Repetitions, Status: j.Status,
			Targeted: j.Targeted, Received: j.Received, Done: j.Done, Outcomes: outcomesByName(&j.Outcomes),
		}
		if i < len(p.Running) && p.Running[i].Count > 0 {
			r := &p.Running[i]
			out.Jobs[i].Response = &tookJSON{r.Count, report.Millis(r.P50), report.Millis(r.P99)}
		}
	}
	for _, n := range p.News {
		out.News = append(out.News, newsJSON{Name: n.Job, Repetition: n.Repetition, ID: n.ID, Status: n.Status, Reason: n.Reason, Devices: n.Devices})
	}
	return out
}

// outcomesByName returns the outcomes that there were.
func outcomesByName(counts *scheduler.Counts) map[string]int64 {
	byName := map[string]int64{}
	for _, o := range sample.Outcomes {
		if n := counts[o]; n > 0 {
			byName[o.String()] = n
		}
	}
	return byName
}
