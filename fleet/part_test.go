package fleet_test

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"muster/fleet"
)

func TestPartsCoverTheFleetOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices := rapid.IntRange(1, 5000).Draw(t, "devices")
		n := rapid.IntRange(1, min(devices, 60)).Draw(t, "parts")
		inFlight := rapid.IntRange(n, 1000).Draw(t, "inFlight")
		next, placed, shared := 0, make([]bool, devices), 0
		for i, p := range fleet.Parts(devices, n) {
			if p.From != next || p.Nth != i || p.Of != n {
				t.Fatalf("Parts(%d, %d)[%d] = %+v, want from %d", devices, n, i, p, next)
			}
			if size := p.To - p.From; size != devices/n && size != devices/n+1 {
				t.Fatalf("Parts(%d, %d)[%d] = %+v: sizes differ by more than one", devices, n, i, p)
			}
			next = p.To
			shared += fleet.Share(p, inFlight)
			for d := p.From; d < p.To; d++ {
				at := fleet.Place(p, d)
				if at < 0 || at >= devices || placed[at] {
					t.Fatalf("device %d of %d in part %d of %d: place %d of the ramp is taken or none", d, devices, i, n, at)
				}
				placed[at] = true
			}
		}
		if next != devices || shared != inFlight {
			t.Fatalf("Parts(%d, %d) end at %d and open %d of %d connections at a time", devices, n, next, shared, inFlight)
		}
	})
}

func TestStatsOfPartsAddUp(t *testing.T) {
	var sum, other fleet.Stats
	for _, s := range []*fleet.Stats{&sum, &other} {
		v := reflect.ValueOf(s).Elem()
		for i := range v.NumField() {
			v.Field(i).SetInt(int64(i + 1))
		}
	}
	sum.Add(&other)
	v := reflect.ValueOf(sum)
	for i := range v.NumField() {
		if got, want := v.Field(i).Int(), int64(2*(i+1)); got != want {
			t.Errorf("Add() makes %s %d, want %d", v.Type().Field(i).Name, got, want)
		}
	}
}
