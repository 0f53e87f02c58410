package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// profilesVariable names the folder of the profiles to cmd/muster/profiled.
const profilesVariable = "PROFILES"

// profiledTimes is how many more broadcasts a profile is of than a measured
// run: it looks a hundred times a second.
const profiledTimes = 3

// profile runs the chosen cases of muster once, with profiles of generator and
// hub, and says where the processor time of a round trip goes.
func profile(ctx context.Context, s settings, chosen []benchCase) (tables, error) {
	var all tables
	for _, c := range chosen {
		if c.isFloor() {
			continue
		}
		t, err := profileCase(ctx, s, c)
		if err != nil {
			return nil, fmt.Errorf("profile %v: %w", c, err)
		}
		all = append(all, t)
	}
	return all, nil
}

func profileCase(ctx context.Context, s settings, c benchCase) (table, error) {
	dir, err := filepath.Abs(filepath.Join(s.profile, strings.Join(c.words(), "-")+fmt.Sprint("-", c.devices)))
	if err != nil {
		return table{}, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return table{}, err
	}
	broadcasts := s.broadcasts(c) * profiledTimes
	if _, err := runOnce(ctx, s.muster, c, broadcasts, []string{profilesVariable + "=" + dir}); err != nil {
		return table{}, err
	}
	t := table{
		before: fmt.Sprintf("Where the processor time of a round trip goes, in µs: %v, %d broadcasts.", c, broadcasts),
		head:   []string{"of", "generator", "hub"},
	}
	trips := c.devices * broadcasts
	return t, t.addProfiles(ctx, trips, filepath.Join(dir, "run.pprof"), filepath.Join(dir, "hub.pprof"))
}

// addProfiles adds a row for each part of the work. A hub in memory has no
// profile of its own.
func (t *table) addProfiles(ctx context.Context, trips int, generator, hub string) error {
	names, ofGenerator, err := readProfile(ctx, generator)
	if err != nil {
		return err
	}
	hubNames, ofHub, err := readProfile(ctx, hub)
	if err != nil {
		return err
	}
	for _, name := range hubNames {
		if ofGenerator[name] == 0 {
			names = append(names, name)
		}
	}
	var sums [2]time.Duration
	micros := func(d time.Duration) string { return number(float64(d) / float64(time.Microsecond) / float64(trips)) }
	for _, name := range names {
		t.rows = append(t.rows, []string{name, micros(ofGenerator[name]), micros(ofHub[name])})
		sums[0] += ofGenerator[name]
		sums[1] += ofHub[name]
	}
	t.rows = append(t.rows, []string{"all", micros(sums[0]), micros(sums[1])})
	return nil
}

func readProfile(ctx context.Context, file string) (names []string, spent map[string]time.Duration, err error) {
	if _, err := os.Stat(file); os.IsNotExist(err) {
		return nil, nil, nil
	}
	cmd := exec.CommandContext(ctx, cmp.Or(os.Getenv("GO"), "go"), "tool", "pprof", "-traces", file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("read the profile %s: %w\n%s", file, err, stderr.Bytes())
	}
	all, err := parseTraces(bytes.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	names, spent = attribute(all)
	return names, spent, nil
}
