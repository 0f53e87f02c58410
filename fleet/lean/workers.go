package lean

import (
	"runtime"
	"slices"
	"sync"
)

// inARow is how many tasks a worker does before it lets others run, timers and the
// network poller among them: the runtime interrupts nobody before 10 ms.
const inARow = 32

// task is something that a worker does.
type task interface{ run() }

// workers do tasks, which may block. Tasks wait in one queue; who has done one
// takes the next, so that under load a few workers do all and nobody has to wake
// one.
//
// As long as a task waits, a worker is hunting: one that was called, or has let
// others run, and has not looked into the queue since. Who puts a task in calls one
// if none hunts, and so does who takes a task out and leaves others. So no task
// waits for one that blocks, and one hunts at a time but for those that have let
// others run.
type workers struct {
	group sync.WaitGroup // each ends at close, or with its task

	mu      sync.Mutex // guards the fields below; never held across a task or a call
	queue   queue
	hunting int       // above 0 while the queue is not empty
	idle    []*worker // who was busy last is busy next: its stack is warm
	spare   int       // how few were idle since the last look
	stopped bool
}

// worker is a goroutine that does tasks while there are some, and then is idle
// until it is called.
type worker struct {
	calls chan bool // one call, so that who calls never waits: whether to hunt, or to end
}

// call calls the worker, if it is one.
func (w *worker) call(hunt bool) {
	if w != nil {
		w.calls <- hunt
	}
}

// dispatch lets a worker do a task. After close nothing is done any more.
func (ws *workers) dispatch(t task) {
	ws.mu.Lock()
	var hunter *worker
	if !ws.stopped {
		ws.queue.push(t)
		hunter = ws.hunterLocked()
	}
	ws.mu.Unlock()
	hunter.call(true)
}

// hunterLocked returns a worker that must be called, one that is idle or a new one,
// if tasks wait and none hunts; else nil.
func (ws *workers) hunterLocked() *worker {
	if ws.hunting > 0 || ws.queue.empty() {
		return nil
	}
	ws.hunting++
	last := len(ws.idle) - 1
	if last < 0 {
		w := &worker{calls: make(chan bool, 1)}
		ws.group.Go(func() { ws.work(w) })
		return w
	}
	w := ws.idle[last]
	ws.idle = ws.idle[:last]
	ws.spare = min(ws.spare, last)
	return w
}

// work does tasks each time the worker is called.
func (ws *workers) work(w *worker) {
	for <-w.calls {
		for n, t := 1, ws.take(w, true); t != nil; n++ {
			t.run()
			t = ws.take(w, n%inARow == 0 && ws.yield())
		}
	}
}

// yield lets other goroutines run, and reports whether the worker hunts since, as
// one does that will look into the queue whatever comes.
func (ws *workers) yield() bool {
	ws.mu.Lock()
	hunts := !ws.queue.empty()
	if hunts {
		ws.hunting++
	}
	ws.mu.Unlock()
	if hunts {
		runtime.Gosched()
	}
	return hunts
}

// take returns the next task. If there is none it is nil, and the worker idle;
// after close, called to its end.
func (ws *workers) take(w *worker, hunts bool) task {
	ws.mu.Lock()
	if hunts {
		ws.hunting--
	}
	t := ws.queue.pop()
	hunter, hunt := ws.hunterLocked(), true
	switch {
	case t != nil:
	case ws.stopped:
		hunter, hunt = w, false
	default:
		ws.idle = append(ws.idle, w)
	}
	ws.mu.Unlock()
	hunter.call(hunt)
	return t
}

// dismissSpare ends the workers that had nothing to do since the last call.
func (ws *workers) dismissSpare() {
	ws.mu.Lock()
	spare := slices.Clone(ws.idle[:ws.spare])
	ws.idle = slices.Delete(ws.idle, 0, ws.spare)
	ws.spare = len(ws.idle)
	ws.mu.Unlock()
	dismiss(spare)
}

// close ends the workers once they have done what was dispatched.
func (ws *workers) close() {
	ws.mu.Lock()
	ws.stopped = true
	idle := ws.idle
	ws.idle, ws.spare = nil, 0
	ws.mu.Unlock()
	dismiss(idle)
}

func dismiss(idle []*worker) {
	for _, w := range idle {
		w.call(false)
	}
}
