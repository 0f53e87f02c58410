// Package scheduler decides when a job goes to whom, follows it, and keeps
// the ledger: one outcome for each device that a repetition targeted.
//
// A job goes via hub, which then fans it out and books its end, or via direct:
// the scheduler asks whom a query matches and calls each device itself,
// open-loop, so that latency counts from when a call was due and not from when
// a worker got to it. Either way devices tell what reaches them (Received,
// Answered, Finished), and a receipt finds its execution by the device and by
// what was received: a hub names no job to a device.
//
// While a repetition's window is open its executions are slots of moments,
// indexed by device. When the hub's rows are final, or the last call has
// returned, the window closes and the ledger is written: a final
// sample.Execution for each target and one sample.Repetition. What is
// known of an execution is written before too, not yet final, when its device
// has received it and when it has ended there, so that a run that is killed
// loses no more than what was not flushed.
//
// # Concurrency
//
// New returns a Scheduler whose Received, Answered, Finished, Progress and Quiet
// may be called from any goroutine at any time, before Run and after it. They do
// not block, and receipts allocate nothing once a payload's bytes have been
// seen. Run is called once. It owns every goroutine of the package, one a job,
// one a repetition that overlaps others and one a call on its way, and joins
// them all before it returns.
package scheduler
