package scheduler

import (
	"errors"
	"fmt"
	"time"
)

// Conflicts returns an error for each two jobs whose receipts could not be
// told apart: those of one signature whose windows can overlap. Marked jobs
// never conflict. Without a MaxExecution a window has no end, and of a start
// at a wall time and one that follows the fleet neither is known to be first.
func Conflicts(jobs []Job) error {
	var errs []error
	for i := range jobs {
		for k := i + 1; k < len(jobs); k++ {
			if conflict(jobs[i].resolved(), jobs[k].resolved()) {
				errs = append(errs, fmt.Errorf("jobs %q and %q send devices the same %s and may overlap: "+
					"mark one, or keep them apart by start and maximum execution time", jobs[i].Name, jobs[k].Name, jobs[i].Kind))
			}
		}
	}
	return errors.Join(errs...)
}

func conflict(a, b Job) bool {
	if a.Mark || b.Mark {
		return false
	}
	ga, gb := signatureOf(&a), signatureOf(&b)
	if ga == nil || gb == nil || !ga.same(gb) {
		return false
	}
	if a.At.IsZero() != b.At.IsZero() {
		return true
	}
	return before(&a, &b) && before(&b, &a)
}

// before reports whether a's first window may open before b's last one has
// closed.
func before(a, b *Job) bool {
	span, bounded := b.span()
	return !bounded || a.opens(b) < span+Lead
}

// opens returns how long after b's start a starts. Both have the same kind of start.
func (j *Job) opens(b *Job) time.Duration {
	if j.At.IsZero() {
		return j.After - b.After
	}
	return j.At.Sub(b.At)
}

// span returns how long after the job's start its last window has closed for
// sure, when each repetition takes as long as it may.
func (j *Job) span() (time.Duration, bool) {
	if j.MaxExecution == 0 {
		return 0, false
	}
	// Settle once for the hub to end its job, once for its rows.
	one := j.MaxExecution + 2*j.Settle + linger
	return time.Duration(j.Times-1)*max(j.Every, one) + one, true
}
