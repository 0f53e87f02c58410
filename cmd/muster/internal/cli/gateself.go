package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"muster/gate"
	"muster/report"
	"muster/scenarios"
)

// slowable are the phases that end after a device's method has, so that a
// slower method makes each of them longer by as much.
var slowable = []string{"device", "service", "total", "booking"}

// testSelf runs two gates of this muster against itself: one of like sides,
// which must not fire, and one whose new side has devices that are slower by
// twice what the first says that it could have seen, which must.
func (g *gating) testSelf(ctx context.Context, cfg gate.Config) error {
	if cfg.Options.Metric != nil { // else it is known when a run has shown what there is
		if _, err := slowerBy(g.scenario, cfg.Options.Metric.String(), time.Second); err != nil {
			return withStatus(exitUsage, fmt.Errorf("--self-test: %w", err))
		}
	}
	still, err := g.half(ctx, cfg, "still", nil)
	if err != nil || still.Verdict != report.Pass && still.Verdict != report.Regression && still.Verdict != report.Inconclusive {
		return g.finish(still, err, cfg.Dir)
	}
	by := 2 * *still.Comparison.Detectable
	added := time.Duration(by * float64(still.Comparison.New.Mean)).Round(10 * time.Microsecond)
	slower, err := slowerBy(g.scenario, still.Comparison.Metric, added)
	if err != nil {
		return withStatus(exitUsage, fmt.Errorf("--self-test: %w", err))
	}
	fires, err := g.half(ctx, cfg, "fires", slower)
	if err != nil {
		return g.finish(fires, err, cfg.Dir)
	}
	return g.judgeSelf(cfg.Dir, still, fires, added)
}

// half runs one of the two gates, whose new side is given further settings.
func (g *gating) half(ctx context.Context, cfg gate.Config, name string, slower []string) (*gate.Result, error) {
	fmt.Fprintf(cfg.Progress, "self-test: %s\n", name)
	cfg.Dir = filepath.Join(cfg.Dir, name)
	var err error
	if cfg.Settings, err = g.between(slower); err != nil {
		return nil, err
	}
	if slower != nil {
		cfg.NewIs += " with slower devices: " + strings.Join(slower, ", ")
	}
	like, changed := side{g.self, g.flags.set}, side{g.self, slices.Concat(g.flags.set, slower)}
	cfg.Run = func(ctx context.Context, who gate.Who, dir string) error {
		if who == gate.New {
			return g.run(ctx, changed, dir)
		}
		return g.run(ctx, like, dir)
	}
	return gate.Conduct(ctx, cfg)
}

// judgeSelf says what the two gates came to.
func (g *gating) judgeSelf(dir string, still, fires *gate.Result, added time.Duration) error {
	held, fired := still.Verdict == report.Pass, fires.Verdict == report.Regression
	fmt.Fprintf(g.stdio.Out, "holds still  %s: one build against itself, new/base %.3f\n", still.Verdict, still.Comparison.Ratio.Value)
	fmt.Fprintf(g.stdio.Out, "fires        %s: devices slower by %s, new/base %.3f\n", fires.Verdict, added, ratio(fires))
	fmt.Fprintf(g.stdio.Out, "could see    a slowdown of %.1f %% or more, nine times of ten\nresults: %s\n", 100**still.Comparison.Detectable, dir)
	switch {
	case held && fired:
		return nil
	case fires.Verdict == report.Interrupted || fires.Verdict == report.Invalid:
		return verdictStatus(fires.Verdict)
	case still.Verdict == report.Regression || fires.Verdict == report.Pass:
		return withStatus(exitFailed, fmt.Errorf("self-test: the gate is not to be trusted here: %s where nothing changed, %s where devices were slower", still.Verdict, fires.Verdict))
	}
	return withStatus(exitUndecided, nil)
}

func ratio(r *gate.Result) float64 {
	if r.Comparison == nil {
		return 1
	}
	return r.Comparison.Ratio.Value
}

// slowerBy returns settings that make the methods of a metric's job slower.
func slowerBy(s *scenarios.Scenario, metric string, added time.Duration) ([]string, error) {
	m, err := gate.ParseMetric(metric)
	if err != nil {
		return nil, err
	}
	if len(m.Path) != 4 || m.Path[0] != "jobs" || !slices.Contains(slowable, m.Path[2]) {
		return nil, fmt.Errorf("it slows the devices' methods, which %s does not hold; want --metric jobs.NAME.PHASE with a phase of %s", metric, strings.Join(slowable, ", "))
	}
	at := slices.IndexFunc(s.Jobs, func(j scenarios.Job) bool { return j.Name == m.Path[1] })
	if at < 0 || s.Jobs[at].CloudToDeviceMethod == nil {
		return nil, fmt.Errorf("it slows the devices' methods, and the job %s calls none", m.Path[1])
	}
	name := s.Jobs[at].CloudToDeviceMethod.MethodName
	var set []string
	for _, group := range s.Fleet {
		if method, ok := group.Methods[name]; ok {
			set = append(set, fmt.Sprintf("fleet[%s].methods[%s].latency=%s", strconv.Quote(group.Name), strconv.Quote(name), latencyText(method.Latency, added)))
		}
	}
	if set == nil {
		return nil, fmt.Errorf("no group of the fleet has the method %s", name)
	}
	return set, nil
}

// latencyText writes a latency that is longer by so much.
func latencyText(l scenarios.Latency, added time.Duration) string {
	if l.Kind == scenarios.LogNormal {
		return fmt.Sprintf("{lognormal: {median: %s, sigma: %g}}", l.Median+added, l.Sigma)
	}
	return (l.Median + added).String()
}
