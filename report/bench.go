package report

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// benchUnits are the units of bench.txt with which of two values is better.
var benchUnits = []struct{ name, better string }{
	{"p50-sec", "lower"},
	{"p90-sec", "lower"},
	{"p99-sec", "lower"},
	{"p999-sec", "lower"},
	{"max-sec", "lower"},
	{"succeeded-ratio", "higher"},
	{"hub-cpu-sec", "lower"},
	{"generator-cpu-sec", "lower"},
}

// writeBench writes bench.txt in the Go benchmark format, a line for each job
// and phase and one for the connects. A run is one measurement: benchstat gets
// its samples from several runs. What differs from run to run is a comment,
// since benchstat compares only what has the same configuration.
func (r *Report) writeBench(w io.Writer) error {
	s := &r.Summary
	buf := bufio.NewWriter(w)
	fmt.Fprintf(buf, "# muster %s, verdict %s, started %s, seed %d\n", plain(s.MusterVersion), s.Verdict, s.StartedAt.UTC().Format(time.RFC3339), s.Seed)
	fmt.Fprintf(buf, "target: %s\ndriver: %s\n", plain(s.Target.Kind), plain(s.Driver))
	if s.Target.Note != "" { // of the others the line is left out: benchstat compares no runs that differ in it
		fmt.Fprintf(buf, "transport: %s\n", plain(s.Target.Transport))
	}
	for _, u := range benchUnits {
		fmt.Fprintf(buf, "Unit %s better=%s\n", u.name, u.better)
	}
	name := fmt.Sprintf("BenchmarkMuster/scenario=%s/devices=%d", slug(s.Scenario), s.Fleet.Devices)
	benchLine(buf, name+"/phase=connect", benchStats(s.Fleet.Connect, s.Fleet.Devices, s.Fleet.Connected))
	for i := range s.Jobs {
		j := &s.Jobs[i]
		for p := range phases {
			if st := j.Phases[p.String()]; st != nil {
				// The phase is last: a name's end such as -2 would be read as a number of processors.
				benchLine(buf, fmt.Sprintf("%s/job=%s/phase=%s", name, slug(j.Name), p), benchStats(st, 0, 0))
			}
		}
		benchLine(buf, fmt.Sprintf("%s/job=%s/phase=all", name, slug(j.Name)), benchStats(nil, j.Targeted, j.Succeeded))
	}
	cost := []string{benchValue(s.Generator.CPUSeconds, "generator-cpu-sec")}
	if s.Hub != nil && s.Hub.CPUSeconds > 0 {
		cost = append(cost, benchValue(s.Hub.CPUSeconds, "hub-cpu-sec"))
	}
	benchLine(buf, name+"/phase=all", cost)
	return buf.Flush()
}

func benchLine(w io.Writer, name string, values []string) {
	if len(values) > 0 {
		fmt.Fprintf(w, "%s 1 %s\n", name, strings.Join(values, " "))
	}
}

func benchStats(st *Stats, of, succeeded int64) []string {
	var values []string
	if st != nil {
		for i, m := range []Millis{st.P50, st.P90, st.P99, st.P999, st.Max} {
			values = append(values, benchValue(m.number()/1e3, benchUnits[i].name))
		}
	}
	if of > 0 {
		values = append(values, benchValue(float64(succeeded)/float64(of), "succeeded-ratio"))
	}
	return values
}

func benchValue(v float64, unit string) string {
	return strconv.FormatFloat(v, 'g', 9, 64) + " " + unit
}
