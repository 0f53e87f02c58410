package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/internal/sample"
)

// balance compares the book of a job with what its repetitions say was
// targeted and with the hub's own books, and fills in what comes of it.
func (f *folder) balance(b *jobBook, j *Job) {
	var missing, extra int64
	var idle idle
	closed, ran, checked := 0, 0, true
	for _, n := range b.inOrder() {
		rep := b.reps[n]
		j.LedgerFaults = append(j.LedgerFaults, rep.faults(n)...)
		if rep.closed == nil {
			checked = false
			continue
		}
		closed++
		j.noteEnd(n, rep, &idle)
		if !rep.skipped() {
			ran++
			checked = checked && rep.closed.Checked
			missing += rep.closed.Missing
			extra += rep.closed.Extra
		}
		if late, ok := rep.startError(); ok && (j.StartError == nil || Millis(late) > j.StartError.Max) {
			j.StartError = &StartError{Max: Millis(late)}
		}
	}
	// A run that was stopped need not have come to all of its repetitions.
	if f.book.ended() == endCompleted && closed != b.spec.Repetitions {
		j.LedgerFaults = append(j.LedgerFaults, fmt.Sprintf("%d of %d repetitions are in the book", closed, b.spec.Repetitions))
	}
	if checked && ran > 0 {
		j.Missing, j.Extra = &missing, &extra
	}
	j.LedgerBalanced = len(j.LedgerFaults) == 0
	j.NotRun = idle.texts
}

// idle gathers the repetitions that did not run. Those in a row that have one
// reason make one text.
type idle struct {
	texts       []string
	first, last uint32
	reason      string
}

func (d *idle) add(n uint32, reason string) {
	if len(d.texts) > 0 && d.last+1 == n && d.reason == reason {
		d.last = n
		d.texts[len(d.texts)-1] = join(fmt.Sprintf("repetitions %d to %d did not run", d.first+1, n+1), reason)
		return
	}
	d.first, d.last, d.reason = n, n, reason
	d.texts = append(d.texts, join(fmt.Sprintf("repetition %d did not run", n+1), reason))
}

// noteEnd tells of a repetition that did not run, or ended otherwise than by
// completing.
func (j *Job) noteEnd(n uint32, rep *repetition, idle *idle) {
	c := rep.closed
	switch {
	case c.Skipped || len(rep.rows) == 0 && c.Status != endCompleted:
		idle.add(n, c.Reason)
	case c.Status != endCompleted:
		j.warn("%s", join(fmt.Sprintf("repetition %d ended as %s", n+1, c.Status), c.Reason))
	case len(rep.rows) == 0:
		j.warn("repetition %d targeted no device", n+1)
	}
}

// faults returns what does not add up in repetition n.
func (r *repetition) faults(n uint32) []string {
	var faults []string
	add := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf("repetition %d: ", n+1)+fmt.Sprintf(format, args...))
	}
	c := r.closed
	if c == nil {
		add("never closed")
		return faults
	}
	if int64(len(r.rows)) != c.Targeted {
		add("%s targeted, %s in the book", count(c.Targeted, "device"), count(int64(len(r.rows)), "execution"))
	}
	if !c.HubBooks {
		return faults
	}
	if c.Stats != c.Rows {
		add("the hub's statistics and its rows differ: %s", differences(c.Stats, c.Rows))
	}
	if parts := c.Stats.Failed + c.Stats.Succeeded + c.Stats.Running + c.Stats.Pending; parts > c.Stats.Devices {
		add("the hub counts %s and %s in some state", count(c.Stats.Devices, "device"), thousands(parts))
	}
	if n := r.succeeded(); n > c.Rows.Succeeded {
		add("%s succeeded, %s in the hub's rows", count(n, "execution"), thousands(c.Rows.Succeeded))
	}
	return faults
}

func (r *repetition) succeeded() int64 {
	n := int64(0)
	for i := range r.rows {
		if r.rows[i].outcome == sample.Succeeded {
			n++
		}
	}
	return n
}

// differences names the counts in which the hub's statistics are not those of
// its rows.
func differences(stats, rows sample.Statistics) string {
	var out []string
	for _, c := range []struct {
		name        string
		stats, rows int64
	}{
		{"devices", stats.Devices, rows.Devices},
		{"succeeded", stats.Succeeded, rows.Succeeded},
		{"failed", stats.Failed, rows.Failed},
		{"running", stats.Running, rows.Running},
		{"pending", stats.Pending, rows.Pending},
	} {
		if c.stats != c.rows {
			out = append(out, fmt.Sprintf("%s %s against %s", c.name, thousands(c.stats), thousands(c.rows)))
		}
	}
	return strings.Join(out, ", ")
}

// startError returns how far the repetition's first dispatch was from when it
// was due; its first receipt, if no dispatch was seen.
func (r *repetition) startError() (time.Duration, bool) {
	var dispatched, received sample.Moment
	for i := range r.rows {
		dispatched = earliest(dispatched, r.rows[i].dispatched)
		received = earliest(received, r.rows[i].received)
	}
	first := dispatched
	if !first.Seen() {
		first = received
	}
	d, ok := first.Since(r.due())
	return d.Abs(), ok
}

// earliest returns the earlier of those that were seen.
func earliest(a, b sample.Moment) sample.Moment {
	if !a.Seen() || b.Seen() && b < a {
		return b
	}
	return a
}

// addWarnings adds the doubts that take the whole summary to see.
func addWarnings(s *Summary) {
	for i := range s.Jobs {
		j := &s.Jobs[i]
		if j.Duplicates > 0 {
			j.warn("%s: a device was asked more than once", count(j.Duplicates, "duplicate"))
		}
		if j.Unexpected > 0 {
			j.warn("%s outside any execution", count(j.Unexpected, "receipt"))
		}
		if t := j.Phases[total.String()]; t != nil && j.PhasesByOutcome != nil {
			if ok := j.PhasesByOutcome[sample.Succeeded.String()][total.String()]; ok == nil || ok.Count < t.Count {
				j.warn("the phases hold executions that did not succeed too: see phasesByOutcome")
			}
		}
		for _, p := range []phase{delivery, total} {
			if seen := j.seen(p); seen > 0 && seen < j.Succeeded {
				j.warn("%s was seen of %s of %s that succeeded", p, thousands(seen), count(j.Succeeded, "execution"))
			}
		}
		if j.Via == "hub" && s.Target.Kind != "embedded" {
			j.warn("the hub is on another host: phases from due carry the difference of two clocks%s", s.Target.ClockAhead.text())
		}
		if len(s.Thresholds) > 0 && !readsJob(s.Thresholds, j.Name) {
			j.warn("no threshold reads this job")
		}
	}
}

// text says how far apart the clocks are, if that is known.
func (c *ClockAhead) text() string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf(", the hub's being %s to %s ahead", c.Min.String(), c.Max.String())
}

func readsJob(thresholds []Threshold, job string) bool {
	return slices.ContainsFunc(thresholds, func(t Threshold) bool {
		return len(t.Path) >= 2 && t.Path[0] == "jobs" && t.Path[1] == job
	})
}
