package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"

	"muster/internal/query"
	"muster/iothub"
)

// job is one broadcast: a method or a twin change on the devices that match when it starts.
//
//	queued ──▶ scheduled ──▶ running ──▶ completed    each execution ended, well or not
//	   ├───────────┴──▶ cancelled                     by request, before it runs
//	   └──▶ failed                                    the condition does not parse
//
// A job that a store has kept begins in the status that it had, and goes on (restart).
//
// It runs on one goroutine (run, owned by Hub.tasks) that dispatches executions; answers end them on the goroutines
// of the connections' readers, and the end of the window (maxExecutionTimeInSeconds) on that of the timers.
type job struct {
	deadline // of the start, then of the window's end

	hub      *Hub
	spec     jobSpec
	created  time.Time
	seq      uint64 // order of creation
	restored bool   // from a store
	due      int    // rows that the store should have, -1 before there are any; while it is read

	mu      sync.Mutex // guards the fields below; never held while a call is begun or ended
	status  iothub.JobStatus
	failure string
	started time.Time
	ended   time.Time
	rows    []row // one a device, in order of registration, once the condition is evaluated; never moved or shortened
	mark    int   // with a store: rows below it may have been dispatched
	count   jobCounts
	last    outcome            // of a row: most others are equal to it
	stop    context.CancelFunc // ends dispatching
}

// jobSpec is what was asked for.
type jobSpec struct {
	id        string
	kind      iothub.JobType
	method    *methodRequest // of a method job
	twin      *twinPatch     // of a twin job
	condition string
	where     *query.Condition
	whereErr  error // the job fails with it, but only after it was accepted
	start     time.Time
	asked     iothub.Time // start as given, for documents
	window    time.Duration

	methodDoc *iothub.Method  // cloudToDeviceMethod as given
	twinDoc   json.RawMessage // updateTwin as given
}

// jobCounts counts rows by state, at each change, so that statistics cost nothing.
type jobCounts struct{ pending, running, succeeded, failed int }

// row is one execution: one device's part in a job.
type row struct {
	dev        *device
	status     rowStatus
	start, end int64 // when it was dispatched and when it ended, Unix time in ns; 0 = not yet
	call       *call // while a method runs
	outcome          // once it ended
}

// outcome is how a row ended. Rows of a job that ended alike share what they have: a million answers are few as a rule.
type outcome struct {
	err    *iothub.Error
	answer *answer // to a method
}

// answer is what a device said. It never changes.
type answer struct {
	status  int
	payload []byte
}

func (o outcome) result() callResult {
	r := callResult{err: o.err}
	if o.answer != nil {
		r.status, r.payload = o.answer.status, o.answer.payload
	}
	return r
}

// sharedLocked returns a result as an outcome, which is the last one as far as that is equal.
func (j *job) sharedLocked(r callResult) (o outcome) {
	if e, last := r.err, j.last.err; e != nil {
		if last == nil || last.Code != e.Code || last.StatusCode != e.StatusCode || last.Name != e.Name || last.Message != e.Message {
			j.last.err = e
		}
		o.err = j.last.err
	}
	if last := j.last.answer; r.payload != nil {
		if last == nil || last.status != r.status || !bytes.Equal(last.payload, r.payload) {
			j.last.answer = &answer{r.status, bytes.Clone(r.payload)}
		}
		o.answer = j.last.answer
	}
	return o
}

type rowStatus uint8

const (
	rowPending rowStatus = iota
	rowRunning
	rowCompleted
	rowFailed
)

// schedule lets a queued job wait for its start. A condition that does not parse fails it right away.
func (j *job) schedule() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.status != iothub.JobQueued { // cancelled already
		return
	}
	if j.spec.whereErr != nil {
		j.failLocked("SQL query parse failed due to following errors: " + j.spec.whereErr.Error())
		return
	}
	j.status = iothub.JobScheduled
	j.hub.store.keepState(j)
	j.hub.timers.arm(&j.deadline, j.spec.start, j)
}

// expired is told by the timers: the start has come, or the window is over.
func (j *job) expired(time.Time) {
	j.mu.Lock()
	status := j.status
	j.mu.Unlock()
	switch status {
	case iothub.JobScheduled:
		j.hub.spawn(j.run)
	case iothub.JobRunning:
		j.hub.spawn(j.close) // it may have a million rows to end
	}
}

// cancel ends a job that has not begun.
func (j *job) cancel() *iothub.Error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.status != iothub.JobQueued && j.status != iothub.JobScheduled {
		return errJobState(j.spec.id, j.status)
	}
	j.status, j.ended = iothub.JobCancelled, time.Now()
	j.hub.store.keepState(j)
	j.hub.timers.disarm(&j.deadline)
	return nil
}

func (j *job) failLocked(why string) {
	j.status, j.failure, j.ended = iothub.JobFailed, why, time.Now()
	j.hub.store.keepState(j)
}

// run begins the job at its start, resume goes on with one that had begun before a restart.
func (j *job) run()    { j.work(j.begin) }
func (j *job) resume() { j.work(j.reopen) }

// work evaluates the job's condition and dispatches its executions. The window's end stops both; if it has passed already,
// nobody is reached.
func (j *job) work(open func(stop context.CancelFunc) bool) {
	ctx, cancel := context.WithCancel(j.hub.ctx)
	defer cancel()
	if !open(cancel) {
		return
	}
	end := j.spec.start.Add(j.spec.window)
	over := j.restored && !end.After(time.Now())
	if !over {
		j.hub.timers.arm(&j.deadline, end, j)
	}
	if !j.enrolled() {
		devices, err := j.hub.match(ctx, j.spec.where)
		if err != nil || !j.enroll(ctx, devices) {
			return
		}
	}
	if over {
		j.close()
		return
	}
	j.dispatchAll(ctx)
}

// dispatchAll dispatches what is pending, each execution when it is due.
func (j *job) dispatchAll(ctx context.Context) {
	turn := time.Now()
	j.hub.pacer.join(turn)
	defer j.hub.pacer.leave()
	var err error
	var ahead marker
	var calls []call // the rest of a block, which is released with the last of its rows
	// The window's end ends rows block by block: none may be begun meanwhile.
	for i, n := 0, len(j.rows); i < n && ctx.Err() == nil; i++ {
		if j.restored && !j.isPending(i) {
			continue
		}
		if wait := time.Until(j.hub.pacer.next()); wait > 0 && sleep(ctx, wait) != nil {
			return
		}
		if turn, err = j.hub.throttle.awaitExecution(ctx, turn); err != nil || j.hub.gate.wait(ctx) != nil || j.hub.faults.awaitUp(ctx) != nil {
			return
		}
		if j.hub.store != nil && ahead.pass(j, i) != nil {
			return
		}
		if j.spec.method == nil {
			j.dispatch(i, nil)
			continue
		}
		if len(calls) == 0 {
			calls = make([]call, min(n-i, callBlock))
		}
		j.dispatch(i, &calls[0])
		calls = calls[1:]
	}
}

// begin opens the job's window; it reports false if the job was cancelled meanwhile.
func (j *job) begin(stop context.CancelFunc) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.status != iothub.JobScheduled {
		return false
	}
	j.status, j.stop, j.started = iothub.JobRunning, stop, time.Now()
	j.hub.store.keepState(j)
	return true
}

// reopen opens the window of a job that had begun.
func (j *job) reopen(stop context.CancelFunc) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stop = stop
	return true
}

// enrolled says whether the rows are made.
func (j *job) enrolled() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rows != nil
}

func (j *job) isPending(i int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rows[i].status == rowPending
}

// enroll makes the rows; it reports false if there is nothing to do, or no time left for it.
func (j *job) enroll(ctx context.Context, devices []*device) bool {
	rows := make([]row, len(devices))
	for i, d := range devices {
		rows[i].dev = d
	}
	if j.hub.store.keepRows(ctx, j, rows) != nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.status != iothub.JobRunning { // the window is over
		return false
	}
	j.rows, j.count.pending = rows, len(rows)
	if len(rows) == 0 {
		j.status, j.ended = iothub.JobCompleted, time.Now()
		j.hub.timers.disarm(&j.deadline)
	}
	j.hub.store.keepState(j) // the rows are there from now on
	return len(rows) > 0
}

// callBlock is how many calls are made at once. What is left of a job whose answers came is a block a straggler.
const callBlock = 256

// dispatch begins one execution; c is for a method's call.
func (j *job) dispatch(i int, c *call) {
	j.mu.Lock()
	r := &j.rows[i]
	if r.status != rowPending { // the window is over
		j.mu.Unlock()
		return
	}
	now := time.Now()
	r.status, r.start = rowRunning, now.UnixNano()
	j.count.pending--
	j.count.running++
	dev := r.dev
	if j.spec.method != nil {
		*c = call{hub: j.hub, dev: dev, req: j.spec.method, sink: j, row: i}
		r.call = c
	}
	j.hub.store.keepRow(j, i)
	by := j.executionLocked(i)
	j.mu.Unlock()
	j.hub.counters.executions.Add(1)

	var err *iothub.Error
	if j.spec.method != nil {
		if err = j.hub.invoke(c, now); err == nil {
			return // its answer or timeout ends the row
		}
	} else {
		err = j.hub.patchTwin(dev, j.spec.twin, "*", by)
	}
	j.end(i, callResult{err: err})
}

// finished is told when an execution's call has ended.
func (j *job) finished(c *call, r callResult) { j.end(c.row, r) }

// end ends one execution, unless the window's end has done so, and with the last one the job.
func (j *job) end(i int, result callResult) {
	now := time.Now()
	j.mu.Lock()
	last := j.endLocked(i, result, now)
	j.mu.Unlock()
	if last {
		j.hub.timers.disarm(&j.deadline)
	}
}

// endLocked ends one row and reports whether the job ended with it.
func (j *job) endLocked(i int, result callResult, now time.Time) bool {
	r := &j.rows[i]
	switch r.status {
	case rowPending:
		j.count.pending--
	case rowRunning:
		j.count.running--
	default:
		j.hub.store.keepRow(j, i) // what ended it counts, and not that it was applied
		return false
	}
	r.end, r.outcome, r.call = now.UnixNano(), j.sharedLocked(result), nil
	if result.err != nil {
		r.status = rowFailed
		j.count.failed++
	} else {
		r.status = rowCompleted
		j.count.succeeded++
	}
	if j.count.pending+j.count.running > 0 {
		j.hub.store.keepRow(j, i)
		return false
	}
	j.status, j.ended = iothub.JobCompleted, now
	j.hub.store.keepEnd(j, i)
	return true
}

// closeBlock is how many rows the window's end ends at once: the job's lock is not held longer, as all readers want it.
const closeBlock = 4096

// close ends the job's window: what is not done fails, and calls on their way are given up.
func (j *job) close() {
	j.mu.Lock()
	if j.status != iothub.JobRunning {
		j.mu.Unlock()
		return
	}
	n, stop := len(j.rows), j.stop
	if n == 0 { // they were not made yet, and will not be
		j.status, j.ended = iothub.JobCompleted, time.Now()
		j.hub.store.keepState(j)
	}
	j.mu.Unlock()
	stop()
	var calls []*call
	for from := 0; from < n; from += closeBlock {
		calls = j.closeRows(from, min(from+closeBlock, n), calls[:0])
		for _, c := range calls {
			c.abandon()
		}
	}
}

// closeRows ends some rows as the window's end does. The last one ends the job. It appends the calls that are to be given up.
func (j *job) closeRows(from, to int, calls []*call) []*call {
	unsent, unanswered := callResult{err: errWindowOver()}, callResult{err: errNoResponse(j.spec.window)}
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now() // no row has begun after that
	for i := from; i < to; i++ {
		switch r := &j.rows[i]; r.status {
		case rowPending:
			j.endLocked(i, unsent, now)
		case rowRunning:
			if r.call != nil {
				calls = append(calls, r.call)
			}
			j.endLocked(i, unanswered, now)
		}
	}
	return calls
}
