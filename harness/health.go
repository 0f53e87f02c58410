package harness

import (
	"cmp"
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"muster/fleet"
	"muster/internal/sample"
	"muster/scheduler"
)

const (
	// healthEvery is how often the generator and the hub give account of themselves
	// at least.
	healthEvery = time.Second
	// timerEvery is how often the lateness of timers is looked at.
	timerEvery = 10 * time.Millisecond
)

// health records how the generator itself fares.
type health struct {
	clock  *sample.Clock
	record func(*sample.Health) // takes each account, from run
	asked  chan chan struct{}   // for an account now; what comes over it is closed once there is one
	hand   func(func())         // has a wake wait as a message to a device does; nil: those wait for the poller alone

	mu    sync.Mutex // guards the fields below
	wakes []sample.Wake
	late  time.Duration // the largest lateness of a timer
}

// newHealth returns the health of a process that simulates a fleet.
func newHealth(clock *sample.Clock, hand func(func()), record func(*sample.Health)) *health {
	return &health{clock: clock, record: record, asked: make(chan chan struct{}), hand: hand}
}

// handing is a driver whose messages wait for workers of its own, behind the
// poller. Hand has one of them call f as if that were the handler of a message
// which has just come.
type handing interface{ Hand(f func()) }

// handOf returns how a fleet's messages wait, nil if its drivers say nothing of that.
func handOf(f *fleet.Config) func(func()) {
	if h, ok := f.Driver.(handing); ok {
		return h.Hand
	}
	for _, g := range f.Groups {
		if h, ok := g.Driver.(handing); ok {
			return h.Hand
		}
	}
	return nil
}

// wake takes one of the canary's; it is the emit function of a wakeSource.
func (h *health) wake(w sample.Wake) {
	if h.hand == nil {
		h.woke(w)
		return
	}
	h.hand(func() {
		w.Delay = time.Duration(h.clock.Now() - w.Sent)
		h.woke(w)
	})
}

func (h *health) woke(w sample.Wake) {
	h.mu.Lock()
	h.wakes = append(h.wakes, w)
	h.mu.Unlock()
}

// recordHealth records this process's account, and that of recording beside it.
func (r *run) recordHealth(h *sample.Health) {
	r.samples.Write(h)
	account := r.samples.Account(h.At)
	r.samples.Write(&account)
}

// collector runs the garbage collector of a process while nothing is due there.
// It belongs to one goroutine.
type collector struct{ ready bool }

// collect collects. The first time the fleet has just become ready, and what it
// took to connect is given back to the system: over TLS that is half as much as
// the fleet itself holds, and the runtime would keep it for the next garbage, of
// which there will not soon be as much.
func (c *collector) collect() {
	if c.ready {
		runtime.GC()
		return
	}
	c.ready = true
	debug.FreeOSMemory() // collects, too
}

// collectorOf returns what collects where the devices are.
func collectorOf(f devices) func() {
	if sp, ok := f.(*split); ok {
		return sp.collect
	}
	return new(collector).collect
}

// now has an account recorded, unless run's ctx ends.
func (h *health) now(ctx context.Context) {
	done := make(chan struct{})
	select {
	case <-ctx.Done():
	case h.asked <- done:
		<-done
	}
}

// run records once a second, and when it is asked to, until ctx ends, and then
// once more. Meanwhile it looks how late timers are, by one of its own that does
// not go on while an account is made.
func (h *health) run(ctx context.Context) error {
	timer := time.NewTimer(timerEvery)
	defer timer.Stop()
	due := h.clock.Now().Add(timerEvery)
	second := h.clock.Now().Add(healthEvery)
	for {
		select {
		case <-ctx.Done():
			h.account()
			return nil
		case done := <-h.asked:
			h.account()
			close(done)
		case <-timer.C:
			now := h.clock.Now()
			h.isLate(time.Duration(now - due))
			if now >= second {
				h.account()
				second = max(second.Add(healthEvery), now)
			}
		}
		due = h.clock.Now().Add(timerEvery)
		timer.Reset(timerEvery)
	}
}

func (h *health) isLate(by time.Duration) {
	h.mu.Lock()
	h.late = max(h.late, by)
	h.mu.Unlock()
}

func (h *health) account() {
	h.mu.Lock()
	wakes, late := h.wakes, h.late
	h.wakes, h.late = make([]sample.Wake, 0, len(wakes)), 0
	h.mu.Unlock()
	slices.SortFunc(wakes, func(a, b sample.Wake) int { return cmp.Compare(a.Sent, b.Sent) }) // workers are not in line
	rss, maxRSS := residentBytes()
	h.record(&sample.Health{
		At: h.clock.Now(), Wakes: wakes, TimerLate: late,
		CPU: cpuTime(), RSS: rss, MaxRSS: maxRSS,
		GCPauseP99: gcPauseP99(), Goroutines: int64(runtime.NumGoroutine()),
		Descriptors: openDescriptors(), ClockStep: h.clock.Step(),
	})
}

const (
	tendEvery = 100 * time.Millisecond // between two looks at whether nothing is due
	// A collection beside so many devices takes about collectFor for each on two
	// cores, hub included, and at least leastCollect. It stops nothing, but it
	// takes the processor from who is measured.
	collectFor   = 5 * time.Microsecond
	leastCollect = 500 * time.Millisecond
)

// collectWithin is enough for a collection beside so many devices.
func collectWithin(devices int) time.Duration {
	return max(leastCollect, time.Duration(devices)*collectFor)
}

// tend has the collector run while nothing is due: when the fleet is
// ready and after each repetition. Left to itself it would start in the middle
// of a broadcast, and what devices allocate between two collections would add
// to the process's memory. And just before something is due it has an account
// made, so that what the wait used is told apart from what the job does.
func tend(ctx context.Context, s *scheduler.Scheduler, within time.Duration, collect, account func()) error {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for collected, accounted := false, false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		quiet := s.Quiet()
		soon := quiet <= 2*tendEvery
		if soon && !accounted {
			account()
		}
		accounted = soon
		switch {
		case quiet == 0:
			collected = false // a repetition goes on: there will be garbage again
		case quiet >= within && !collected:
			collect()
			collected = true
		}
	}
}

// cpuTime returns the user and system time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// residentBytes returns how much of this process is resident, and at most was;
// 0 where /proc does not tell. The maximum of getrusage will not do: a process
// inherits it from the one that started it.
func residentBytes() (now, most int64) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	return kibibytes(string(text), "VmRSS:"), kibibytes(string(text), "VmHWM:")
}

// kibibytes returns the value of a line such as "VmRSS:  1024 kB", in bytes.
func kibibytes(text, key string) int64 {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == key {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err == nil {
				return n * 1024
			}
		}
	}
	return 0
}

// openDescriptors counts the open files of this process. Linux since 6.2
// gives the number as the folder's size; elsewhere it is 0, since listing ten
// thousand of them every second would disturb the run that it watches.
func openDescriptors() int64 {
	info, err := os.Stat("/proc/self/fd")
	if err != nil {
		return 0
	}
	return info.Size()
}

// gcPauseP99 returns the 99th percentile of the garbage collector's pauses
// since the process started, as the upper bound of its bucket.
func gcPauseP99() time.Duration {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := s[0].Value.Float64Histogram()
	var total, seen uint64
	for _, n := range h.Counts {
		total += n
	}
	for i, n := range h.Counts {
		seen += n
		if n > 0 && float64(seen) >= 0.99*float64(total) {
			upper := h.Buckets[i+1]
			if math.IsInf(upper, 1) {
				upper = h.Buckets[i]
			}
			return time.Duration(upper * float64(time.Second))
		}
	}
	return 0
}
