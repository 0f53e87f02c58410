// Command gate measures how well muster gate decides on this host: many
// comparisons of one build with itself, and many of it with devices that are
// slower by twice the smallest change that the gate says it could have seen.
//
//	go run ./bench/gate -muster bin/muster
//
// It counts the verdicts and fails if there are more false ones than
// docs/gates.md promises. With a steady host it takes about half an hour.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"muster/gate"
	"muster/report"
)

func main() {
	var s soak
	flag.StringVar(&s.muster, "muster", "bin/muster", "the muster to measure")
	flag.StringVar(&s.scenario, "scenario", "gate-3s", "scenario of the runs")
	flag.StringVar(&s.out, "out", "results/gate-soak", "folder for all gates; it must not be there yet")
	flag.IntVar(&s.like, "like", 40, "comparisons of one build with itself")
	flag.IntVar(&s.slower, "slower", 20, "comparisons with slower devices; each belongs to one of like builds")
	flag.IntVar(&s.again, "again", 12, "invalid runs that a gate makes again")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
		os.Exit(1)
	}
}

type soak struct {
	muster, scenario, out string
	like, slower, again   int

	still, fires tally
}

// tally counts what gates came to.
type tally struct {
	verdicts map[report.Verdict]int
	runs     int
	again    int       // of them, those that were discarded
	spreads  []float64 // the larger of a gate's two sides
	seen     []float64 // the smallest change that each could have seen
	others   []float64 // what other processes took of the host, at worst
}

func (t *tally) add(r *gate.Result) {
	if t.verdicts == nil {
		t.verdicts = map[report.Verdict]int{}
	}
	t.verdicts[r.Verdict]++
	t.runs += len(r.Runs)
	for _, m := range r.Runs {
		if m.Discarded != "" {
			t.again++
		}
	}
	c := r.Comparison
	if c == nil || c.Detectable == nil {
		return
	}
	t.spreads = append(t.spreads, max(c.Base.Spread, c.New.Spread))
	t.seen = append(t.seen, *c.Detectable)
	if o := c.Base.Conditions.Others; o != nil {
		t.others = append(t.others, *o)
	}
}

// decided counts the gates that were not ended by their host.
func (t *tally) decided() int {
	return t.verdicts[report.Pass] + t.verdicts[report.Regression] + t.verdicts[report.Inconclusive]
}

func (s *soak) run(ctx context.Context) error {
	if s.slower > s.like {
		return fmt.Errorf("-slower %d: each belongs to one of the -like %d", s.slower, s.like)
	}
	if err := os.MkdirAll(filepath.Dir(s.out), 0o777); err != nil {
		return err
	}
	if err := os.Mkdir(s.out, 0o777); err != nil {
		return err
	}
	began := time.Now()
	for n := 1; n <= s.like && ctx.Err() == nil; n++ {
		if err := s.one(ctx, n); err != nil {
			return err
		}
	}
	fmt.Printf("\n%s in %v\n", s.scenario, time.Since(began).Round(time.Second))
	s.still.print("one build with itself")
	s.fires.print("slower by twice what could be seen")
	return errors.Join(ctx.Err(), s.judge())
}

// one makes the n-th gate of like builds, and with it one of slower devices as
// long as there are such to be made.
func (s *soak) one(ctx context.Context, n int) error {
	dir := filepath.Join(s.out, fmt.Sprintf("%02d", n))
	args := []string{"gate", s.scenario, "--out", dir, "--progress", "none", "--again", strconv.Itoa(s.again)}
	both := n <= s.slower
	if both {
		args = append(args, "--self-test")
	} else {
		args = append(args, "--base", s.muster)
	}
	cmd := exec.CommandContext(ctx, s.muster, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = os.Stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return err
	}
	if !both {
		return s.note(n, "like", &s.still, dir)
	}
	if err := s.note(n, "like", &s.still, filepath.Join(dir, "still")); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "fires")); errors.Is(err, os.ErrNotExist) {
		return nil // the first half could not be decided
	}
	return s.note(n, "slower", &s.fires, filepath.Join(dir, "fires"))
}

// note reads what one gate came to.
func (s *soak) note(n int, what string, t *tally, dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "gate.json"))
	if err != nil {
		return err
	}
	var r gate.Result
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	t.add(&r)
	fmt.Printf("%2d %-6s  %-12s  %2d runs", n, what, r.Verdict, len(r.Runs))
	if c := r.Comparison; c != nil && c.Detectable != nil {
		fmt.Printf("  new/base %.3f  CV %.2f %% and %.2f %%  could see %.1f %%", c.Ratio.Value, 100*c.Base.Spread, 100*c.New.Spread, 100**c.Detectable)
	}
	fmt.Println()
	return nil
}

func (t *tally) print(what string) {
	fmt.Printf("%s: pass %d, regression %d, inconclusive %d, others (invalid, interrupted) %d; %d runs, of which %d were discarded\n", what,
		t.verdicts[report.Pass], t.verdicts[report.Regression], t.verdicts[report.Inconclusive], sum(t.verdicts)-t.decided(), t.runs, t.again)
	for _, row := range []struct {
		name string
		of   []float64
	}{{"run-to-run CV", t.spreads}, {"could see", t.seen}, {"other processes took, at worst", t.others}} {
		if len(row.of) > 0 {
			slices.Sort(row.of)
			fmt.Printf("  %s: median %.2f %%, at most %.2f %%\n", row.name, 100*row.of[len(row.of)/2], 100*row.of[len(row.of)-1])
		}
	}
}

func sum(m map[report.Verdict]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

// judge holds the counts against what is promised: of 40 comparisons of one
// build at most 1 regression and 6 inconclusive; of 20 with slower devices at
// least 18 regressions.
func (s *soak) judge() error {
	var errs []error
	n := s.still.decided()
	if got := s.still.verdicts[report.Regression]; got*40 > max(n, 40) {
		errs = append(errs, fmt.Errorf("%d of %d comparisons of one build are a regression, want at most 1 of 40", got, n))
	}
	if got := s.still.verdicts[report.Inconclusive]; got*40 > max(6*n, 40) {
		errs = append(errs, fmt.Errorf("%d of %d comparisons of one build are inconclusive, want at most 6 of 40", got, n))
	}
	n = s.fires.decided()
	if got := s.fires.verdicts[report.Regression]; got*20 < 18*n {
		errs = append(errs, fmt.Errorf("%d of %d comparisons with slower devices are a regression, want at least 18 of 20", got, n))
	}
	if n == 0 && s.slower > 0 || s.still.decided() == 0 {
		errs = append(errs, errors.New("no gate came to a decision: this host is too busy"))
	}
	return errors.Join(errs...)
}
