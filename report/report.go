// Package report turns the samples of a run into its verdict and into what
// people and machines read of it.
//
// Build reads run.json and samples/ of a results folder and nothing else, so
// the same folder always gives the same report, during the run's own process
// or years later. Build streams: it keeps a compact row of each execution, one
// of each device and job, the windows of a second in a few bytes a value, and
// the dense histograms of one job at a time.
// WriteParquet exports the executions of such a folder. Live counts the same
// while a run goes on, for those who watch it, and a Feed has its curves.
//
// What is measured follows three rules. A moment that was not seen is absent
// and never zero. A value that no histogram can hold, above 24 hours or
// negative because two clocks met, is counted and shown and is in no
// percentile. And whatever forbids a pass is a field of Summary, so that
// Judge, a pure function of it, can be asked again later.
package report

import (
	"errors"
	"fmt"
	"io"
	"os"

	"muster/internal/sample"
)

// Report is what a run's folder says: the Summary, and one row for each
// device and job.
type Report struct {
	// Summary is what summary.json holds.
	Summary Summary

	dir     string
	devices []deviceRows   // by job
	windows []windowSeries // of the fleet, then of each job and phase that has any
	book    *book          // for the page
}

// Build makes the report of the run in the results folder dir. Samples that
// end early, as after a crash, make a report whose verdict is Incomplete, not
// an error.
func Build(dir string) (*Report, error) {
	run, err := readRun(dir)
	if err != nil {
		return nil, err
	}
	b := newBook(run)
	if b.torn, err = eachRecord(dir, false, b.add); err != nil {
		return nil, err
	}
	s := b.summary()
	rows, flown, windows := b.foldJobs(&s)
	s.Thresholds = b.evaluate(&s)
	// The windows of the jobs are known only now, so that the wakes, far more
	// than anything else that a run records, are read a second time, not kept.
	w := newWatch(b.windows(), b.connects, flown, len(run.Generators))
	if _, err := eachRecord(dir, true, w.add); err != nil {
		return nil, err
	}
	w.judge(&s)
	b.upkeep.describe(&s, run)
	addWarnings(&s)
	verdict, reasons := Judge(&s)
	s.Verdict, s.Reasons = verdict, append(s.Reasons, reasons...)
	return &Report{Summary: s, dir: dir, devices: rows, windows: windows, book: b}, nil
}

// Write writes what is made of the samples into the run's folder. Each file
// appears whole or not at all.
func (r *Report) Write() error {
	return errors.Join(
		writeFile(r.dir, "summary.json", r.writeJSON),
		writeFile(r.dir, "devices.csv", r.writeDevices),
		writeFile(r.dir, "summary.md", r.writeMarkdown),
		writeFile(r.dir, "junit.xml", r.writeJUnit),
		writeFile(r.dir, "bench.txt", r.writeBench),
		writeFile(r.dir, "histograms.hlog", r.writeIntervals),
		r.writePercentiles(),
		writeFile(r.dir, "report.html", r.writePage),
	)
}

// eachRecord calls do for each record of the run in dir, or for those that are
// of no single device, and reports whether the samples end in the middle of one. A run that died before its first
// sample has none.
func eachRecord(dir string, others bool, do func(sample.Record)) (torn bool, err error) {
	in, err := sample.OpenDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("build report: %w", err)
	}
	defer in.Close() // opened for reading only
	if others {
		in.SkipDevices()
	}
	for {
		rec, err := in.Next()
		if errors.Is(err, io.EOF) {
			return in.Torn(), nil
		}
		if err != nil {
			return false, fmt.Errorf("build report: %w", err)
		}
		do(rec)
	}
}
