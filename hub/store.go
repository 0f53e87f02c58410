package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"muster/hub/internal/store"
	"muster/iothub"
)

// storeFile is what a store's folder holds, beside the CA.
const storeFile = "hub.db"

// Store keeps in a folder what a hub must not forget: identities, twins, the subscriptions of persistent sessions, jobs with
// their rows, and the keys of the policies. OpenStore opens it, a hub is given it by Options.Store and closes it with itself.
//
// # What is kept, and when
//
// The hub works in memory as it does without a store. Each change also puts a record into the store (keep* and drop*), under
// the lock that guards what is changed, so that the order of records is the order of changes. A record is the whole new state
// of one device, job or row: a later one in the same batch replaces it. The store writes batch after batch, each in one
// transaction that is synced to the disk (package store), so that a crash loses the end of the order and nothing else.
//
// What others get to know waits until all records are on disk that were put before it:
//
//   - answers of the REST side, reads and refusals too, since they show the present state (try)
//   - packets to devices that tell of a twin or of a subscription: responses, notifications, and acknowledgements of
//     packets; they keep their order and the connection's reader goes on (tell), as long as not too many wait
//   - the CONNACK to a device that gives its persistent session up
//
// Nothing else waits. When a device was last connected and active is kept with its next change, or when it disconnects.
//
// # Jobs
//
// A method must reach a device at most once. So before the first execution of a block is dispatched, the job's mark is kept: rows
// below it may have been dispatched (marker). After a crash those of them that have no end fail with ServerError; rows from the mark
// on are dispatched then. A twin's change and the end of its row are one record's batch (execution), so it is
// neither lost nor made twice.
//
// A job that waits for its start goes on waiting; if that has passed it starts at once; if its window has passed too, it
// fails the devices that match as the window's end does.
//
// # Failure
//
// When a write fails, the hub has state in memory that is not kept. It answers every request of the REST side with 503001 from
// then on and acknowledges nothing to devices. Failed tells whoever runs the hub, which should close it.
type Store struct {
	db  *store.DB
	dir string

	found found

	mu    sync.Mutex // guards floor, and that it is put in the order in which it rises
	floor floor
}

// OpenStore opens the store in a folder, and makes both if they are not there; they are for their owner only. One hub at a
// time may have it. A store that is damaged, of a newer version or in use is left as it is.
func OpenStore(dir string) (*Store, error) {
	s, err := openStore(dir)
	if err != nil {
		return nil, fmt.Errorf("open the hub's store in %s: %w", dir, err)
	}
	return s, nil
}

func openStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	db, err := store.Open(filepath.Join(dir, storeFile))
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, dir: dir}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is damaged: %w", storeFile, err), db.Close())
	}
	return s, nil
}

// Failed returns a channel that is closed when the store could not be written; Err says why then.
func (s *Store) Failed() <-chan struct{} { return s.db.Failed() }

// Err returns why the store could not be written, or nil.
func (s *Store) Err() error {
	if err := s.db.Err(); err != nil {
		return fmt.Errorf("the hub's store in %s: %w", s.dir, err)
	}
	return nil
}

// Close closes a store that no hub was given; a hub closes its own. All that the hub did is kept then, unless the error
// says why not.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("the hub's store in %s: %w", s.dir, err)
	}
	return nil
}

// wait returns when all that was changed until now is kept.
func (s *Store) wait(ctx context.Context) *iothub.Error {
	if s == nil {
		return nil
	}
	switch err := s.db.Wait(ctx); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errClosed()
	}
	return fault(iothub.CodeServiceUnavailable, "The hub cannot write to its store any more.")
}

// keepDevice keeps a device as it is; its caller has the device's lock, or the device is not known yet.
func (s *Store) keepDevice(d *device) {
	if s != nil {
		s.db.Put(store.Record{Key: store.Key{Kind: store.Device, Seq: d.seq}, Value: d.keptLocked()})
	}
}

// dropDevice forgets a device; its caller has the device's lock.
func (s *Store) dropDevice(d *device) {
	if s == nil {
		return
	}
	s.raise(floor{ETags: d.identity.etag, Devices: d.seq})
	s.db.Put(store.Record{Key: store.Key{Kind: store.Device, Seq: d.seq}})
}

// keepTwin keeps a device whose twin was changed, and with it that an execution of a job has done so. Its caller has the
// device's lock.
func (s *Store) keepTwin(d *device, by *execution) {
	if s == nil {
		return
	}
	device := store.Record{Key: store.Key{Kind: store.Device, Seq: d.seq}, Value: d.keptLocked()}
	if by == nil {
		s.db.Put(device)
		return
	}
	s.db.Put(device, by.applied())
}

// keepJob keeps a new job, whose request this was.
func (s *Store) keepJob(j *job, request []byte) {
	if s != nil {
		s.db.Put(store.Record{
			Key: store.Key{Kind: store.Job, Seq: j.seq}, Value: jobRecord{j.spec.id, j.created.UnixNano(), request},
		}, j.stateLocked())
	}
}

// keepState keeps how far a job is; its caller has the job's lock.
func (s *Store) keepState(j *job) {
	if s != nil {
		s.db.Put(j.stateLocked())
	}
}

// rowBlock is how many of a job's new rows are put at once.
const rowBlock = 1 << 14

// keepRows keeps the rows that a job is about to have. Until its state says how many there are, they count for nothing. Those of a
// large job are put block by block, each when the one before is on disk, so that they are not all in memory once more.
func (s *Store) keepRows(ctx context.Context, j *job, rows []row) error {
	if s == nil {
		return nil
	}
	records := make([]store.Record, 0, min(len(rows), rowBlock))
	for from := 0; from < len(rows); from += len(records) {
		records = records[:0]
		for i := from; i < min(from+rowBlock, len(rows)); i++ {
			records = append(records, j.recordOf(i, rows[i]))
		}
		s.db.Put(records...)
		if from+len(records) == len(rows) {
			break
		}
		if err := s.db.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// keepRow keeps one row of a job; its caller has the job's lock.
func (s *Store) keepRow(j *job, i int) {
	if s != nil {
		s.db.Put(j.rowLocked(i))
	}
}

// executionLocked returns a row that is dispatched as what changes a twin, if a store has to keep it.
func (j *job) executionLocked(i int) *execution {
	if j.hub.store == nil || j.spec.twin == nil {
		return nil
	}
	return &execution{job: j, i: i, row: j.rows[i]}
}

// keepEnd keeps a row that ended and the job that may have ended with it; its caller has the job's lock.
func (s *Store) keepEnd(j *job, i int) {
	if s != nil {
		s.db.Put(j.rowLocked(i), j.stateLocked())
	}
}

// dropJob forgets a job with its rows.
func (s *Store) dropJob(j *job) {
	if s == nil {
		return
	}
	s.raise(floor{Jobs: j.seq})
	s.db.Put(
		store.Record{Key: store.Key{Kind: store.Job, Seq: j.seq}},
		store.Record{Key: store.Key{Kind: store.State, Seq: j.seq}},
		store.Record{Key: store.Key{Kind: store.Row, Seq: j.seq}},
	)
}

// raise keeps that numbers were given out, which what is deleted does not tell any more.
func (s *Store) raise(to floor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor = floor{max(s.floor.ETags, to.ETags), max(s.floor.Devices, to.Devices), max(s.floor.Jobs, to.Jobs)}
	s.db.Put(store.Record{Key: store.Key{Kind: store.Meta, Seq: metaFloor}, Value: s.floor})
}
