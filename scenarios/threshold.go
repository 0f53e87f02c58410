package scenarios

import (
	"errors"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"muster/internal/expr"
)

// threshold decodes one objective: its text, or a mapping that says more.
// Whether what it names exists is for checkThresholds, when all jobs are known.
func (d *decoder) threshold(n *node, path string) Threshold {
	var t Threshold
	more := func(n *node, path string) {
		d.object(n, path,
			required("expression", d.expression(&t)),
			optional("abortOnFail", d.boolean(&t.AbortOnFail)),
			optional("grace", d.duration(&t.Grace, 0, maxGrace)),
		)
		if grace := n.field("grace"); grace != nil && !t.AbortOnFail {
			d.fail(grace, member(path, "grace"), "needs abortOnFail: true: without it nothing happens before the run's end")
		}
	}
	switch {
	case n.schema.isEither(path, d.expression(&t), more):
	case n.kind != yaml.MappingNode:
		d.expression(&t)(n, path)
	default:
		more(n, path)
	}
	return t
}

// maxGrace is as long as a run may take to begin its jobs.
const maxGrace = 24 * time.Hour

func (d *decoder) expression(t *Threshold) decode {
	return func(n *node, path string) {
		if d.text(&t.Text)(n, path); t.Text == "" {
			return
		}
		parsed, err := expr.Parse(t.Text)
		if err == nil {
			t.Expr = parsed
			return
		}
		var at *expr.SyntaxError
		if errors.As(err, &at) {
			d.failText(n, path, "threshold", err, at.Off, at.Msg, at.Caret())
		} else {
			d.failText(n, path, "threshold", err, -1, "", "")
		}
	}
}

// checkThresholds refuses thresholds that the run's report would have no data
// for, whatever happens.
func (d *decoder) checkThresholds(s *Scenario) {
	for i := range s.Thresholds {
		if t := &s.Thresholds[i]; t.Expr != nil {
			r := reader{d: d, t: t, path: index("thresholds", i)}
			if d.nodeAt(r.path).kind == yaml.MappingNode {
				r.path = member(r.path, "expression")
			}
			r.check(s)
		}
	}
}

// reader follows one threshold's path.
type reader struct {
	d    *decoder
	t    *Threshold
	path string
}

// fail reports the part of the threshold's path that leads nowhere.
func (r *reader) fail(part int, format string, args ...any) {
	r.failAt(r.offset(part), format, args...)
}

func (r *reader) failAt(off int, format string, args ...any) {
	r.d.failIn(r.d.nodeAt(r.path), off, r.path, format, args...)
}

// offset returns where a part of the path begins in the text; the group comes
// after its last part.
func (r *reader) offset(part int) int {
	at := 0
	names := append(slices.Clone(r.t.Expr.Path), r.t.Expr.Group)
	if after := r.groupAfter(); r.t.Expr.Group != "" && after < len(r.t.Expr.Path) {
		names = slices.Insert(slices.Clone(r.t.Expr.Path), after, r.t.Expr.Group)
		if part == len(r.t.Expr.Path) {
			part = after
		} else if part >= after {
			part++
		}
	}
	for i, name := range names {
		found := strings.Index(r.t.Text[at:], name)
		switch {
		case found < 0:
			return 0
		case i == part:
			return at + found
		}
		at += found + len(name)
	}
	return at
}

// groupAfter returns how many names of the path stand before the group.
func (r *reader) groupAfter() int {
	if r.t.Expr.Path[0] == "jobs" {
		return len([]string{"jobs", "NAME"})
	}
	return len([]string{"fleet"})
}

func (r *reader) check(s *Scenario) {
	path := r.t.Expr.Path
	var job *Job
	if path[0] == "jobs" && len(path) >= 3 {
		at := slices.IndexFunc(s.Jobs, func(j Job) bool { return j.Name == path[1] })
		if at < 0 {
			r.fail(1, "%s", unknown("job", path[1], jobNames(s.Jobs)))
			return
		}
		job = &s.Jobs[at]
	}
	reading, ok := r.read(job)
	if !ok {
		return
	}
	r.group(s)
	r.bound(reading)
	if r.t.AbortOnFail {
		if why := endsOnly(r.t.Expr, &reading, job); why != "" {
			r.fail(0, "abortOnFail: %s", why)
		}
	}
}

// read reads the path, of a job or of none.
func (r *reader) read(job *Job) (expr.Reading, bool) {
	var own []string
	if job != nil {
		own = phasesOf(job)
	}
	reading, err := r.t.Expr.Read(own)
	var fault *expr.PathError
	switch {
	case errors.As(err, &fault) && fault.What != "":
		r.fail(fault.Part, "%s", unknown(fault.What, r.t.Expr.Path[fault.Part], fault.Known))
	case fault != nil && strings.HasPrefix(fault.Msg, "expected"):
		r.fail(fault.Part, "%s: %s", fault.Msg, oneOf(fault.Known))
	case fault != nil && len(fault.Known) > 0:
		r.fail(fault.Part, "%s; expected %s", fault.Msg, oneOf(fault.Known))
	case err != nil:
		r.fail(fault.Part, "%s", fault.Msg)
	case job == nil:
		return reading, true
	case slices.Contains(expr.Phases[:], reading.Series) && !slices.Contains(own, reading.Series):
		r.fail(2, "a %s has no %s; it has %s", kindOf(job), reading.Series, strings.Join(own, ", "))
	default:
		return reading, true
	}
	return reading, false
}

// group refuses a group that the fleet does not have.
func (r *reader) group(s *Scenario) {
	name := r.t.Expr.Group
	known := make([]string, len(s.Fleet))
	for i := range s.Fleet {
		known[i] = s.Fleet[i].Name
	}
	if name != "" && !slices.Contains(known, name) {
		r.fail(len(r.t.Expr.Path), "%s", unknown("group", name, known))
	}
}

// endsOnly says why a threshold that aborts the run cannot be judged before
// the run's end, or "".
func endsOnly(t *expr.Threshold, reading *expr.Reading, job *Job) string {
	what := expr.FormatPath(t.Path)
	grows := t.Op == expr.Less || t.Op == expr.LessEqual
	switch {
	case reading.Of == "generator":
		return what + " does not end a run; it makes it invalid"
	case reading.Of == "fleet" && reading.Series == "":
		return what + " is known when the fleet is ready; give fleet.connect a bound"
	case reading.Of == "jobs" && reading.Count != "" && !slices.Contains(liveOutcomes, reading.Count):
		return what + " is known at the end only; of counts there are " + strings.Join(liveOutcomes, ", ")
	case (reading.Count != "" || reading.Statistic == "count") && t.Bound.Unit == expr.Count && !grows && t.Over.Length == 0:
		return what + " grows until the end: only < and <= can fail before it"
	case reading.Statistic == "count" && t.Bound.Unit == expr.Percent:
		return what + " grows until the end: compare it with a number"
	case reading.Series == "startError":
		return what + " is known at the end only"
	case job != nil && !knownLive(job, reading):
		return what + " is known at the end only: it is the hub's own time, which its rows tell"
	}
	return ""
}

// liveOutcomes are the outcomes that are known when an execution ends.
var liveOutcomes = []string{"succeeded", "failed", "timedOut", "offline"}

// knownLive reports whether the moments that a reading takes are known when
// the execution ends: a hub tells those of its own at the end of the job.
func knownLive(job *Job, reading *expr.Reading) bool {
	if job.Via == Direct {
		return true
	}
	switch reading.Series {
	case "lag", "downlink", "service", "booking":
		return false
	case "": // a rate or a count: of ends that devices see
		return slices.Contains(phasesOf(job), "total")
	}
	return true
}

// jobNames returns the names that there are.
func jobNames(jobs []Job) []string {
	var known []string
	for i := range jobs {
		if jobs[i].Name != "" {
			known = append(known, jobs[i].Name)
		}
	}
	return known
}

// bound refuses to compare a value with one of another unit.
func (r *reader) bound(reading expr.Reading) {
	units := reading.Units()
	if slices.Contains(units, r.t.Expr.Bound.Unit) {
		return
	}
	example := map[expr.Unit]string{
		expr.Duration: "a duration such as 500ms", expr.Count: "a number", expr.Percent: "a percentage such as 99%", expr.Rate: "a rate such as 3000/s",
	}
	allowed := make([]string, len(units))
	for i, u := range units {
		allowed[i] = example[u]
	}
	r.fail(0, "%s can only be compared with %s", expr.FormatPath(r.t.Expr.Path), strings.Join(allowed, " or "))
}

// phasesOf returns the phases that a job's executions can have.
func phasesOf(j *Job) []string {
	switch {
	case j.UpdateTwin != nil && j.UpdateTwin.Desired == nil && j.Via == Hub:
		return []string{"lag", "booking"}
	case j.UpdateTwin != nil && j.UpdateTwin.Desired == nil:
		return []string{"lag", "total", "service"}
	case j.Via == Direct:
		return []string{"lag", "delivery", "downlink", "device", "uplink", "total", "service"}
	case j.CloudToDeviceMethod != nil: // answered is finished: there is no uplink
		return []string{"lag", "delivery", "downlink", "device", "total", "service", "booking"}
	}
	return expr.Phases[:]
}

// kindOf names a job by what decides its phases.
func kindOf(j *Job) string {
	kind := "desired"
	switch {
	case j.CloudToDeviceMethod != nil:
		kind = "method"
	case j.UpdateTwin != nil && j.UpdateTwin.Desired == nil:
		kind = "tags"
	}
	return kind + " job via " + string(j.Via)
}
