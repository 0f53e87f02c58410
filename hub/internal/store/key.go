package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"
)

// Kind says what a record is about.
type Kind uint8

// The kinds of records.
const (
	Meta   Kind = iota // of the hub itself
	Device             // of a device by its place in the order of registration
	Job                // what was asked for, by the job's place in the order of creation
	State              // how far a job is
	Row                // one execution of a job
	kinds
)

// buckets are the kinds' names in the file. A job's rows are in a bucket of their own in the one of all rows.
var buckets = [kinds][]byte{[]byte("meta"), []byte("devices"), []byte("jobs"), []byte("states"), []byte("rows")}

// Key names a record.
type Key struct {
	Kind Kind
	Seq  uint64
	Row  uint32 // of a Row
}

// Value is a record's content, encoded by the committer; it must not change once it was put.
type Value interface{ Encode() ([]byte, error) }

// Record is a change: a key with its new value. Without a value the record is deleted, and of kind Row all rows of the job.
type Record struct {
	Key   Key
	Value Value
}

// compare orders keys as they stand in the file, which is the order that is the fastest to write.
func compare(a, b Key) int {
	switch {
	case a.Kind != b.Kind:
		return int(a.Kind) - int(b.Kind)
	case a.Seq < b.Seq:
		return -1
	case a.Seq > b.Seq:
		return 1
	}
	return int(int64(a.Row) - int64(b.Row))
}

func (k Key) String() string {
	if k.Kind == Row {
		return fmt.Sprintf("%s/%d/%d", buckets[k.Kind], k.Seq, k.Row)
	}
	return fmt.Sprintf("%s/%d", buckets[k.Kind], k.Seq)
}

// seq and row are the parts of a key in the file: big-endian, so that their order is that of the numbers.
func (k Key) seq() []byte { return binary.BigEndian.AppendUint64(nil, k.Seq) }
func (k Key) row() []byte { return binary.BigEndian.AppendUint32(nil, k.Row) }

// write makes the change of a key in a transaction; no content deletes.
func (k Key) write(tx *bbolt.Tx, content []byte) error {
	b, seq := tx.Bucket(buckets[k.Kind]), k.seq()
	switch {
	case content == nil && k.Kind == Row:
		if b.Bucket(seq) == nil {
			return nil
		}
		return errors.Join(b.DeleteBucket(seq), count(b, -1))
	case content == nil:
		if b.Get(seq) == nil {
			return nil
		}
		return errors.Join(b.Delete(seq), count(b, -1))
	case k.Kind != Row:
		return put(b, seq, k.seal(content))
	}
	rows := b.Bucket(seq)
	if rows == nil {
		var err error
		if rows, err = b.CreateBucket(seq); err != nil {
			return err
		}
		if err := count(b, 1); err != nil {
			return err
		}
	}
	return put(rows, k.row(), k.seal(content))
}

// put sets a key's value in a bucket.
func put(b *bbolt.Bucket, key, value []byte) error {
	if b.Get(key) == nil {
		if err := count(b, 1); err != nil {
			return err
		}
	}
	return b.Put(key, value)
}

// count keeps how many keys a bucket has, as its sequence, so that a damaged page cannot hide some.
func count(b *bbolt.Bucket, more int) error { return b.SetSequence(b.Sequence() + uint64(more)) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errChecksum = errors.New("its checksum is another one")

// sum is the checksum of a record: of its key too, so that no record is taken for another.
func (k Key) sum(content []byte) uint32 {
	head := append(append([]byte{byte(k.Kind)}, k.seq()...), k.row()...)
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, content)
}

// seal puts the checksum before the content, open takes it off again.
func (k Key) seal(content []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, len(content)+4), k.sum(content)), content...)
}

func (k Key) open(sealed []byte) ([]byte, error) {
	if len(sealed) < 4 || binary.BigEndian.Uint32(sealed) != k.sum(sealed[4:]) {
		return nil, errChecksum
	}
	return sealed[4:], nil
}

// parseKey reads a key back; row is nil of a kind that has no rows.
func parseKey(kind Kind, seq, row []byte) (Key, bool) {
	if len(seq) != 8 || row != nil && len(row) != 4 {
		return Key{Kind: kind}, false
	}
	k := Key{Kind: kind, Seq: binary.BigEndian.Uint64(seq)}
	if row != nil {
		k.Row = binary.BigEndian.Uint32(row)
	}
	return k, true
}
