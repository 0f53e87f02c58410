package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/bench/internal/floor"
	"muster/scenarios"
)

func TestChoose(t *testing.T) {
	choose := func(args string, chosen, left int, some ...string) {
		t.Helper()
		s, err := parse(strings.Split(args, "|"), io.Discard)
		if args == "" {
			s, err = parse(nil, io.Discard)
		}
		if err != nil {
			t.Fatalf("parse(%q): %v", args, err)
		}
		got := s.choose()
		without := make(results).with(got).notIn(matrix(small, large, huge))
		if len(got) != chosen || len(without) != left {
			t.Errorf("choose with %q: %d cases and %d left out, want %d and %d\n%v", args, len(got), len(without), chosen, left, got)
		}
		var names []string
		for _, c := range got {
			names = append(names, c.String())
		}
		for _, name := range some {
			if !slices.Contains(names, name) {
				t.Errorf("choose with %q: no %q in %q", args, name, names)
			}
		}
	}
	choose("", 21, 17, "hub, tcp, paho, 10000 devices", "hub, memory, lean, 100000 devices", "floor, memory, 100000 devices", "direct, tcp, lean, 1000 devices", "net/http pair, tcp, 1000 devices")
	choose("-all", 28+21, 0)
	choose("-only|hub tls|-sizes|1000", 4, 26, "floor, tls, 1000 devices", "paho pair, tls, 1000 devices", "hub, tls, paho, 1000 devices", "hub, tls, lean, 1000 devices")
	choose("-only|direct memory lean|-sizes|10000", 3, 27, "net/http pair, memory, 10000 devices", "floor, memory, 10000 devices")
	choose("-only|websocket", 0, 28)
	choose("-sizes|100000", 2, 27)
	choose("-only|hub lean tcp|-sizes|2000,3000", 4, 28, "floor, tcp, 2000 devices", "hub, tcp, lean, 3000 devices")
}

// TestEveryCaseCanBeRun holds each case to a scenario that is one, and each
// floor to a pair that there is.
func TestEveryCaseCanBeRun(t *testing.T) {
	chosen := settings{all: true}.choose()
	for _, c := range chosen {
		if c.isFloor() {
			if !slices.Contains(floor.Pairs(), c.pair()) {
				t.Errorf("%v is measured by the pair %q, which there is not", c, c.pair())
			}
			continue
		}
		s, err := scenarios.Parse("bench.yaml", []byte(c.scenario(7)), scenarios.Options{})
		if err != nil {
			t.Errorf("%v: %v", c, err)
			continue
		}
		if e := s.Target.Embedded; string(e.Transport) != c.transport || s.Devices() != c.devices || s.Jobs[0].Times != 7 || string(s.Jobs[0].Via) != c.via {
			t.Errorf("%v: the scenario is of %v, %d devices, %d broadcasts via %s", c, e.Transport, s.Devices(), s.Jobs[0].Times, s.Jobs[0].Via)
		}
	}
}

func TestFlags(t *testing.T) {
	refuses := func(args, want string) {
		t.Helper()
		err := run(t.Context(), strings.Split(args, "|"), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("bench %q: got %v, want an error with %q", args, err, want)
		}
	}
	refuses("-runs|0", "-runs 0: want 1 or more")
	refuses("-runs|-1|-log|x", "-runs -1: want 1 or more")
	refuses("-repetitions|-1", "-repetitions -1: want 1 or more")
	refuses("-sizes|1000,many", `"many": want a number of devices`)
	refuses("-sizes|0", `"0": want a number of devices`)
	refuses("hub", `unexpected argument "hub"`)
	refuses("-only|websocket", "no such case; -all -list lists them all")
	refuses("-only|hub tcp lean|-sizes|1000|-muster|no/such|-floor|no/such|-runs|2", "hub, tcp, lean, 1000 devices")
	var list strings.Builder
	if err := run(t.Context(), []string{"-list", "-only", "hub tcp lean", "-sizes", "1000"}, &list, io.Discard); err != nil || list.String() != "floor, tcp, 1000 devices\nhub, tcp, lean, 1000 devices\n" {
		t.Errorf("bench -list: %q, %v", list.String(), err)
	}
}

func TestBroadcasts(t *testing.T) {
	for _, c := range []struct{ repetitions, devices, want int }{{0, 1_000, 100}, {0, 10_000, 10}, {0, 100_000, 3}, {0, 10, 100}, {4, 1_000, 4}} {
		if got := (settings{repetitions: c.repetitions}).broadcasts(benchCase{devices: c.devices}); got != c.want {
			t.Errorf("broadcasts with -repetitions %d to %d devices: %d, want %d", c.repetitions, c.devices, got, c.want)
		}
	}
}

// with returns the results with a run of each case.
func (r results) with(all []benchCase) results {
	for _, c := range all {
		r[c] = append(r[c], costs{RoundTrips: 1})
	}
	return r
}

func TestLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "runs.jsonl")
	want := results{}
	for n, c := range []benchCase{{"hub", "tcp", "lean", 10}, {bare, "tls", "", 10}, {"hub", "tcp", "lean", 10}} {
		got, err := readLog(file)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(benchCase{})); diff != "" || err != nil {
			t.Fatalf("readLog after %d runs: %v\n%s", n, err, diff)
		}
		cost := costs{RoundTrips: float64(n + 1), Connects: 3.5}
		if err := c.appendTo(file, cost); err != nil {
			t.Fatal(err)
		}
		want[c] = append(want[c], cost)
	}
	if err := os.WriteFile(file, []byte("{}\n{\"Via\": 3}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readLog(file); err == nil || !strings.Contains(err.Error(), "run 2") {
		t.Errorf("readLog of a log with a bad run: %v, want an error that names it", err)
	}
	if err := (benchCase{}).appendTo(t.TempDir(), costs{}); err == nil {
		t.Error("appendTo a folder: no error")
	}
}
