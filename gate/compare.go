package gate

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"muster/internal/stats"
	"muster/report"
)

// SchemaVersion is the version of a Comparison and of gate.json. It changes
// when a field's meaning does, not when one is added.
const SchemaVersion = 1

// DefaultTolerance is the slowdown that is let pass where nobody says otherwise.
const DefaultTolerance = 0.05

// Options are the settings of a comparison. The zero value is valid.
type Options struct {
	// Metric is what decides. Default the first latency of a job that a
	// threshold of the scenario reads, or else how long the first job took.
	Metric *Metric
	// Tolerance is the slowdown that is let pass, as a part. Default 0.05.
	Tolerance *float64
	// Calibrated says that Tolerance came from null runs.
	Calibrated bool
	// Pairs says that the n-th run of one side went beside the n-th of the other.
	Pairs bool
	// Once says that the number of runs was settled before the first was seen.
	Once bool
	// Force compares runs that are not alike.
	Force bool

	look *stats.Look // the look that this is; nil to go by the number of runs
	may  may
}

func (o *Options) tolerance() float64 {
	if o.Tolerance == nil {
		return DefaultTolerance
	}
	return *o.Tolerance
}

func (o *Options) lookAt(runs int) stats.Look {
	switch {
	case o.look != nil:
		return *o.look
	case o.Once:
		return stats.Once(runs)
	}
	return stats.LookAt(runs)
}

// Comparison is what the runs of two sides say about new against base. It is
// the same in every output format.
type Comparison struct {
	SchemaVersion int            `json:"schemaVersion"`
	Verdict       report.Verdict `json:"verdict"`
	Reasons       []string       `json:"reasons"`
	Scenario      string         `json:"scenario"`
	Metric        string         `json:"metric"`    // the one that decides
	MetricWhy     string         `json:"metricWhy"` // why this one
	Method        string         `json:"method"`    // "welch", or "pairs" of runs beside each other
	Tolerance     float64        `json:"tolerance"` // a slowdown that is let pass, as a part
	ToleranceFrom string         `json:"toleranceFrom"`
	Look          Look           `json:"look"`
	Base          Side           `json:"base"`
	New           Side           `json:"new"`
	Ratio         Ratio          `json:"ratio"` // of the metric, new/base
	// Detectable is the smallest slowdown, as a part, that these runs would
	// have shown nine times of ten; null with fewer than two runs a side.
	Detectable *float64 `json:"detectable"`
	// MoreRuns is about how many more runs a side would decide, if they go on
	// as these; null unless inconclusive, and if not even a thousand would.
	MoreRuns *int         `json:"moreRuns"`
	Rows     []Row        `json:"rows"` // the metrics that inform and decide nothing
	Forced   []Difference `json:"forced,omitempty"`
	Warnings []string     `json:"warnings"`
	Host     report.Host  `json:"host"` // of the first run of the base
}

// Look is the look at the runs that was taken.
type Look struct {
	Runs int     `json:"runs"` // a side, that it needs
	Tail float64 `json:"tail"` // with which each bound of the ratio may err
	Once bool    `json:"once"` // the only one
}

// Side is one side's runs.
type Side struct {
	Runs       int             `json:"runs"`
	Folders    []string        `json:"folders"`
	Versions   []string        `json:"versions"` // of muster
	Values     []report.Millis `json:"values"`   // of the metric, a run
	Mean       report.Millis   `json:"mean"`     // the geometric one
	Spread     float64         `json:"spread"`   // from run to run: the coefficient of variation
	Conditions Conditions      `json:"conditions"`
}

// Ratio is new/base. Low and High are null with fewer than two runs a side.
type Ratio struct {
	Value float64  `json:"value"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
}

// Row is a metric that informs. Its interval errs in 2.5 % on each side.
type Row struct {
	Metric string        `json:"metric"`
	Base   report.Millis `json:"base"`
	New    report.Millis `json:"new"`
	Ratio  Ratio         `json:"ratio"`
}

// Compare compares the runs of two sides. The error of runs that must not be
// compared names every reason.
func Compare(base, newer []*Folder, opts Options) (*Comparison, error) {
	if len(base) == 0 || len(newer) == 0 {
		return nil, errors.New("compare: each side needs a run")
	}
	if opts.Pairs && len(base) != len(newer) {
		return nil, fmt.Errorf("compare: pairs need as many runs of the base, %d, as new ones, %d", len(base), len(newer))
	}
	forced, err := refuse(base, newer, opts)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	metric, err := opts.metric(base[0])
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	older, err := metric.logs(base)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	later, err := metric.logs(newer)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	c := &Comparison{
		SchemaVersion: SchemaVersion, Scenario: base[0].Header.Scenario, Host: base[0].Header.Host,
		Metric: metric.String(), MetricWhy: metric.Why, Method: "welch",
		Tolerance: opts.tolerance(), ToleranceFrom: opts.toleranceFrom(),
		Base: sideOf(base, older, metric), New: sideOf(newer, later, metric), Forced: forced, Reasons: []string{},
	}
	if opts.Pairs {
		c.Method = "pairs"
	}
	look := opts.lookAt(min(len(base), len(newer)))
	c.Look = Look{look.Runs, look.Tail, opts.Once}
	c.decide(older, later, opts, look)
	c.holdAgainst(failed(base), failed(newer))
	c.inform(base, newer, opts, metric)
	c.warn(base, newer, metric)
	if opts.look == nil && !opts.Once {
		c.warnOfLook(min(len(base), len(newer)))
	}
	return c, nil
}

func (o *Options) metric(f *Folder) (Metric, error) {
	if o.Metric == nil {
		return defaultMetric(f)
	}
	return *o.Metric, o.Metric.check(f)
}

func (o *Options) toleranceFrom() string {
	switch {
	case o.Calibrated:
		return "calibrated with null runs"
	case o.Tolerance != nil:
		return "as asked for"
	}
	return "the default"
}

// refuse returns every reason not to compare runs. Differences that are forced
// are returned apart.
func refuse(base, newer []*Folder, opts Options) (forced []Difference, err error) {
	var errs []error
	all := slices.Concat(base, newer)
	for i, f := range all {
		if why := f.fault(); why != "" {
			errs = append(errs, fmt.Errorf("%s: %s", f.Dir, why))
		}
		for _, other := range all[:i] {
			if f.sameRun(other) {
				errs = append(errs, fmt.Errorf("%s: it is the same run as %s, which counts once", f.Dir, other.Dir))
			}
		}
	}
	if !opts.Force {
		for _, f := range all {
			errs = append(errs, strangeSchema(f))
		}
	}
	differ := unlike(base, newer, opts.may)
	if opts.Force {
		return differ, errors.Join(errs...)
	}
	const most = 12 // wholly different scenarios differ in every line
	for i, d := range differ {
		if i == most {
			errs = append(errs, fmt.Errorf("and %d more differences", len(differ)-most))
			break
		}
		errs = append(errs, errors.New(d.String()))
	}
	if len(differ) > 0 {
		errs = append(errs, errors.New("unlike runs: --force compares them all the same"))
	}
	return nil, errors.Join(errs...)
}

// sameRun reports whether two folders hold one run.
func (f *Folder) sameRun(other *Folder) bool {
	if started := f.Header.StartedAt; !started.IsZero() && started.Equal(other.Header.StartedAt) {
		return true
	}
	return filepath.Clean(f.Dir) == filepath.Clean(other.Dir)
}

func sideOf(runs []*Folder, logs []float64, metric Metric) Side {
	s := Side{Runs: len(runs), Mean: millis(stats.Mean(logs)), Spread: stats.Spread(logs), Conditions: conditionsOf(runs, metric)}
	for i, f := range runs {
		s.Folders = append(s.Folders, f.Dir)
		s.Values = append(s.Values, millis(logs[i]))
		if v := f.Header.MusterVersion; !slices.Contains(s.Versions, v) {
			s.Versions = append(s.Versions, v)
		}
	}
	return s
}

// estimate returns what two sides say, and false with too few runs for it.
func estimate(older, later []float64, pairs bool) (stats.Estimate, bool) {
	switch {
	case min(len(older), len(later)) < 2:
		return stats.Estimate{}, false
	case pairs:
		return stats.Paired(older, later), true
	}
	return stats.Welch(older, later), true
}

// ratioOf returns new/base, with bounds that err with a probability of tail.
func ratioOf(older, later []float64, pairs bool, tail float64) Ratio {
	e, ok := estimate(older, later, pairs)
	if !ok {
		return Ratio{Value: stats.Estimate{Log: stats.Mean(later) - stats.Mean(older)}.Ratio()}
	}
	in := e.Interval(tail)
	return Ratio{e.Ratio(), &in.Low, &in.High}
}

// decide comes to the verdict.
func (c *Comparison) decide(older, later []float64, opts Options, look stats.Look) {
	c.Verdict = report.Inconclusive
	c.Ratio = ratioOf(older, later, opts.Pairs, look.Tail)
	e, ok := estimate(older, later, opts.Pairs)
	if ok {
		seen := stats.Detectable(e, look.Tail, c.Tolerance)
		c.Detectable = &seen
	}
	if e.Runs < stats.Least {
		c.undecidedByFew(min(len(older), len(later)))
		return
	}
	switch stats.Decide(e, look.Tail, c.Tolerance) {
	case stats.Beyond:
		c.Verdict = report.Regression
		c.reason("%s is %s, %s: all of that is beyond the tolerance of %s", c.Metric, change(c.Ratio.Value), between(c.Ratio), part(c.Tolerance))
	case stats.Within:
		c.Verdict = report.Pass
	default:
		c.undecided(e, look)
	}
}

// holdAgainst lets no pass stand where runs of the new side alone failed thresholds of their scenario: what is fast and wrong
// is no better. Where all of them did, that is a regression.
func (c *Comparison) holdAgainst(baseFailed, newFailed int) {
	if c.Verdict != report.Pass || baseFailed > 0 || newFailed == 0 {
		return
	}
	c.Verdict = report.Inconclusive
	if newFailed == c.New.Runs {
		c.Verdict = report.Regression
	}
	c.reason("%d of the %d new runs failed a threshold of the scenario, and no run of the base did", newFailed, c.New.Runs)
}

func (c *Comparison) reason(format string, args ...any) {
	c.Reasons = append(c.Reasons, fmt.Sprintf(format, args...))
}

func (c *Comparison) undecidedByFew(runs int) {
	more := stats.Least - runs
	c.MoreRuns = &more
	are := "are"
	if runs == 1 {
		are = "is"
	}
	c.reason("it takes at least %d runs a side to decide anything, and here %s %d", stats.Least, are, runs)
	if c.Ratio.Low == nil {
		c.reason("so far %s is %s, and one run says nothing of its spread", c.Metric, change(c.Ratio.Value))
		return
	}
	c.reason("so far %s is %s, %s", c.Metric, change(c.Ratio.Value), between(c.Ratio))
}

func (c *Comparison) undecided(e stats.Estimate, look stats.Look) {
	c.reason("%s is %s, %s: the tolerance of %s lies in between", c.Metric, change(c.Ratio.Value), between(c.Ratio), part(c.Tolerance))
	needed, ok := stats.Needed(e, look.Tail, c.Tolerance)
	if !ok {
		c.reason("a thousand runs would not decide it: what is measured lies at the tolerance")
		return
	}
	more := max(1, needed-e.Runs)
	c.MoreRuns = &more
	c.reason("about %d more runs a side would decide it, if they go on as these", more)
}

// inform adds the metrics that decide nothing.
func (c *Comparison) inform(base, newer []*Folder, opts Options, primary Metric) {
	c.Rows = []Row{}
	for _, m := range informative(slices.Concat(base, newer), primary) {
		older, _ := m.logs(base) // informative has seen that all runs have it
		later, _ := m.logs(newer)
		c.Rows = append(c.Rows, Row{
			m.String(), millis(stats.Mean(older)), millis(stats.Mean(later)), ratioOf(older, later, opts.Pairs, stats.Tail),
		})
	}
}
