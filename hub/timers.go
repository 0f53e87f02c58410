package hub

import (
	"container/heap"
	"sync"
	"time"
)

// timers runs every deadline of a hub on one goroutine (the one that calls run), so that ten thousand pending calls
// cost ten thousand heap entries and no goroutine. An owner is told once per arming; it must check for itself, under
// its own lock, that what it waited for did not happen at the same moment.
type timers struct {
	wake chan struct{} // capacity 1: says that an earlier deadline was added

	mu   sync.Mutex // guards heap and the entries in it; never held while an owner is told
	heap deadlines
}

// owner is told that its deadline has passed. It must not block.
type owner interface{ expired(now time.Time) }

// deadline is one entry of timers, to be embedded in what waits.
type deadline struct {
	at    time.Time
	index int // place in the heap plus one; 0 = not armed
	owner owner
}

func newTimers() *timers { return &timers{wake: make(chan struct{}, 1)} }

// arm sets d to expire at the given time, whether or not it was armed before.
func (t *timers) arm(d *deadline, at time.Time, o owner) {
	t.mu.Lock()
	d.at, d.owner = at, o
	if d.index > 0 {
		heap.Fix(&t.heap, d.index-1)
	} else {
		heap.Push(&t.heap, d)
	}
	first := d.index == 1
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
	if d.index > 0 {
		heap.Remove(&t.heap, d.index-1)
	}
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
		if len(t.heap) == 0 {
			t.mu.Unlock()
			return 0, false
		}
		next := t.heap[0]
		if wait := next.at.Sub(now); wait > 0 {
			t.mu.Unlock()
			return wait, true
		}
		heap.Pop(&t.heap)
		owner := next.owner
		t.mu.Unlock()
		owner.expired(now)
	}
}

// deadlines is a heap by time that tells each entry its place.
type deadlines []*deadline

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *deadlines) Push(x any) {
	d := x.(*deadline)
	*h = append(*h, d)
	d.index = len(*h)
}

func (h *deadlines) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	d.index = 0
	return d
}
