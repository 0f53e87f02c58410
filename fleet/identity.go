package fleet

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"

	"muster/iothub"
)

// maxReported bounds how many faulty ids an error lists: they tend to come all
// from one template.
const maxReported = 10

// Identity is what a hub must know of a device: who it is, and its seeded twin.
type Identity struct {
	Index                   uint32
	ID                      string
	Group                   string
	Key                     iothub.Key
	Tags, Desired, Reported json.RawMessage
}

// Identity returns the identity of device i, which must be below Len.
func (f *Fleet) Identity(i int) Identity {
	device := uint32(i)
	g, _ := f.group(device)
	id := f.id(device)
	return Identity{
		Index:    device,
		ID:       id,
		Group:    g.Name,
		Key:      f.key(device, id),
		Tags:     f.seeded(nil, device, tags),
		Desired:  f.seeded(nil, device, desired),
		Reported: f.seeded(nil, device, reported),
	}
}

// ID returns the id of device i, which must be below Len.
func (f *Fleet) ID(i int) string { return f.id(uint32(i)) }

// Group returns the name of the group of device i, which must be below Len.
func (f *Fleet) Group(i int) string {
	g, _ := f.group(uint32(i))
	return g.Name
}

// Index returns the device of an id.
func (f *Fleet) Index(id string) (device uint32, ok bool) { return f.ids.find(f, id) }

// id returns a device's id. It is derived anew each time: a large fleet would
// need more memory for its ids than for all else that is kept of it.
func (f *Fleet) id(device uint32) string {
	g, vars := f.group(device)
	return g.ID.Text(vars)
}

// has reports whether a device has that id.
func (f *Fleet) has(device uint32, id string) bool {
	var space [64]byte // most ids are shorter
	g, vars := f.group(device)
	return string(g.ID.AppendText(space[:0], vars)) == id
}

func (f *Fleet) key(device uint32, id string) iothub.Key {
	if f.cfg.DeviceKey != nil {
		return f.cfg.DeviceKey(int(device), id)
	}
	return seedKey(f.cfg.Seed, device)
}

// seedKey derives a device's key from the seed. Whoever knows the seed knows it.
func seedKey(seed uint64, device uint32) iothub.Key {
	var secret [8]byte
	binary.BigEndian.PutUint64(secret[:], seed)
	var space [32]byte
	key := iothub.Key(secret[:]).Sign(binary.BigEndian.AppendUint32(append(space[:0], "muster device key "...), device))
	return key[:]
}

// index fills the table of ids and reports those that are unfit or not unique.
func (f *Fleet) index() error {
	var errs []error
	f.ids = newIDTable(len(f.devices))
	for i := range f.devices {
		device := uint32(i)
		id := f.id(device)
		if !iothub.ValidDeviceID(id) {
			errs = append(errs, fmt.Errorf("device %d: id %q is not valid", device, id))
		} else if other, ok := f.ids.insert(f, id, device); !ok {
			errs = append(errs, fmt.Errorf("device %d: id %q is also the id of device %d", device, id, other))
		}
		if len(errs) == maxReported {
			errs = append(errs, errors.New("further ids are not checked"))
			break
		}
	}
	return errors.Join(errs...)
}

// idTable finds devices by id. It is an open-addressed hash table that keeps
// indices only and derives the ids that it must compare, four to eight times
// smaller than a map.
type idTable struct {
	seed  maphash.Seed
	slots []uint32 // a device's index plus one; 0: free. Its length is a power of two
}

func newIDTable(devices int) idTable {
	size := 1
	for size < 2*devices {
		size *= 2
	}
	return idTable{seed: maphash.MakeSeed(), slots: make([]uint32, size)}
}

// slot returns the slot that holds id, or the free one where it belongs. There
// always is one: the table is at most half full.
func (t idTable) slot(f *Fleet, id string) *uint32 {
	mask := uint64(len(t.slots) - 1)
	for at := maphash.String(t.seed, id) & mask; ; at = (at + 1) & mask {
		slot := &t.slots[at]
		if *slot == 0 || f.has(*slot-1, id) {
			return slot
		}
	}
}

// insert adds a device, or returns the one that has its id already.
func (t idTable) insert(f *Fleet, id string, device uint32) (other uint32, ok bool) {
	slot := t.slot(f, id)
	if *slot != 0 {
		return *slot - 1, false
	}
	*slot = device + 1
	return 0, true
}

func (t idTable) find(f *Fleet, id string) (device uint32, ok bool) {
	slot := t.slot(f, id)
	return *slot - 1, *slot != 0
}
