// Package store keeps a hub's records in one file: every change in the order in which it was made, many of them at once.
//
// Changes are put into the batch that is being filled; one goroutine, the committer, takes it, writes it in one transaction of
// bbolt and tells whoever waits. So a change costs its caller a map entry under a lock, and the disk is synced once for all
// that came while the last sync was under way. The batches are prefixes of the order of changes: after a crash there is all
// up to some moment and nothing of what came later.
//
// What is shown outside must wait: Wait blocks until all changes so far are on disk, After calls a function then. When nothing
// is on its way both are done at once.
//
// A store that could not write is failed: it takes no more changes, and nobody is told that any is kept.
//
// # Concurrency
//
// All methods may be called from many goroutines at once, and under the caller's locks: Put and After never block. The
// committer is owned by the DB: it begins in Open and ends, after what was put until then, in Close.
package store
