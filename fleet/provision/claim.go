package provision

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"muster/fleet"
	"muster/iothub"
)

// foreignShown is how many foreign devices an error names.
const foreignShown = 5

// ForeignError refuses to touch devices that have an id of the fleet and are
// not muster's, or are of another fleet.
type ForeignError struct {
	IDs   []string // some of them
	Count int
}

// Error names some of the devices.
func (e *ForeignError) Error() string {
	more := ""
	if e.Count > len(e.IDs) {
		more = ", …"
	}
	return fmt.Sprintf("devices of the hub have ids of this fleet and were not made for it with this secret, %d: %s%s; "+
		"they are left alone: give the fleet other ids, or use the name and the secret that they were made with", e.Count, strings.Join(e.IDs, ", "), more)
}

func foreign(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	return &ForeignError{IDs: ids[:min(len(ids), foreignShown)], Count: len(ids)}
}

// claim finds out whose the devices without the mark are, by their keys, and
// moves its own to those with it. An error names those of others.
func (p *provisioner) claim(ctx context.Context, found *findings) error {
	check := found.unmarked
	found.unmarked = nil
	if p.Keys {
		check, found.own = append(check, found.own...), nil
	}
	others := slices.Clone(found.others)
	var mu sync.Mutex // guards others and found
	count := newCounter(p, "reading identities", len(check))
	calls, calling := errgroup.WithContext(ctx)
	calls.SetLimit(atOnce)
	for _, f := range check {
		calls.Go(func() error {
			ours, err := p.read(calling, &f)
			gone := iothub.HasCode(err, iothub.CodeDeviceNotFound)
			if err != nil && !gone {
				return err
			}
			count.add(1)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case gone: // which the query has not seen yet
				found.gone++
			case ours:
				found.own = append(found.own, f)
			default:
				others = append(others, p.Fleet.ID(f.index))
			}
			return nil
		})
	}
	if err := calls.Wait(); err != nil {
		return err
	}
	return foreign(others)
}

// read reads a device's identity and reports whether the device is muster's:
// by its key, or by the mark that its twin had. It notes what differs.
func (p *provisioner) read(ctx context.Context, f *finding) (ours bool, err error) {
	id := p.Fleet.ID(f.index)
	if err := p.meters.registry.Wait(ctx, 1); err != nil {
		return false, err
	}
	device, err := p.Client.Device(ctx, id)
	if err != nil {
		return false, err
	}
	key := fleet.SecretKey(p.Secret, id)
	var keys iothub.SymmetricKey
	if device.Authentication != nil {
		keys = device.Authentication.SymmetricKey
	}
	first, second := bytes.Equal(keys.Primary, key), bytes.Equal(keys.Secondary, key)
	marked := p.Keys && !f.unmarked
	f.identity = !first || !second || device.Status == iothub.StatusDisabled
	f.deviceETag = device.ETag
	return marked || first || second, nil
}

// claimLate finds out whose devices are that exist though the query did not
// show them, and how they are. Those of others end it: nothing was done to them.
func (p *provisioner) claimLate(ctx context.Context, exist []int, found *findings) error {
	var others []string
	for _, i := range exist {
		id := p.Fleet.ID(i)
		if err := p.meters.reads.Wait(ctx, 1); err != nil {
			return err
		}
		twin, err := p.Client.Twin(ctx, id)
		if err != nil {
			return err
		}
		var one findings
		p.judge(i, &twin, &one, func(int, *iothub.Twin) {})
		others = append(others, one.others...)
		for _, f := range one.unmarked {
			ours, err := p.read(ctx, &f)
			if err != nil {
				return err
			}
			if ours {
				one.own = append(one.own, f)
			} else {
				others = append(others, id)
			}
		}
		found.own = append(found.own, one.own...)
	}
	return foreign(others)
}
