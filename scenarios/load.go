package scenarios

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Options change a scenario while it is loaded. The zero value changes nothing.
type Options struct {
	// Set holds path=value arguments, applied in order before anything is
	// checked. A path is that of an error, as in jobs[0].repeat.times; an item
	// of fleet or jobs may also be given by its name, as in jobs.lock.via.
	Set []string

	// Devices scales the groups in proportion, each to at least one device, so
	// that together they have this many. 0 leaves them as they are.
	Devices int

	// Thresholds replace the scenario's, unless there is none. Errors call them
	// objectives.
	Thresholds []string

	// Driver puts all groups on one driver. "" leaves them as they are.
	Driver Driver

	// Seed replaces the scenario's seed. Nil leaves it as it is.
	Seed *uint64

	// Getenv looks ${NAME} up. Default os.LookupEnv.
	Getenv func(string) (string, bool)
}

// Load reads the scenario in a file. Faults of the scenario are [Errors];
// a file that cannot be read is an error of its own.
func Load(path string, opts Options) (*Scenario, error) {
	src, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read scenario %s: %w", path, err)
	}
	return Parse(path, src, opts)
}

// read returns a file's content, no more than is needed to see it too large.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	return src, cause(err)
}

// cause drops the path and operation that the caller's message has already.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// Parse reads a scenario from its text. The name stands for the file in
// errors. A scenario with faults is returned as [Errors] alone.
func Parse(name string, src []byte, opts Options) (*Scenario, error) {
	d := &decoder{
		src:    newSource(cmp.Or(name, "scenario"), src),
		getenv: opts.Getenv,
		masked: map[string]masked{},
		values: map[string]*node{},
		keys:   map[string]*node{},
	}
	if d.getenv == nil {
		d.getenv = os.LookupEnv
	}
	s := d.load(opts)
	if len(d.errs) > 0 {
		d.errs.sort()
		if d.more > 0 {
			rest := fmt.Sprintf("%d more faults are not shown", d.more)
			d.errs = append(d.errs, &Error{File: d.src.name, Msg: rest})
		}
		return nil, d.errs
	}
	return s, nil
}

// load runs the steps in order. Each does what it can after faults of an
// earlier one, so that all are reported together.
func (d *decoder) load(opts Options) *Scenario {
	root := d.parse()
	if root == nil {
		return nil
	}
	for _, arg := range opts.Set {
		d.set(root, arg)
	}
	d.replaceThresholds(root, opts.Thresholds)
	d.substitute(root, "")
	s := d.scenario(root)
	if opts.Seed != nil {
		s.Seed = *opts.Seed
		delete(d.masked, "seed")
	}
	if opts.Driver != "" {
		d.drive(s.Fleet, opts.Driver)
	}
	if opts.Devices != 0 {
		d.scale(s.Fleet, opts.Devices)
	}
	d.check(s)
	d.warnings.sort()
	for _, w := range d.warnings {
		s.Warnings = append(s.Warnings, w.Error())
	}
	s.masked = d.masked
	return s
}
