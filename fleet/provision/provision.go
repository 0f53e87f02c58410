// Package provision makes the identities of a fleet on a hub that is not
// muster's own, checks that they are there, and deletes them.
//
// It touches devices of the fleet's ids only, and of those only its own: the
// ones whose twin has the mark, a tag that nobody can make for a device without
// the fleet's secret, or whose key is the one that the secret gives. What it
// reads of a device goes with the change as its etag, so that one which somebody
// has replaced meanwhile is left alone.
//
// # Concurrency
//
// Each function blocks until nothing of it is left running. An interrupt leaves
// some devices done and others not; the same call goes on from there.
package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/fleet"
	"muster/internal/quota"
	"muster/iothub"
)

// Options say what is provisioned where. Client, Fleet, Name and Secret are
// required.
type Options struct {
	Client *iothub.Client
	Fleet  *fleet.Fleet
	Name   string // of the fleet, which goes into the mark
	Secret iothub.Secret

	// Limits pace the requests. Nil: as fast as the hub takes them, which says
	// itself when that is too fast.
	Limits *quota.Limits
	// Keys reads the identity of every device, also of those with the mark, and
	// mends keys that somebody has changed.
	Keys bool
	// DryRun changes nothing.
	DryRun bool
	// Settle is how long queries may lag behind what was changed. Default 2 min.
	Settle time.Duration
	// Observe is told how far a step is, from several goroutines. Default nobody.
	Observe func(step string, done, total int)
	Logger  *slog.Logger // default: discarded
}

// Summary counts devices by what was done to them, or would be.
type Summary struct {
	Devices   int
	Created   int
	Updated   int // twins or identities that differed
	Unchanged int
	Deleted   int
	Absent    int // to be deleted, but not there
}

// atOnce is how many requests are on their way at a time: within what a hub's
// throttle queues.
const atOnce = 4

// provisioner is one call of the package.
type provisioner struct {
	Options
	meters meters
}

func newProvisioner(o Options) *provisioner {
	if o.Settle <= 0 {
		o.Settle = 2 * time.Minute
	}
	if o.Observe == nil {
		o.Observe = func(string, int, int) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &provisioner{Options: o, meters: newMeters(o.Limits)}
}

// Provision brings the hub's devices to what the fleet says: it makes those
// that are not there, with key, tags, desired and reported properties, and
// corrects tags and desired properties of its own. It refuses to begin if an id
// is that of somebody else's device. At the end the hub's queries see the fleet.
func Provision(ctx context.Context, o Options) (Summary, error) {
	p := newProvisioner(o)
	s := Summary{Devices: p.Fleet.Len()}
	found, err := p.look(ctx, p.all(), "looking")
	if err != nil {
		return s, err
	}
	if err := p.claim(ctx, found); err != nil {
		return s, err
	}
	absent := found.absent()
	if p.DryRun {
		s.Created, s.Updated = len(absent), found.toUpdate()
		s.Unchanged = s.Devices - s.Created - s.Updated
		return s, nil
	}
	s.Created, err = p.create(ctx, absent, found)
	if err == nil {
		s.Updated, err = p.update(ctx, found)
	}
	if err != nil {
		return s, err
	}
	s.Unchanged = s.Devices - s.Created - s.Updated
	return s, p.settle(ctx, absent)
}

// create makes devices a hundred at a time and returns how many it has made.
// One that is there all the same, which the query did not see yet, is found as
// if it had.
func (p *provisioner) create(ctx context.Context, absent []int, found *findings) (int, error) {
	count := newCounter(p, "creating", len(absent))
	late := make(chan []int, (len(absent)+iothub.MaxBulk-1)/iothub.MaxBulk) // one for each call at most
	err := p.each(ctx, absent, func(ctx context.Context, part []int) error {
		exist, err := p.createSome(ctx, part)
		if err != nil {
			return err
		}
		count.add(len(part) - len(exist))
		if len(exist) > 0 {
			late <- exist
		}
		return nil
	})
	close(late)
	for exist := range late {
		if err == nil {
			err = p.claimLate(ctx, exist, found)
		}
	}
	return count.done(), err
}

// createSome makes devices in one call and returns which of them exist.
func (p *provisioner) createSome(ctx context.Context, part []int) (exist []int, err error) {
	entries := make([]iothub.BulkEntry, len(part))
	for n, i := range part {
		entries[n] = p.entry(i)
	}
	result, err := p.Client.Bulk(ctx, entries)
	if err != nil {
		return nil, err
	}
	for _, e := range result.Errors {
		i, ours := p.Fleet.Index(e.DeviceID)
		if !ours || e.ErrorCode != iothub.CodeDeviceAlreadyExists.Name() {
			return nil, fmt.Errorf("create device %s: %s: %s", e.DeviceID, e.ErrorCode, e.ErrorStatus)
		}
		exist = append(exist, int(i))
	}
	if len(exist) == 0 && !result.IsSuccessful {
		return nil, fmt.Errorf("create devices: the hub refuses without a reason")
	}
	return exist, nil
}

// entry is a device as the fleet has it, with the mark.
func (p *provisioner) entry(i int) iothub.BulkEntry {
	id := p.Fleet.Identity(i)
	return iothub.BulkEntry{
		ID: id.ID, ImportMode: iothub.ImportCreate, Status: iothub.StatusEnabled, Authentication: p.authentication(id.ID),
		Tags: p.tags(&id), Properties: &iothub.Properties{Desired: id.Desired, Reported: id.Reported},
	}
}

func (p *provisioner) authentication(id string) *iothub.Authentication {
	key := fleet.SecretKey(p.Secret, id)
	return &iothub.Authentication{Type: iothub.AuthenticationSAS, SymmetricKey: iothub.SymmetricKey{Primary: key, Secondary: key}}
}

// update corrects what differs, and returns on how many devices it has.
func (p *provisioner) update(ctx context.Context, found *findings) (int, error) {
	var differing []int
	for _, f := range found.own {
		if f.twin || f.identity {
			differing = append(differing, f.index)
		}
	}
	count := newCounter(p, "updating", len(differing))
	at := found.byIndex()
	calls, calling := errgroup.WithContext(ctx)
	calls.SetLimit(atOnce)
	for _, i := range differing {
		calls.Go(func() error {
			if err := p.updateOne(calling, at[i]); err != nil {
				return err
			}
			count.add(1)
			return nil
		})
	}
	err := calls.Wait()
	return count.done(), err
}

func (p *provisioner) updateOne(ctx context.Context, f *finding) error {
	id := p.Fleet.Identity(f.index)
	if f.identity {
		if err := p.meters.registry.Wait(ctx, 1); err != nil {
			return err
		}
		device := iothub.Device{DeviceID: id.ID, ETag: f.deviceETag, Status: iothub.StatusEnabled, Authentication: p.authentication(id.ID)}
		if _, err := p.Client.UpdateDevice(ctx, device, f.deviceETag); err != nil {
			return err
		}
	}
	if !f.twin {
		return nil
	}
	if err := p.meters.updates.Wait(ctx, 1); err != nil {
		return err
	}
	_, err := p.Client.ReplaceTwin(ctx, id.ID, iothub.NewTwinPatch(p.tags(&id), id.Desired), f.etag)
	return err
}

// settle waits until queries see the devices with their marks.
func (p *provisioner) settle(ctx context.Context, made []int) error {
	limit := time.Now().Add(p.Settle)
	for wait := time.Second; len(made) > 0; wait = min(2*wait, 10*time.Second) {
		found, err := p.look(ctx, made, "waiting until queries see the fleet")
		if err != nil {
			return err
		}
		unseen := found.absent()
		if len(unseen) < len(made) {
			limit = time.Now().Add(p.Settle) // it goes on
		}
		if made = unseen; len(made) == 0 {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("the devices are made, but after %v the hub's queries do not see %d of them, such as %s; run the same command again later",
				p.Settle, len(made), p.Fleet.ID(made[0]))
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}

// each calls do for parts of devices that fit one bulk call, in order, each
// when it is its turn.
func (p *provisioner) each(ctx context.Context, devices []int, do func(context.Context, []int) error) error {
	calls, calling := errgroup.WithContext(ctx)
	calls.SetLimit(atOnce)
	for first := 0; first < len(devices) && calling.Err() == nil; first += iothub.MaxBulk {
		part := devices[first:min(first+iothub.MaxBulk, len(devices))]
		if p.meters.registry.Wait(calling, len(part)) != nil {
			break // calling has ended, and says why
		}
		calls.Go(func() error { return do(calling, part) })
	}
	if err := calls.Wait(); err != nil {
		return err
	}
	return ctx.Err() // then some calls were not made
}

func (p *provisioner) all() []int {
	all := make([]int, p.Fleet.Len())
	for i := range all {
		all[i] = i
	}
	return all
}

// mark is the tag by which muster knows its own device.
type mark struct {
	Fleet string `json:"fleet"`
	Mark  string `json:"mark"`
}

// MarkTag is the name of that tag.
const MarkTag = "muster"

// tags returns a device's tags with the mark.
func (p *provisioner) tags(id *fleet.Identity) json.RawMessage {
	patch, err := json.Marshal(map[string]mark{MarkTag: {p.Name, fleet.Mark(p.Secret, id.ID)}})
	if err != nil {
		panic("provision: a mark that is no JSON: " + err.Error())
	}
	tags, err := iothub.MergePatch(id.Tags, patch)
	if err != nil {
		panic("provision: tags that are no JSON object: " + err.Error())
	}
	return tags
}
