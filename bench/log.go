package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// logged is a run in a log: a line of JSON.
type logged struct {
	Via, Transport, Driver string
	Devices                int
	Costs                  costs
}

// appendTo adds a run to a log.
func (c benchCase) appendTo(file string, cost costs) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("log the run: %w", err)
	}
	err = json.NewEncoder(f).Encode(logged{c.via, c.transport, c.driver, c.devices, cost})
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("log the run in %s: %w", file, err)
	}
	return nil
}

// readLog returns the runs of a log. One that is not there has none.
func readLog(file string) (results, error) {
	r := results{}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	defer f.Close()
	lines := json.NewDecoder(f)
	lines.DisallowUnknownFields()
	for n := 1; ; n++ {
		var l logged
		err := lines.Decode(&l)
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the log %s: run %d: %w", file, n, err)
		}
		c := benchCase{l.Via, l.Transport, l.Driver, l.Devices}
		r[c] = append(r[c], l.Costs)
	}
}

// notIn returns the cases of which there are no results.
func (r results) notIn(all []benchCase) []benchCase {
	return slices.DeleteFunc(all, func(c benchCase) bool { return r[c] != nil })
}
