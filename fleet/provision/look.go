package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"muster/fleet"
	"muster/iothub"
)

// maxQuery is how long a query may be by its ids. The service takes 8192
// characters.
const maxQuery = 7 << 10

// finding is a device of the fleet as the hub has it.
type finding struct {
	index            int
	etag, deviceETag string // of the twin and of the identity
	twin             bool   // its tags or desired properties differ from the fleet's
	identity         bool   // its identity does
	unmarked         bool   // its twin has not the mark
}

// findings are what a look at the hub has found.
type findings struct {
	asked    []int
	own      []finding // with the mark
	unmarked []finding // whose they are, the identities tell
	others   []string  // ids of devices that are another fleet's, with its name
	gone     int       // devices that queries show and that are not there
}

// absent returns the devices that are not there, in order.
func (f *findings) absent() []int {
	there := make(map[int]bool, len(f.own)+len(f.unmarked))
	for _, all := range [][]finding{f.own, f.unmarked} {
		for i := range all {
			there[all[i].index] = true
		}
	}
	var absent []int
	for _, i := range f.asked {
		if !there[i] {
			absent = append(absent, i)
		}
	}
	return absent
}

func (f *findings) toUpdate() (n int) {
	for i := range f.own {
		if f.own[i].twin || f.own[i].identity {
			n++
		}
	}
	return n
}

func (f *findings) byIndex() map[int]*finding {
	at := make(map[int]*finding, len(f.own))
	for i := range f.own {
		at[f.own[i].index] = &f.own[i]
	}
	return at
}

// look asks the hub's queries for devices of the fleet, by their ids alone.
func (p *provisioner) look(ctx context.Context, devices []int, step string) (*findings, error) {
	return p.lookAt(ctx, devices, step, func(int, *iothub.Twin) {})
}

// lookAt is look that shows each twin with the mark.
func (p *provisioner) lookAt(ctx context.Context, devices []int, step string, show func(int, *iothub.Twin)) (*findings, error) {
	found := &findings{asked: devices}
	var mu sync.Mutex // guards found
	count := newCounter(p, step, len(devices))
	calls, calling := errgroup.WithContext(ctx)
	calls.SetLimit(atOnce)
	for rest := devices; len(rest) > 0 && calling.Err() == nil; {
		sql, n := p.query(rest)
		rest = rest[n:]
		calls.Go(func() error {
			var some findings
			if err := p.ask(calling, sql, &some, show); err != nil {
				return err
			}
			count.add(n)
			mu.Lock()
			defer mu.Unlock()
			found.own = append(found.own, some.own...)
			found.unmarked = append(found.unmarked, some.unmarked...)
			found.others = append(found.others, some.others...)
			return nil
		})
	}
	err := calls.Wait()
	if err == nil {
		err = ctx.Err()
	}
	slices.Sort(found.others)
	return found, err
}

// query returns a query for the first n of the devices, as many as fit.
func (p *provisioner) query(devices []int) (sql string, n int) {
	var b strings.Builder
	b.WriteString("SELECT * FROM devices WHERE deviceId IN [")
	for n < len(devices) && n < iothub.MaxPage && b.Len() < maxQuery {
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteString("'" + strings.ReplaceAll(p.Fleet.ID(devices[n]), "'", `\'`) + "'")
		n++
	}
	return b.String() + "]", n
}

func (p *provisioner) ask(ctx context.Context, sql string, found *findings, show func(int, *iothub.Twin)) error {
	if err := p.meters.queries.Wait(ctx, 1); err != nil {
		return err
	}
	for row, err := range p.Client.Query(ctx, sql, iothub.MaxPage) {
		if err != nil {
			return err
		}
		var twin iothub.Twin
		if err := json.Unmarshal(row, &twin); err != nil {
			return fmt.Errorf("read a row: %w", err)
		}
		if i, ours := p.Fleet.Index(twin.DeviceID); ours {
			p.judge(int(i), &twin, found, show)
		}
	}
	return nil
}

// judge puts a device where its mark says.
func (p *provisioner) judge(i int, twin *iothub.Twin, found *findings, show func(int, *iothub.Twin)) {
	id := p.Fleet.Identity(i)
	f := finding{index: i, etag: twin.ETag, deviceETag: twin.DeviceETag}
	var tags struct {
		Muster mark `json:"muster"`
	}
	_ = json.Unmarshal(twin.Tags, &tags) // tags that are none have no mark
	switch m := tags.Muster; {
	case m.Mark != fleet.Mark(p.Secret, id.ID):
		f.twin, f.unmarked = true, true
		found.unmarked = append(found.unmarked, f)
	case m.Fleet != p.Name:
		found.others = append(found.others, fmt.Sprintf("%s (of the fleet %q)", id.ID, m.Fleet))
	default:
		f.twin = !same(twin.Tags, p.tags(&id)) || !same(twin.Properties.Desired, id.Desired)
		f.identity = twin.Status == iothub.StatusDisabled
		found.own = append(found.own, f)
		show(i, twin)
	}
}

// same reports whether two sections of twins are one, but for what the hub adds.
func same(a, b json.RawMessage) bool { return reflect.DeepEqual(section(a), section(b)) }

// section decodes a section of a twin without what the hub adds. One that is
// left out is empty.
func section(raw json.RawMessage) map[string]any {
	doc := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	_ = dec.Decode(&doc) // what is no object equals none
	maps.DeleteFunc(doc, func(name string, _ any) bool { return strings.HasPrefix(name, "$") })
	return doc
}
