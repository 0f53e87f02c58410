package scenarios

import (
	"errors"
	"slices"
	"strings"

	"muster/internal/expr"
)

// threshold decodes one objective. Whether what it names exists is for
// checkThresholds, when all jobs are known.
func (d *decoder) threshold(n *node, path string) Threshold {
	var t Threshold
	if d.text(&t.Text)(n, path); t.Text == "" {
		return t
	}
	parsed, err := expr.Parse(t.Text)
	if err == nil {
		t.Expr = parsed
		return t
	}
	var at *expr.SyntaxError
	if errors.As(err, &at) {
		d.failText(n, path, "threshold", err, at.Off, at.Msg, at.Caret())
	} else {
		d.failText(n, path, "threshold", err, -1, "", "")
	}
	return t
}

// What a threshold can read, as the summary of a run names it.
var (
	statistics = []string{"count", "min", "mean", "p50", "p90", "p99", "p999", "max"}
	counts     = []string{
		"targeted", "succeeded", "failed", "timedOut", "offline", "cancelled", "notDispatched", "unknown",
		"duplicates", "unexpected", "missing", "extra",
	}
	phases = []string{"lag", "delivery", "downlink", "device", "uplink", "total", "service", "booking"}
)

// checkThresholds refuses thresholds that the run's report would have no data
// for, whatever happens.
func (d *decoder) checkThresholds(s *Scenario) {
	for i := range s.Thresholds {
		if t := &s.Thresholds[i]; t.Expr != nil {
			r := reader{d: d, t: t, path: index("thresholds", i)}
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
	r.d.failIn(r.d.nodeAt(r.path), r.offset(part), r.path, format, args...)
}

// offset returns where a part of the path begins in the text.
func (r *reader) offset(part int) int {
	at := 0
	for i, name := range r.t.Expr.Path {
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

// unknown reports part i of the path, which is none of known.
func (r *reader) unknown(part int, what string, known []string) {
	r.fail(part, "%s", unknown(what, r.t.Expr.Path[part], known))
}

func (r *reader) check(s *Scenario) {
	path := r.t.Expr.Path
	switch path[0] {
	case "jobs":
		r.job(s)
	case "fleet":
		r.fleet()
	case "generator":
		r.generator()
	default:
		r.unknown(0, "name", []string{"jobs", "fleet", "generator"})
	}
}

func (r *reader) fleet() {
	path := r.t.Expr.Path
	if len(path) == 1 {
		r.fail(0, "ends too early; expected more after fleet, as in fleet.connect.p99")
		return
	}
	switch own := []string{"devices", "connected", "failed", "reconnects"}; {
	case path[1] == "connect":
		r.statistic(2, statistics)
	case slices.Contains(own, path[1]):
		r.count(1)
	default:
		r.unknown(1, "value", append([]string{"connect"}, own...))
	}
}

func (r *reader) generator() {
	path, own := r.t.Expr.Path, []string{"wake", "lag"}
	switch {
	case len(path) == 1:
		r.fail(0, "ends too early; expected more after generator, as in generator.wake.p99")
	case slices.Contains(own, path[1]):
		if len(path) == 3 && path[2] == "count" {
			r.bound(expr.Count) // a number of messages, of which nothing is 100 %
			return
		}
		r.statistic(2, statistics)
	default:
		r.unknown(1, "value", own)
	}
}

func (r *reader) job(s *Scenario) {
	path := r.t.Expr.Path
	if len(path) < 3 {
		r.fail(len(path)-1, "ends too early; expected a job and what of it, as in jobs.NAME.total.p99 or jobs.NAME.succeeded")
		return
	}
	at := slices.IndexFunc(s.Jobs, func(j Job) bool { return j.Name == path[1] })
	if at < 0 {
		r.unknown(1, "job", jobNames(s.Jobs))
		return
	}
	own := phasesOf(&s.Jobs[at])
	switch {
	case slices.Contains(counts, path[2]):
		r.count(2)
	case slices.Contains(own, path[2]):
		r.statistic(3, statistics)
	case path[2] == "startError":
		r.statistic(3, []string{"max"})
	case slices.Contains(phases, path[2]):
		r.fail(2, "a %s has no %s; it has %s", kindOf(&s.Jobs[at]), path[2], strings.Join(own, ", "))
	default:
		r.unknown(2, "phase or outcome", slices.Concat(own, counts, []string{"startError"}))
	}
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

// statistic checks that the path ends in one, and that the bound fits it.
func (r *reader) statistic(part int, known []string) {
	path := r.t.Expr.Path
	switch {
	case len(path) <= part:
		r.fail(len(path)-1, "expected a statistic after %s: %s", path[len(path)-1], oneOf(known))
	case !slices.Contains(known, path[part]):
		r.fail(part, "unknown statistic %s; expected %s", quote(path[part]), oneOf(known))
	case path[part] == "count":
		r.count(part)
	case r.ends(part):
		r.bound(expr.Duration)
	}
}

// count checks that the path ends in a count, and that the bound fits it.
func (r *reader) count(part int) {
	if r.ends(part) {
		r.bound(expr.Count, expr.Percent)
	}
}

func (r *reader) ends(part int) bool {
	if len(r.t.Expr.Path) == part+1 {
		return true
	}
	r.fail(part+1, "nothing is below %s", quote(r.t.Expr.Path[part]))
	return false
}

// bound refuses to compare a value with one of another unit.
func (r *reader) bound(units ...expr.Unit) {
	if slices.Contains(units, r.t.Expr.Bound.Unit) {
		return
	}
	example := map[expr.Unit]string{expr.Duration: "a duration such as 500ms", expr.Count: "a number", expr.Percent: "a percentage such as 99%"}
	allowed := make([]string, len(units))
	for i, u := range units {
		allowed[i] = example[u]
	}
	r.fail(0, "%s can only be compared with %s", strings.Join(r.t.Expr.Path, "."), strings.Join(allowed, " or "))
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
	return phases
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
