package cli

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"muster/harness"
	"muster/scheduler"
)

// bars shows progress on a terminal: a bar for the connect ramp and one for
// each job, with what changes printed above them. mpb owns one goroutine,
// which close joins.
type bars struct {
	w       io.Writer
	all     *mpb.Progress
	connect *mpb.Bar
	jobs    []jobBar
	news    news
}

func newBars(w io.Writer) *bars {
	return &bars{w: w, all: mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh(), mpb.WithWidth(60))}
}

func (b *bars) observe(p standing) {
	for _, line := range b.news.of(&p) {
		fmt.Fprintf(b.all, "%6.1fs  %s\n", p.Elapsed.Seconds(), line)
	}
	if b.connect == nil && p.Fleet.Devices > 0 {
		b.connect = b.bar("connect", new(atomic.Pointer[string]))
	}
	if b.connect != nil && p.Stage != harness.Closing && p.Stage != harness.Reporting {
		b.connect.SetTotal(int64(p.Fleet.Devices), false)
		b.connect.SetCurrent(p.Fleet.Online)
	}
	for i, j := range p.Jobs {
		if len(b.jobs) <= i {
			took := new(atomic.Pointer[string])
			b.jobs = append(b.jobs, jobBar{Bar: b.bar(j.Job, took), took: took})
		}
		b.jobs[i].show(&p.Jobs[i], p.took(i))
	}
}

// jobBar is the bar of a job over all its repetitions.
type jobBar struct {
	*mpb.Bar
	devices int64                   // whom a repetition targets, as far as is known
	took    *atomic.Pointer[string] // how long executions took so far; mpb reads it when it draws
}

func (b *jobBar) show(j *scheduler.Progress, took string) {
	b.took.Store(&took)
	b.devices = max(b.devices, j.Targeted) // a repetition that has just begun targets nobody yet
	b.SetTotal(max(1, b.devices*int64(j.Repetitions)), false)
	b.SetCurrent(int64(max(0, j.Repetition-1))*b.devices + j.Done)
}

// bar adds a bar that shows its count. Without a total of its own it takes
// what it is told, and is never complete before close, so that mpb leaves it
// where it is. What after holds stands behind the count.
func (b *bars) bar(name string, after *atomic.Pointer[string]) *mpb.Bar {
	return b.all.New(0, mpb.BarStyle().Rbound("|").Lbound("|"),
		mpb.BarNoPop(),
		mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d", decor.WCSyncSpaceR), decor.Any(func(decor.Statistics) string {
			if text := after.Load(); text != nil {
				return *text
			}
			return ""
		}, decor.WCSyncSpaceR)),
	)
}

func (b *bars) close(*harness.Result) {
	if b.connect != nil {
		b.connect.Abort(false)
	}
	for _, bar := range b.jobs {
		bar.Abort(false)
	}
	b.all.Wait()
	fmt.Fprintln(b.w)
}
