package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"muster/internal/stats"
	"muster/report"
)

// Who is one of the two sides.
type Who string

// The sides.
const (
	Base Who = "base"
	New  Who = "new"
)

// Config is what a gate is to do. Dir, Pairs and Run are required.
type Config struct {
	// Dir is the gate's folder, which must not hold a gate yet.
	Dir string
	// Pairs is how many pairs are run at most: 5, 8 or 12.
	Pairs int
	// Run makes one run of a side, whose results folder is dir. It returns when
	// nothing of the run is left; if ctx ends, soon. Its error is of a run that
	// left no results: how a run went is in its folder.
	Run func(ctx context.Context, side Who, dir string) error
	// Stored are runs of the base that are there already, so that only new ones
	// are made. Default none: the base runs beside the new side.
	Stored []*Folder
	// Again is how many invalid runs have their pair made again before the gate
	// is invalid itself. Default none.
	Again int
	// Nulls is how many null pairs calibrate the tolerance. Default none.
	Nulls int
	// BaseIs and NewIs say what the sides are.
	BaseIs, NewIs string
	// Settings are paths of the resolved scenario at which the sides are meant
	// to differ: see SettingsBetween.
	Settings []string
	// TwoTargets says that the sides are meant to be two targets.
	TwoTargets bool
	// TwoBuilds says that two builds of muster resolve the scenario, of which one
	// may know keys that the other does not.
	TwoBuilds bool
	// Progress is told of each run and look, a line each. Default nobody.
	Progress io.Writer
	// Options are of the comparison. Pairs and Once are not read.
	Options Options
}

// Result is gate.json: what a gate did and what came of it.
type Result struct {
	SchemaVersion int            `json:"schemaVersion"`
	Verdict       report.Verdict `json:"verdict"`
	Reasons       []string       `json:"reasons"`
	StartedAt     time.Time      `json:"startedAt"`
	EndedAt       time.Time      `json:"endedAt,omitzero"` // absent while it goes on, and after a crash
	BaseIs        string         `json:"baseIs"`
	NewIs         string         `json:"newIs"`
	MostPairs     int            `json:"mostPairs"`
	Calibration   *Calibration   `json:"calibration,omitempty"`
	Looks         []Taken        `json:"looks"`
	Runs          []Made         `json:"runs"`
	Comparison    *Comparison    `json:"comparison"` // null before the first pair is complete
}

// Calibration is how the tolerance came from null pairs.
type Calibration struct {
	Pairs     int     `json:"pairs"`
	Spread    float64 `json:"spread"` // of the pairs' ratios
	Tolerance float64 `json:"tolerance"`
}

// Taken is a look that was taken.
type Taken struct {
	Runs    int            `json:"runs"` // a side
	Tail    float64        `json:"tail"`
	Ratio   Ratio          `json:"ratio"`
	Verdict report.Verdict `json:"verdict"`
}

// Made is a run that was made.
type Made struct {
	Side      Who             `json:"side"`
	Null      bool            `json:"null,omitempty"` // it calibrates
	Pair      int             `json:"pair"`           // from 1
	Dir       string          `json:"dir"`            // in the gate's folder
	Value     report.Millis   `json:"value"`          // of the metric
	Verdict   report.Verdict  `json:"verdict"`
	Discarded string          `json:"discarded,omitempty"` // why its pair was run again
	Use       *report.HostUse `json:"hostUse,omitempty"`
	Wake      report.Millis   `json:"wakeP99"`
	GCPause   report.Millis   `json:"gcPauseP99"`
}

// errInterrupted ends a gate whose context did.
var errInterrupted = errors.New("interrupted")

// invalidError tells of a run whose numbers are not to be trusted.
type invalidError struct{ dir, why string }

func (e *invalidError) Error() string { return e.dir + ": " + e.why }

// conductor is the state of one gate.
type conductor struct {
	cfg     Config
	result  *Result
	metric  *Metric // once the first run has shown what there is
	base    []*Folder
	newer   []*Folder
	invalid int
}

// Conduct makes runs of both sides in pairs, in the order base new new base, and
// looks at them when 5, 8 and 12 pairs are complete, until a look decides. It
// keeps gate.json in Config.Dir as it goes and leaves gate.md there. If ctx ends,
// what is there is kept and the verdict is interrupted. An error is of a gate that could
// not be done: its result, if it began, is incomplete.
func Conduct(ctx context.Context, cfg Config) (*Result, error) {
	c, err := newConductor(cfg)
	if err != nil {
		return nil, err
	}
	err = c.conduct(ctx)
	var invalid *invalidError
	switch {
	case errors.Is(err, errInterrupted):
		c.end(report.Interrupted, fmt.Sprintf("interrupted after %d complete pairs: nothing is decided", len(c.newer)))
		err = nil
	case errors.As(err, &invalid):
		c.end(report.Invalid, fmt.Sprintf("%d runs were invalid, the last %s", c.invalid, invalid))
		err = nil
	case err != nil:
		// What another muster printed below its first line may quote settings, which can be secrets.
		first, _, _ := strings.Cut(err.Error(), "\n")
		c.end(report.Incomplete, first)
	}
	c.result.EndedAt = time.Now()
	if serr := c.save(true); serr != nil {
		err = errors.Join(err, serr)
	}
	return c.result, err
}

const gateFile = "gate.json"

func newConductor(cfg Config) (*conductor, error) {
	if _, ok := stats.Looks(cfg.Pairs); !ok {
		return nil, fmt.Errorf("gate: %d pairs: must be one of %v", cfg.Pairs, stats.Sizes())
	}
	if n := len(cfg.Stored); n > 0 && n < stats.Least {
		return nil, fmt.Errorf("gate: the base has %s, and it takes at least %d to decide", runs(n), stats.Least)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, gateFile)); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open gate folder %s: it holds a gate already", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o777); err != nil {
		return nil, fmt.Errorf("open gate folder %s: %w", cfg.Dir, cause(err))
	}
	if cfg.Progress == nil {
		cfg.Progress = io.Discard
	}
	cfg.Options.Pairs, cfg.Options.Once = len(cfg.Stored) == 0, false
	cfg.Options.may = may{cfg.Settings, cfg.TwoTargets, cfg.TwoBuilds}
	c := &conductor{cfg: cfg, base: cfg.Stored, metric: cfg.Options.Metric}
	c.result = &Result{
		SchemaVersion: SchemaVersion, Verdict: report.Incomplete, Reasons: []string{"the gate did not come to its end"},
		StartedAt: time.Now(), BaseIs: cfg.BaseIs, NewIs: cfg.NewIs, MostPairs: cfg.Pairs, Looks: []Taken{}, Runs: []Made{},
	}
	return c, c.save(false)
}

func (c *conductor) say(format string, args ...any) {
	fmt.Fprintf(c.cfg.Progress, format+"\n", args...) // progress that nobody reads must not end the gate
}

func (c *conductor) conduct(ctx context.Context) error {
	if err := c.calibrate(ctx); err != nil {
		return err
	}
	looks, _ := stats.Looks(c.cfg.Pairs) // newConductor has checked it
	for _, look := range looks {
		for len(c.newer) < look.Runs {
			if err := c.pair(ctx); err != nil {
				return err
			}
		}
		if err := c.look(look); err != nil || c.result.Verdict != report.Inconclusive {
			return err
		}
	}
	return nil
}

// pair makes a pair, again if one of its runs is invalid.
func (c *conductor) pair(ctx context.Context) error {
	n := len(c.newer) + 1
	sides := []Who{Base, New}
	if len(c.cfg.Stored) > 0 {
		sides = []Who{New}
	}
	made, err := c.together(ctx, n, false, sides)
	if err != nil {
		return err
	}
	c.newer = append(c.newer, made[New])
	if f := made[Base]; f != nil {
		c.base = append(c.base, f)
	}
	looks, _ := stats.Looks(c.cfg.Pairs)
	if err := c.compare(looks[0]); err != nil { // which also tells unlike runs before many are made
		return err
	}
	c.end(report.Incomplete, "the gate did not come to its end") // until a look says otherwise
	return c.save(false)
}

// together makes one run of each side right after one another, in turned order
// every other time, and all of them again if one is invalid.
func (c *conductor) together(ctx context.Context, n int, null bool, sides []Who) (map[Who]*Folder, error) {
	order := append([]Who(nil), sides...)
	if n%2 == 0 && len(order) == 2 {
		order[0], order[1] = order[1], order[0]
	}
	for again := 0; ; again++ {
		first := len(c.result.Runs)
		made := map[Who]*Folder{}
		var invalid *invalidError
		for _, side := range order {
			f, err := c.run(ctx, n, null, side, again)
			if errors.As(err, &invalid) {
				break
			}
			if err != nil {
				return nil, err
			}
			made[side] = f
		}
		if invalid == nil {
			return made, nil
		}
		for i := range c.result.Runs[first:] {
			c.result.Runs[first+i].Discarded = invalid.Error()
		}
		if c.invalid++; c.invalid > c.cfg.Again {
			return nil, invalid
		}
		c.say("again: %s", invalid)
	}
}

// run makes one run and reads its folder.
func (c *conductor) run(ctx context.Context, n int, null bool, side Who, again int) (*Folder, error) {
	name, makes := fmt.Sprintf("%s-%02d", side, n), side
	if null {
		name = fmt.Sprintf("null-%02d-%s", n, map[Who]string{Base: "a", New: "b"}[side])
		if makes = Base; len(c.cfg.Stored) > 0 {
			makes = New // the base is not there to be run
		}
	}
	if again > 0 {
		name += fmt.Sprintf("-again-%d", again)
	}
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	dir := filepath.Join(c.cfg.Dir, name)
	err := c.cfg.Run(ctx, makes, dir)
	if err != nil && ctx.Err() != nil {
		return nil, errInterrupted
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	f, err := ReadFolder(dir)
	if err != nil {
		return nil, err
	}
	return f, c.note(f, n, null, side)
}

// note enters a run into the gate's book, and says whether it counts.
func (c *conductor) note(f *Folder, n int, null bool, side Who) error {
	m := Made{
		Side: side, Null: null, Pair: n, Dir: filepath.Base(f.Dir), Verdict: f.Summary.Verdict, Use: f.Header.HostUse,
		GCPause: f.Summary.Generator.GCPauseP99,
	}
	fault := f.fault()
	if c.metric == nil {
		metric, err := defaultMetric(f)
		switch {
		case err == nil:
			c.metric = &metric
		case fault == "":
			return fmt.Errorf("%s: %w", f.Dir, err)
		}
	}
	if c.metric != nil {
		m.Wake = f.wake(*c.metric)
		if log, ok := c.metric.log(f); ok {
			m.Value = millis(log)
		}
	}
	c.result.Runs = append(c.result.Runs, m)
	if err := c.save(false); err != nil { // after a kill it says what was made
		return err
	}
	switch {
	case f.Summary.Verdict == report.Interrupted:
		return errInterrupted
	case f.Summary.Verdict == report.Invalid:
		return &invalidError{f.Dir, fault}
	case fault != "":
		return fmt.Errorf("%s: %s", f.Dir, fault)
	}
	if err := c.metric.check(f); err != nil {
		return fmt.Errorf("%s: %w", f.Dir, err)
	}
	kind := "pair"
	if null {
		kind = "null pair"
	}
	c.say("%s %d: %s %s (%s)", kind, n, side, m.Value.String(), c.metric)
	return nil
}

// calibrate makes the null pairs and takes the tolerance from them.
func (c *conductor) calibrate(ctx context.Context) error {
	if c.cfg.Nulls == 0 {
		return nil
	}
	var differences []float64
	for n := 1; n <= c.cfg.Nulls; n++ {
		made, err := c.together(ctx, n, true, []Who{Base, New})
		if err != nil {
			return err
		}
		logs, err := c.metric.logs([]*Folder{made[Base], made[New]})
		if err != nil {
			return err
		}
		differences = append(differences, logs[1]-logs[0])
	}
	looks, _ := stats.Looks(c.cfg.Pairs)
	tolerance := stats.Calibrate(differences, looks[len(looks)-1])
	c.result.Calibration = &Calibration{len(differences), stats.Spread(differences), tolerance}
	c.cfg.Options.Tolerance, c.cfg.Options.Calibrated = &tolerance, true
	c.say("tolerance %s, from %d null pairs that differ by %s", part(tolerance), len(differences), part(stats.Spread(differences)))
	return nil
}

// compare holds what has been run until now against each other, as at a look.
func (c *conductor) compare(look stats.Look) error {
	opts := c.cfg.Options
	opts.look, opts.Metric = &look, c.metric
	made, err := Compare(c.base, c.newer, opts)
	if err != nil {
		return err
	}
	c.result.Comparison = made
	return nil
}

// look takes a look, whose verdict is the gate's unless a later one decides.
func (c *conductor) look(look stats.Look) error {
	if err := c.compare(look); err != nil {
		return err
	}
	made := c.result.Comparison
	c.warnOfKeys(made)
	c.result.Looks = append(c.result.Looks, Taken{look.Runs, look.Tail, made.Ratio, made.Verdict})
	c.result.Verdict, c.result.Reasons = made.Verdict, made.Reasons
	c.say("look at %d: %s, new/base %.3f %s", look.Runs, made.Verdict, made.Ratio.Value, between(made.Ratio))
	return c.save(false)
}

// warnOfKeys tells which settings only one of two builds knows.
func (c *conductor) warnOfKeys(made *Comparison) {
	if keys := absentKeys(c.base[0], c.newer[0]); c.cfg.TwoBuilds && len(keys) > 0 {
		made.Warnings = append(made.Warnings, "only one of the two builds writes into its resolved scenario: "+strings.Join(keys, ", "))
	}
}

// end sets the verdict of a gate that no look ended.
func (c *conductor) end(v report.Verdict, why string) {
	c.result.Verdict, c.result.Reasons = v, []string{why}
	if made := c.result.Comparison; made != nil {
		made.Verdict, made.Reasons, made.MoreRuns = v, c.result.Reasons, nil
	}
}

// save writes gate.json, and gate.md at the end.
func (c *conductor) save(end bool) error {
	err := writeFile(c.cfg.Dir, gateFile, c.result.JSON)
	if end {
		err = errors.Join(err, writeFile(c.cfg.Dir, "gate.md", c.result.Markdown))
	}
	return err
}

// writeFile makes dir/name of what write writes: under another name first, so
// that a reader never sees half of it.
func writeFile(dir, name string, write func(io.Writer) error) error {
	path := filepath.Join(dir, name)
	var text strings.Builder
	if err := write(&text); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	half := filepath.Join(dir, "."+name)
	if err := os.WriteFile(half, []byte(text.String()), 0o666); err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	if err := os.Rename(half, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
