package cli

import (
	"fmt"
	"io"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"muster/harness"
)

// bars shows progress on a terminal: a bar for the connect ramp and one for
// each job, with what changes printed above them. mpb owns one goroutine,
// which close joins.
type bars struct {
	all     *mpb.Progress
	connect *mpb.Bar
	jobs    []*mpb.Bar
	news    news
}

func newBars(w io.Writer) *bars {
	return &bars{all: mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh(), mpb.WithWidth(60))}
}

func (b *bars) observe(p harness.Progress) {
	for _, line := range b.news.of(p) {
		fmt.Fprintf(b.all, "%6.1fs  %s\n", p.Elapsed.Seconds(), line)
	}
	if b.connect == nil && p.Fleet.Devices > 0 {
		b.connect = b.bar("connect", int64(p.Fleet.Devices))
	}
	if b.connect != nil {
		b.connect.SetCurrent(int64(p.Fleet.Online))
	}
	for i, j := range p.Jobs {
		if len(b.jobs) <= i {
			b.jobs = append(b.jobs, b.bar(j.Job, max(1, int64(j.Repetitions))))
		}
		b.jobs[i].SetTotal(max(1, j.Targeted)*int64(max(1, j.Repetitions)), false)
		b.jobs[i].SetCurrent(int64(max(0, j.Repetition-1))*j.Targeted + j.Done)
	}
}

// bar adds a bar that shows its count; it is never complete before close, so
// that mpb leaves it where it is.
func (b *bars) bar(name string, total int64) *mpb.Bar {
	return b.all.New(total, mpb.BarStyle().Rbound("|").Lbound("|"),
		mpb.BarNoPop(),
		mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d")),
	)
}

func (b *bars) close() {
	for _, bar := range append(b.jobs, b.connect) {
		if bar != nil {
			bar.Abort(false)
		}
	}
	b.all.Wait()
}
