package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"muster/iothub"
)

// Deprovision deletes the fleet's devices, those of its own alone. At the end
// the hub's queries see none of them. An error that is a ForeignError says which
// ones were left because they are somebody else's.
func Deprovision(ctx context.Context, o Options) (Summary, error) {
	p := newProvisioner(o)
	s := Summary{Devices: p.Fleet.Len()}
	deleted := map[int]bool{}
	var others error
	limit := time.Now().Add(p.Settle)
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		found, err := p.look(ctx, p.all(), "looking")
		if err == nil {
			others = p.claim(ctx, found)
		}
		var left *ForeignError
		if err == nil && others != nil && !errors.As(others, &left) {
			err = others
		}
		if err != nil {
			return s, err
		}
		doomed, lagging := found.doomed(deleted)
		if p.DryRun {
			s.Deleted = len(doomed)
			s.Absent = s.Devices - s.Deleted - foreigners(others)
			return s, others
		}
		if err := p.remove(ctx, doomed, deleted, &s); err != nil {
			return s, err
		}
		if len(doomed) > 0 {
			limit = time.Now().Add(p.Settle) // it goes on
		}
		if len(doomed)+lagging == 0 {
			s.Absent = s.Devices - s.Deleted - foreigners(others)
			return s, others
		}
		if len(doomed) == 0 && time.Now().After(limit) {
			return s, fmt.Errorf("the devices are deleted, but after %v the hub's queries still show %d of them", p.Settle, lagging)
		}
		if err := sleep(ctx, wait); err != nil {
			return s, err
		}
	}
}

// foreigners returns how many devices an error of claim is about.
func foreigners(err error) int {
	var others *ForeignError
	if errors.As(err, &others) {
		return others.Count
	}
	return 0
}

// doomed returns the devices to delete, and how many are gone though the query
// still shows them.
func (f *findings) doomed(deleted map[int]bool) (doomed []finding, lagging int) {
	lagging = f.gone
	for _, own := range f.own {
		if deleted[own.index] {
			lagging++
		} else {
			doomed = append(doomed, own)
		}
	}
	return doomed, lagging
}

// remove deletes devices a hundred at a time, each only if it is as it was
// looked at.
func (p *provisioner) remove(ctx context.Context, doomed []finding, deleted map[int]bool, s *Summary) error {
	etags := make(map[int]string, len(doomed))
	devices := make([]int, len(doomed))
	for n := range doomed {
		devices[n] = doomed[n].index
		etags[doomed[n].index] = doomed[n].deviceETag
	}
	count := newCounter(p, "deleting", len(devices))
	err := p.each(ctx, devices, func(ctx context.Context, part []int) error {
		if err := p.removeSome(ctx, part, etags); err != nil {
			return err
		}
		count.add(len(part))
		return nil
	})
	s.Deleted += count.done()
	for _, i := range devices {
		deleted[i] = err == nil
	}
	return err
}

func (p *provisioner) removeSome(ctx context.Context, part []int, etags map[int]string) error {
	entries := make([]iothub.BulkEntry, len(part))
	for n, i := range part {
		entries[n] = iothub.BulkEntry{ID: p.Fleet.ID(i), ETag: etags[i], ImportMode: iothub.ImportDeleteIfMatch}
	}
	result, err := p.Client.Bulk(ctx, entries)
	if err != nil {
		return err
	}
	for _, e := range result.Errors {
		if e.ErrorCode != iothub.CodeDeviceNotFound.Name() { // somebody else was faster
			return fmt.Errorf("delete device %s: %s: %s; run the same command again", e.DeviceID, e.ErrorCode, e.ErrorStatus)
		}
	}
	return nil
}

// NotProvisionedError says that a hub does not have the fleet.
type NotProvisionedError struct {
	Missing, Devices int
	First            string // one that is missing
}

// Error tells how many are missing.
func (e *NotProvisionedError) Error() string {
	return fmt.Sprintf("%d of the fleet's %d devices are not on the hub, such as %s", e.Missing, e.Devices, e.First)
}

// Check makes sure that the hub has the fleet, and takes over how it has the
// devices' twins, which jobs may have changed since they were made.
func Check(ctx context.Context, o Options) error {
	p := newProvisioner(o)
	found, err := p.lookAt(ctx, p.all(), "looking", p.adopt)
	if err != nil {
		return err
	}
	if err := p.claim(ctx, found); err != nil {
		return err
	}
	if absent := found.absent(); len(absent) > 0 {
		return &NotProvisionedError{Missing: len(absent), Devices: p.Fleet.Len(), First: p.Fleet.ID(absent[0])}
	}
	return nil
}

// adopt takes over a twin where it differs from the fleet's.
func (p *provisioner) adopt(i int, twin *iothub.Twin) {
	id := p.Fleet.Identity(i)
	tags := section(twin.Tags)
	delete(tags, MarkTag)
	p.Fleet.Adopt(id.Index, differing(tags, id.Tags),
		differing(section(twin.Properties.Desired), id.Desired), differing(section(twin.Properties.Reported), id.Reported))
}

// differing returns a section as JSON if it is not as seeded, else nil.
func differing(has map[string]any, seeded json.RawMessage) json.RawMessage {
	raw, err := json.Marshal(has)
	if err != nil || same(raw, seeded) {
		return nil
	}
	return raw
}
