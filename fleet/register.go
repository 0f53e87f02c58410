package fleet

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"muster/iothub"
)

// registering is how many bulk calls are in flight at a time: enough to keep a
// hub of one's own busy, within what a real one's throttle queues.
const registering = 4

// Registry makes identities on a hub. *iothub.Client is one.
type Registry interface {
	Bulk(ctx context.Context, entries []iothub.BulkEntry) (iothub.BulkResult, error)
}

// Register makes the fleet's identities, with keys and seeded twins, on a hub
// that has none of them. It stops at the first call that fails or in which an
// entry is refused.
func (f *Fleet) Register(ctx context.Context, r Registry) error {
	calls, calling := errgroup.WithContext(ctx)
	calls.SetLimit(registering)
	for first := 0; first < f.Len() && calling.Err() == nil; first += iothub.MaxBulk {
		calls.Go(func() error { return f.register(calling, r, first, min(first+iothub.MaxBulk, f.Len())) })
	}
	err := calls.Wait()
	if err == nil {
		err = ctx.Err() // then some calls were not made
	}
	if err != nil {
		return fmt.Errorf("register fleet: %w", err)
	}
	return nil
}

// register makes the identities of the devices from first up to end.
func (f *Fleet) register(ctx context.Context, r Registry, first, end int) error {
	entries := make([]iothub.BulkEntry, 0, end-first)
	for i := first; i < end; i++ {
		entries = append(entries, entry(f.Identity(i)))
	}
	result, err := r.Bulk(ctx, entries)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range result.Errors[:min(len(result.Errors), maxReported)] {
		errs = append(errs, fmt.Errorf("device %s: %s: %s", e.DeviceID, e.ErrorCode, e.ErrorStatus))
	}
	if len(errs) == 0 && !result.IsSuccessful {
		errs = append(errs, fmt.Errorf("devices %d to %d: refused without a reason", first, end-1))
	}
	return errors.Join(errs...)
}

func entry(id Identity) iothub.BulkEntry {
	return iothub.BulkEntry{
		ID:         id.ID,
		ImportMode: iothub.ImportCreate,
		Status:     iothub.StatusEnabled,
		Authentication: &iothub.Authentication{
			Type:         iothub.AuthenticationSAS,
			SymmetricKey: iothub.SymmetricKey{Primary: id.Key, Secondary: id.Key},
		},
		Tags:       id.Tags,
		Properties: &iothub.Properties{Desired: id.Desired, Reported: id.Reported},
	}
}
