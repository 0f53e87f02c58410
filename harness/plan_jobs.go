package harness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/fleet"
	"muster/internal/quota"
	"muster/iothub"
	"muster/scenarios"
	"muster/scheduler"
)

// target is whom a job reaches, by the fleet as it is seeded.
type target struct {
	devices int
	echoing int  // those of them that report desired changes back
	most    bool // nobody can tell beforehand: devices is how many there are at most
}

func targetOf(f *fleet.Fleet, s *scenarios.Scenario, j *scenarios.Job) target {
	if j.DeviceID != "" {
		return target{devices: 1, echoing: 1}
	}
	matched, checkable := f.Match(j.Condition)
	if !checkable {
		matched, _ = f.Match(nil)
	}
	t := target{devices: len(matched), most: !checkable}
	echo := make(map[string]bool, len(s.Fleet))
	for i := range s.Fleet {
		echo[s.Fleet[i].Name] = s.Fleet[i].EchoDesired
	}
	for _, device := range matched {
		if echo[f.Identity(int(device)).Group] {
			t.echoing++
		}
	}
	return t
}

// plannedJob is one job with the pace of its repetitions.
type plannedJob struct {
	*scenarios.Job
	index  int
	target target
	pace   pace          // of one repetition's executions
	takes  time.Duration // by its pace
	pages  pace          // of the query that is read: its rows, or for a direct job whom it targets
}

// jobs plans each job, and what they do to each other.
func (p *planner) jobs(targets []target) {
	for i := range targets {
		p.vet(i, targets[i])
	}
	ready := p.Total
	var active []span
	for i := range targets {
		j := p.job(i, targets[i])
		p.describe(&j)
		p.checkJob(&j)
		spans, end := j.schedule()
		if j.At.IsZero() {
			p.Total = max(p.Total, ready+end)
		}
		if j.Via == scenarios.Hub {
			active = append(active, spans...)
		}
	}
	p.checkActive(active)
}

func (p *planner) job(index int, t target) plannedJob {
	j := &p.s.Jobs[index]
	n := t.devices
	const what = "executions"
	own, ownName := j.Rate, fmt.Sprintf("jobs[%d].rate", index)
	meter := pace{n, what, p.limits.JobDevices, "tier"}
	switch {
	case j.Via == scenarios.Hub && isRemote(p.s): // the tier alone
		own = 0
	case j.Via == scenarios.Hub:
		own, ownName = p.s.Target.Embedded.JobRate, "target.embedded.jobRate"
	case j.CloudToDeviceMethod != nil:
		blocks := quota.MethodBlocks(len(j.CloudToDeviceMethod.Payload))
		meter = pace{n * blocks, "blocks of 4 KB of method payloads", p.limits.Methods, "tier"}
	case j.UpdateTwin.Desired != nil:
		meter = pace{n + t.echoing, "twin updates, echoes included,", p.limits.TwinUpdates, "tier"}
	default:
		meter = pace{n, "twin updates", p.limits.TwinUpdates, "tier"}
	}
	c := slowest(meter, pace{n, what, perSecond(own), ownName})
	pages := max(1, (n+iothub.MaxBulk-1)/iothub.MaxBulk)
	if j.DeviceID != "" {
		pages = 0
	}
	return plannedJob{
		Job: j, index: index, target: t, pace: c, takes: c.takes(),
		pages: pace{pages, "pages", p.limits.Queries, "tier"},
	}
}

// vet plans the look at whom a job matches, which an IoT hub is asked for before the first job.
func (p *planner) vet(i int, t target) {
	h, j := p.s.Target.IoTHub, &p.s.Jobs[i]
	if h != nil && h.Tier != "" && !h.AllowForeignDevices && j.DeviceID == "" {
		p.askFor("look at job "+j.Name, t.devices, "so that it reaches nobody but the fleet")
	}
}

// describe adds the job's steps.
func (p *planner) describe(j *plannedJob) {
	upTo := ""
	if j.target.most {
		upTo = "up to "
	}
	each := ""
	if j.Times > 1 {
		each = fmt.Sprintf(", each of %d times", j.Times)
	}
	p.step("job "+j.Name, j.takes, "%s%v%s", upTo, j.pace, each)
	if p.Tier == "" || j.pages.n == 0 {
		return
	}
	reads := "rows"
	if j.Via == scenarios.Direct {
		reads = "query"
	}
	p.step("job "+j.Name+": "+reads, j.readTime(), "%s%v", upTo, j.pages)
}

// readTime is how long the pages take that are no burst.
func (j *plannedJob) readTime() time.Duration {
	if j.pages.limit.Count == 0 {
		return 0
	}
	return j.pages.limit.TakesAtLeast(j.pages.n)
}

// checkJob refuses a job that cannot end in its window, or whose rows cannot be read in theirs.
func (p *planner) checkJob(j *plannedJob) {
	if j.target.most {
		return
	}
	least := j.takes
	if j.pace.limit.Count > 0 && j.Via == scenarios.Direct { // a direct job's meters have a burst
		least = j.pace.limit.TakesAtLeast(j.pace.n)
	}
	if least > j.MaxExecution {
		p.refuse("jobs[%d] (%s): %v take %v, more than maxExecutionTimeInSeconds: %d; set it to at least %d",
			j.index, j.Name, j.pace, round(least), int(j.MaxExecution.Seconds()), int((least + j.answer()).Round(time.Second).Seconds()))
	}
	if settle := max(j.Settle, scheduler.Patience); j.Via == scenarios.Hub && j.readTime() > settle {
		p.refuse("jobs[%d] (%s): its rows, %v, take %v, more than settle: %v; set it to at least %v",
			j.index, j.Name, j.pages, round(j.readTime()), settle, (j.readTime() + time.Minute).Round(time.Minute))
	}
}

// answer is how long the last device may take.
func (j *plannedJob) answer() time.Duration {
	if m := j.CloudToDeviceMethod; m != nil {
		return m.ConnectTimeout + m.ResponseTimeout
	}
	return 0
}

// span is the time in which a repetition's job is active on the hub: from when it is created to its end.
type span struct {
	job        string
	timed      bool // begin is counted from the Unix epoch, not from the ready fleet
	begin, end time.Duration
}

// schedule returns when each repetition is active at least, and when the last one's rows are read.
func (j *plannedJob) schedule() (spans []span, end time.Duration) {
	start := j.After
	if !j.At.IsZero() {
		start = time.Duration(j.At.UnixNano())
	}
	takes, reads := j.takes, j.readTime()
	if j.target.most {
		takes, reads = 0, 0
	}
	free := time.Duration(0) // when the repetition before is over
	for n := range j.Times {
		due := start + time.Duration(n)*j.Every
		begin := max(0, due-scheduler.Lead)
		if !j.Mark { // it waits for the one before
			begin = max(begin, free)
		}
		over := max(due, begin) + takes
		spans = append(spans, span{j.Name, !j.At.IsZero(), begin, over})
		free = over + reads
		end = max(end, free)
	}
	return spans, end
}

// checkActive refuses more active jobs at once than the tier allows. Starts after the fleet is ready and at a time of day
// cannot be compared beforehand.
func (p *planner) checkActive(spans []span) {
	if p.limits.ActiveJobs == 0 {
		return
	}
	for _, timed := range []bool{false, true} {
		var same []span
		for _, s := range spans {
			if s.timed == timed {
				same = append(same, s)
			}
		}
		if names := crowded(same, p.limits.ActiveJobs); names != nil {
			p.refuse("jobs: %s are active at the same time (each from %v before its start), and tier %s allows %d",
				strings.Join(names, ", "), scheduler.Lead, p.Tier, p.limits.ActiveJobs)
			return
		}
	}
}

// crowded returns the jobs that are active when there are more than allowed for the first time, nil if there never are.
func crowded(spans []span, allowed int) []string {
	slices.SortStableFunc(spans, func(a, b span) int { return int(min(1, max(-1, a.begin-b.begin))) })
	var active []span
	for _, s := range spans {
		active = slices.DeleteFunc(active, func(a span) bool { return a.end <= s.begin })
		active = append(active, s)
		if len(active) > allowed {
			var names []string
			for _, a := range active {
				names = append(names, a.job)
			}
			return names
		}
	}
	return nil
}
