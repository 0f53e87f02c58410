package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// format is the version of the file's content, and of what the records hold. A program reads its own and none that is newer.
const format = 1

var (
	header    = []byte("muster hub") // the bucket that tells a store from other files of bbolt
	formatKey = []byte("format")
)

// ErrInUse says that another process, or another DB, has the file.
var ErrInUse = errors.New("it is in use by another hub")

// Open opens the store in a file, or makes one, and begins the committer. The file is for its owner only. A file that is
// damaged, of another program, of a newer version or in use is left as it is, and the error says which.
func Open(path string) (*DB, error) {
	db := &DB{
		path: path, wake: make(chan struct{}, 1), stop: make(chan struct{}), failed: make(chan struct{}), filling: newBatch(),
	}
	db.closing = sync.OnceValue(db.close)
	fresh, err := examine(path)
	if err == nil {
		db.bolt, err = openFile(path, false)
	}
	if err != nil {
		return nil, err
	}
	if fresh {
		if err := db.bolt.Update(format1); err != nil {
			return nil, errors.Join(err, db.bolt.Close())
		}
		if err := syncFolder(filepath.Dir(path)); err != nil {
			return nil, errors.Join(err, db.bolt.Close())
		}
	}
	db.committer.Go(db.run)
	return db, nil
}

// openFile lets bbolt open the file. It keeps no list of its free pages in it, but finds them at each start: that saves writing,
// and a damaged list would let it write over what is kept.
func openFile(path string, readOnly bool) (b *bbolt.DB, err error) {
	err = guard(func() (err error) {
		b, err = bbolt.Open(path, 0o600, &bbolt.Options{
			ReadOnly:       readOnly,
			Timeout:        time.Nanosecond, // to wait for the lock: one try
			FreelistType:   bbolt.FreelistMapType,
			NoFreelistSync: true,
			NoStatistics:   true,
		})
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return nil, fmt.Errorf("%s is damaged, or not a hub's: %w", filepath.Base(path), err)
	}
	return b, err
}

// format1 makes an empty file a store.
func format1(tx *bbolt.Tx) error {
	b, err := tx.CreateBucket(header)
	if err == nil {
		err = put(b, formatKey, strconv.AppendInt(nil, format, 10))
	}
	for _, name := range buckets {
		if err == nil {
			_, err = tx.CreateBucket(name)
		}
	}
	return err
}

// examine reads a file without changing it, and says whether it is to become a store.
//
// It does what bbolt does when it opens a file for writing, and more. There that runs on a goroutine of bbolt's, where
// a reference to a place that does not exist would end the process.
func examine(path string) (fresh bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	case info.IsDir():
		return false, fmt.Errorf("%s is a folder", filepath.Base(path))
	case info.Size() == 0:
		return true, nil
	}
	b, err := openFile(path, true)
	if err != nil {
		return false, err
	}
	err = guard(func() error {
		return b.View(func(tx *bbolt.Tx) error {
			if info.Size() < tx.Size() {
				return fmt.Errorf("%s is damaged: it has %d bytes of %d", filepath.Base(path), info.Size(), tx.Size())
			}
			if fresh, err = known(tx); err != nil {
				return err
			}
			return whole(tx)
		})
	})
	return fresh, errors.Join(err, b.Close())
}

// errDamaged is all that can be said of a file whose parts do not fit together.
var errDamaged = errors.New("the file is damaged")

// whole checks the file's structure: all buckets, and that they do not take more pages than there are.
func whole(tx *bbolt.Tx) error {
	pages := 0
	err := tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
		if err := readable(b); err != nil {
			return err
		}
		s := b.Stats()
		pages += s.BranchPageN + s.BranchOverflowN + s.LeafPageN + s.LeafOverflowN
		return nil
	})
	if err == nil && int64(pages)*int64(os.Getpagesize()) > tx.Size() {
		err = errDamaged
	}
	return err
}

// readable checks that a bucket has as many keys as it counted, that they are in order and that each is found where it stands,
// which reads all that there is.
func readable(b *bbolt.Bucket) error {
	var last []byte
	keys := uint64(0)
	err := b.ForEach(func(key, value []byte) error {
		keys++
		if last != nil && bytes.Compare(last, key) >= 0 {
			return errDamaged
		}
		last = key
		if value != nil {
			if !bytes.Equal(b.Get(key), value) {
				return errDamaged
			}
			return nil
		}
		inner := b.Bucket(key)
		if inner == nil {
			return errDamaged
		}
		return readable(inner)
	})
	if err == nil && keys != b.Sequence() {
		err = errDamaged
	}
	return err
}

// known says whether the file is a hub's; one that is empty becomes one.
func known(tx *bbolt.Tx) (fresh bool, err error) {
	b := tx.Bucket(header)
	if b == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return false, fmt.Errorf("%s is not a hub's", filepath.Base(tx.DB().Path()))
		}
		return true, nil
	}
	n, err := strconv.Atoi(string(b.Get(formatKey)))
	switch {
	case err != nil || n < 1:
		return false, fmt.Errorf("%s is damaged: it has no format", filepath.Base(tx.DB().Path()))
	case n > format:
		return false, fmt.Errorf("a newer muster wrote it, in format %d; this one reads up to %d", n, format)
	}
	for _, name := range buckets {
		if tx.Bucket(name) == nil {
			return false, fmt.Errorf("%s is damaged: it has no %s", filepath.Base(tx.DB().Path()), name)
		}
	}
	return false, nil
}

// Load calls f with every record, by kind and in the order of keys. The content is f's to keep.
func (db *DB) Load(f func(k Key, content []byte) error) error {
	return guard(func() error {
		return db.bolt.View(func(tx *bbolt.Tx) error {
			for kind := range kinds {
				if err := loadKind(tx, kind, f); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func loadKind(tx *bbolt.Tx, kind Kind, f func(Key, []byte) error) error {
	all := tx.Bucket(buckets[kind])
	return all.ForEach(func(seq, sealed []byte) error {
		k, ok := parseKey(kind, seq, nil)
		switch {
		case !ok || (sealed == nil) != (kind == Row):
			return fmt.Errorf("a key of %s is malformed", buckets[kind])
		case sealed != nil:
			return load(k, sealed, f)
		}
		return all.Bucket(seq).ForEach(func(row, sealed []byte) error {
			k, ok := parseKey(kind, seq, row)
			if !ok || sealed == nil {
				return fmt.Errorf("a key of %v is malformed", k)
			}
			return load(k, sealed, f)
		})
	})
}

func load(k Key, sealed []byte, f func(Key, []byte) error) error {
	content, err := k.open(sealed)
	if err == nil {
		err = f(k, append([]byte(nil), content...)) // the file's memory is not ours
	}
	if err != nil {
		return fmt.Errorf("record %v: %w", k, err)
	}
	return nil
}

// guard calls f, and makes an error of what bbolt panics with when a file is not as it left it, and of a fault in the
// memory that the file is mapped to.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return f()
}

// syncFolder makes the entry of a new file in its folder durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
