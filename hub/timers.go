package hub

import (
	"container/heap"
	"math"
	"math/bits"
	"sync"
	"time"
)

// timers runs every deadline of a hub on one goroutine (the one that calls run), so that a million pending calls cost a
// million entries and no goroutine. An owner is told once per arming; it must check for itself, under its own lock, that
// what it waited for did not happen at the same moment.
//
// Most deadlines are armed in the order in which they pass, as they are the same time ahead: those of a job's calls, or of
// keep-alives. So deadlines about as far ahead stand in a lane of their own, a list in order, of which an end is put off or
// taken out as fast from a million as from one. What would not be in order goes into a heap.
type timers struct {
	epoch time.Time
	wake  chan struct{} // capacity 1: says that an earlier deadline was added

	mu    sync.Mutex // guards what is below and the entries in it; never held while an owner is told
	lanes [lanes]lane
	heap  deadlines
}

// owner is told that its deadline has passed. It must not block.
type owner interface{ expired(now time.Time) }

// deadline is one entry of timers, to be embedded in what waits.
type deadline struct {
	at         time.Duration // after the timers' epoch
	place      int32         // in the heap, plus one; minus the lane's number, plus one; 0 = not armed
	prev, next *deadline     // in the lane
	owner      owner
}

// lane is a list of deadlines, the earliest first.
type lane struct{ first, last *deadline }

// lanes is one for each power of two of seconds ahead, the last one for all above.
const lanes = 16

// laneOf returns the place of the lane for deadlines so far ahead.
func laneOf(ahead time.Duration) int {
	return min(bits.Len64(uint64(max(ahead, 0)/time.Second)), lanes-1)
}

func newTimers() *timers { return &timers{epoch: time.Now(), wake: make(chan struct{}, 1)} }

// arm sets d to expire at the given time, whether or not it was armed before.
func (t *timers) arm(d *deadline, at time.Time, o owner) { t.armAt(time.Now(), d, at, o) }

// armAt is arm for those who have just looked at the clock, as each call of a job does.
func (t *timers) armAt(now time.Time, d *deadline, at time.Time, o owner) {
	ahead := at.Sub(now)
	if since := now.Sub(t.epoch); ahead > math.MaxInt64-since {
		ahead = math.MaxInt64 - since
	}
	t.mu.Lock()
	t.takeLocked(d)
	before := t.nextLocked()
	d.at, d.owner = now.Sub(t.epoch)+ahead, o
	t.putLocked(d, laneOf(ahead))
	first := before == nil || d.at < before.at
	t.mu.Unlock()
	if first {
		select {
		case t.wake <- struct{}{}:
		default: // the goroutine is told already
		}
	}
}

// disarm takes d out; a deadline that is not armed is left alone.
func (t *timers) disarm(d *deadline) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.takeLocked(d)
}

// ahead says whether d, whose owner makes sure that nobody arms it now, passes only after a time.
func (t *timers) ahead(d *deadline, now time.Time) bool { return d.at > now.Sub(t.epoch) }

// putLocked puts a deadline into a lane, or into the heap.
func (t *timers) putLocked(d *deadline, n int) {
	l := &t.lanes[n]
	switch {
	case l.last == nil:
		l.first = d
	case l.last.at <= d.at:
		l.last.next, d.prev = d, l.last
	default:
		heap.Push(&t.heap, d)
		return
	}
	l.last, d.place = d, -int32(n+1)
}

// takeLocked takes a deadline out, if it is in.
func (t *timers) takeLocked(d *deadline) {
	switch {
	case d.place > 0:
		heap.Remove(&t.heap, int(d.place-1))
	case d.place < 0:
		l := &t.lanes[-d.place-1]
		if d.prev == nil {
			l.first = d.next
		} else {
			d.prev.next = d.next
		}
		if d.next == nil {
			l.last = d.prev
		} else {
			d.next.prev = d.prev
		}
		d.prev, d.next, d.place = nil, nil, 0
	}
}

// nextLocked returns the earliest deadline, or nil.
func (t *timers) nextLocked() (next *deadline) {
	if len(t.heap) > 0 {
		next = t.heap[0]
	}
	for i := range t.lanes {
		if d := t.lanes[i].first; d != nil && (next == nil || d.at < next.at) {
			next = d
		}
	}
	return next
}

// run tells owners until stop is closed.
func (t *timers) run(stop <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if wait, ok := t.fire(); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-timer.C:
		case <-t.wake:
		case <-stop:
			return
		}
	}
}

// fire tells the owners of all deadlines that have passed, and returns how long it is until the next one, if there is one.
func (t *timers) fire() (wait time.Duration, ok bool) {
	for {
		now := time.Now()
		t.mu.Lock()
		next := t.nextLocked()
		if next == nil {
			t.mu.Unlock()
			return 0, false
		}
		if wait := next.at - now.Sub(t.epoch); wait > 0 {
			t.mu.Unlock()
			return wait, true
		}
		t.takeLocked(next)
		owner := next.owner
		t.mu.Unlock()
		owner.expired(now)
	}
}

// deadlines is a heap by time that tells each entry its place.
type deadlines []*deadline

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].at < h[j].at }
func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = int32(i+1), int32(j+1)
}

func (h *deadlines) Push(x any) {
	d := x.(*deadline)
	*h = append(*h, d)
	d.place = int32(len(*h))
}

func (h *deadlines) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	d.place = 0
	return d
}
