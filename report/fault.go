package report

import (
	"maps"
	"time"

	"muster/internal/sample"
)

// maxFaultIndex bounds what is believed of a fault's place in its scenario.
const maxFaultIndex = 10_000

// addFault takes in what is known of a fault.
func (b *book) addFault(r *sample.Fault) {
	if r.Index > maxFaultIndex {
		b.strays++
		return
	}
	for int(r.Index) >= len(b.faults) {
		b.faults = append(b.faults, sample.Fault{})
	}
	b.faults[r.Index] = *r
	b.saw(max(r.Begun, r.Ended))
}

// faultList returns the faults of which something was recorded.
func (b *book) faultList() []Fault {
	var all []Fault
	for i := range b.faults {
		if b.faults[i].What != "" {
			all = append(all, newFault(&b.faults[i]))
		}
	}
	return all
}

// newFault says of a fault what is known.
func newFault(f *sample.Fault) Fault {
	shown := Fault{What: f.What, At: f.At, Struck: f.Struck, Error: f.Error}
	if f.Begun.Seen() {
		shown.Begun = new(Millis(f.Begun))
	}
	if lasted, ok := f.Ended.Since(f.Begun); ok {
		shown.Lasted = new(Millis(lasted))
	}
	return shown
}

// String says in one line what became of the fault.
func (f *Fault) String() string {
	text := f.At + " " + f.What
	switch {
	case f.Begun == nil:
		return text + ": did not begin"
	case f.Lasted == nil:
		return text + ": begun, its end was not seen, struck " + thousands(f.Struck) + " or more"
	case time.Duration(*f.Lasted) < time.Millisecond:
		text += ": once"
	default:
		text += ": for " + (*f.Lasted).String()
	}
	return text + ", struck " + thousands(f.Struck)
}

// sum returns how many m counts in all.
func sum(m map[string]int64) int64 {
	n := int64(0)
	for v := range maps.Values(m) {
		n += v
	}
	return n
}
