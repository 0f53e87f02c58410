package fleet_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"muster/iothub"
)

// registry is a fleet.Registry that remembers what it was given.
type registry struct {
	mu      sync.Mutex // guards the fields below
	entries map[string]iothub.BulkEntry
	calls   int
	flying  int
	most    int

	result func(entries []iothub.BulkEntry) (iothub.BulkResult, error)
}

func (r *registry) Bulk(_ context.Context, entries []iothub.BulkEntry) (iothub.BulkResult, error) {
	r.mu.Lock()
	r.calls++
	r.flying++
	r.most = max(r.most, r.flying)
	for _, e := range entries {
		r.entries[e.ID] = e
	}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.flying--
		r.mu.Unlock()
	}()
	if len(entries) > iothub.MaxBulk {
		return iothub.BulkResult{}, errors.New("too many entries")
	}
	if r.result != nil {
		return r.result(entries)
	}
	return iothub.BulkResult{IsSuccessful: true}, nil
}

func TestRegisterMakesAllIdentities(t *testing.T) {
	f := newFleet(t, 1, doors(t, 1234))
	r := &registry{entries: map[string]iothub.BulkEntry{}}
	if err := f.Register(t.Context(), r); err != nil {
		t.Fatalf("Register: %v", err)
	}
	want(t, "calls", r.calls, 13)
	want(t, "identities", len(r.entries), 1234)
	if r.most > 4 {
		t.Errorf("%d calls were in flight, want at most 4", r.most)
	}
	r = &registry{entries: map[string]iothub.BulkEntry{}}
	f = building(t, 42)
	if err := f.Register(t.Context(), r); err != nil {
		t.Fatalf("Register: %v", err)
	}
	for i := range f.Len() {
		id, e := f.Identity(i), r.entries[f.Identity(i).ID]
		got := []string{e.ImportMode, e.Status, e.Authentication.SymmetricKey.Primary.Base64(), string(e.Tags), string(e.Properties.Desired), string(e.Properties.Reported)}
		want(t, "entry of "+id.ID, got, []string{"create", "enabled", id.Key.Base64(), string(id.Tags), string(id.Desired), string(id.Reported)})
	}
}

func TestRegisterFails(t *testing.T) {
	f := newFleet(t, 1, doors(t, 1000))
	fault := errors.New("unreachable")
	for _, c := range []struct {
		want   string
		result func(entries []iothub.BulkEntry) (iothub.BulkResult, error)
	}{
		{"register fleet: unreachable", func([]iothub.BulkEntry) (iothub.BulkResult, error) { return iothub.BulkResult{}, fault }},
		{"DeviceAlreadyExists: taken", func(e []iothub.BulkEntry) (iothub.BulkResult, error) {
			return iothub.BulkResult{Errors: []iothub.BulkError{{DeviceID: e[0].ID, ErrorCode: "DeviceAlreadyExists", ErrorStatus: "taken"}}}, nil
		}},
		{"refused without a reason", func([]iothub.BulkEntry) (iothub.BulkResult, error) { return iothub.BulkResult{}, nil }},
	} {
		err := f.Register(t.Context(), &registry{entries: map[string]iothub.BulkEntry{}, result: c.result})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Register: got error %v, want one with %q", err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Register(ctx, &registry{entries: map[string]iothub.BulkEntry{}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Register under a cancelled context returned %v", err)
	}
}
