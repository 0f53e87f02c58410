package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.etcd.io/bbolt"
)

// ErrClosed says that a store was closed.
var ErrClosed = errors.New("the store is closed")

// DB is an open store. Open makes it, Close ends it.
type DB struct {
	bolt *bbolt.DB
	path string

	wake      chan struct{} // capacity 1: says that there is something to write
	stop      chan struct{} // closed by Close
	failed    chan struct{} // closed with err
	closing   func() error  // close, once
	committer sync.WaitGroup

	mu      sync.Mutex // guards the fields below; never held across a write or a callback
	filling *batch     // takes changes
	flight  *batch     // is being written, or its callbacks called; nil = none
	err     error      // why nothing is kept any more
}

// batch is what is written at once.
type batch struct {
	records map[Key]Value
	told    []func()      // called, in order, when it is written
	done    chan struct{} // closed when that is over, or the store has failed
}

func newBatch() *batch { return &batch{records: make(map[Key]Value), done: make(chan struct{})} }

// Put adds changes to what is written next, all of them at once. It does not block.
func (db *DB) Put(records ...Record) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.err != nil {
		return
	}
	if len(db.filling.records) == 0 {
		select {
		case db.wake <- struct{}{}:
		default: // the committer is told already
		}
	}
	for _, r := range records {
		db.filling.records[r.Key] = r.Value
	}
}

// newestLocked returns the batch after which all changes so far are written, or nil if they are.
func (db *DB) newestLocked() *batch {
	if len(db.filling.records) > 0 {
		return db.filling
	}
	return db.flight
}

// Wait returns nil when all changes that were put until now are on disk. It returns an error if the store has failed, or
// the context ends.
func (db *DB) Wait(ctx context.Context) error {
	db.mu.Lock()
	b, err := db.newestLocked(), db.err
	db.mu.Unlock()
	if err != nil || b == nil {
		return err
	}
	select {
	case <-b.done:
		return db.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// After calls f when all changes that were put until now are on disk: now, or on the committer. Functions are called in
// the order in which they came. If the store has failed f is dropped. It must not block, nor call the store.
func (db *DB) After(f func()) {
	db.mu.Lock()
	b, err := db.newestLocked(), db.err
	if b != nil && err == nil {
		b.told = append(b.told, f)
	}
	db.mu.Unlock()
	if b == nil && err == nil {
		f()
	}
}

// Failed returns a channel that is closed when the store has failed; Err says why then.
func (db *DB) Failed() <-chan struct{} { return db.failed }

// Err returns why nothing is kept any more, or nil.
func (db *DB) Err() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.err
}

// Close writes what was put and closes the file. It returns why the store has failed, if it has. Nothing is kept afterwards.
func (db *DB) Close() error { return db.closing() }

func (db *DB) close() error {
	close(db.stop)
	db.committer.Wait()
	closeErr := db.bolt.Close()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.err != nil {
		return db.err
	}
	db.err = ErrClosed
	if closeErr != nil {
		return fmt.Errorf("close %s: %w", db.path, closeErr)
	}
	return nil
}

// run writes batch after batch until Close.
func (db *DB) run() {
	for open := true; open; {
		select {
		case <-db.wake:
		case <-db.stop:
			open = false
		}
		b := db.take()
		if b == nil {
			continue
		}
		if err := db.commit(b); err != nil {
			db.fail(fmt.Errorf("write %s: %w", db.path, err))
			return
		}
		db.tell(b)
	}
}

// take returns what was put since the last batch was taken, or nil for nothing.
func (db *DB) take() *batch {
	db.mu.Lock()
	defer db.mu.Unlock()
	if len(db.filling.records) == 0 {
		return nil
	}
	db.flight, db.filling = db.filling, newBatch()
	return db.flight
}

// commit writes a batch and syncs the file.
func (db *DB) commit(b *batch) error {
	keys := slices.SortedFunc(maps.Keys(b.records), compare)
	contents := make([][]byte, len(keys))
	for i, k := range keys {
		value := b.records[k]
		if value == nil {
			continue
		}
		var err error
		if contents[i], err = value.Encode(); err != nil {
			return fmt.Errorf("encode %v: %w", k, err)
		}
	}
	return guard(func() error {
		return db.bolt.Update(func(tx *bbolt.Tx) error {
			for i, k := range keys {
				if err := k.write(tx, contents[i]); err != nil {
					return fmt.Errorf("record %v: %w", k, err)
				}
			}
			return nil
		})
	})
}

// tell calls whoever waits for a batch, also those who come meanwhile: they must not overtake.
func (db *DB) tell(b *batch) {
	for {
		db.mu.Lock()
		told := b.told
		b.told = nil
		if len(told) == 0 {
			db.flight = nil
			close(b.done)
			db.mu.Unlock()
			return
		}
		db.mu.Unlock()
		for _, f := range told {
			f()
		}
	}
}

// fail lets go of everything and everybody.
func (db *DB) fail(err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.err = err
	close(db.flight.done)
	if len(db.filling.records) > 0 {
		close(db.filling.done)
	}
	db.flight, db.filling = nil, newBatch()
	close(db.failed)
}
