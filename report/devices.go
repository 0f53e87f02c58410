package report

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"muster/internal/sample"
)

// name returns the device's id, or its number if the samples do not have it.
func (d *deviceRow) name() string {
	if d.id == "" {
		return fmt.Sprintf("#%d", d.device)
	}
	return d.id
}

// writeDevices writes devices.csv: a line for each device that a job
// targeted. The latencies are of total, in milliseconds, and empty without
// samples.
func (r *Report) writeDevices(w io.Writer) error {
	buf := bufio.NewWriter(w)
	out := csv.NewWriter(buf)
	head := []string{"id", "group", "job"}
	for _, o := range sample.Outcomes {
		head = append(head, o.String())
	}
	if err := out.Write(append(head, "duplicates", "samples", "p50Ms", "p99Ms", "maxMs")); err != nil {
		return err
	}
	for i := range r.devices {
		if err := out.Write(r.devices[i].fields(head[:0])); err != nil {
			return err
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return err
	}
	return buf.Flush()
}

// fields appends the line's fields to dst.
func (d *deviceRow) fields(dst []string) []string {
	dst = append(dst, d.name(), d.group, d.job)
	for _, o := range sample.Outcomes {
		dst = append(dst, strconv.FormatUint(uint64(d.outcomes[o]), 10))
	}
	dst = append(dst, strconv.FormatUint(uint64(d.duplicates), 10))
	if d.total == nil {
		return append(dst, "0", "", "", "")
	}
	n := d.total.TotalCount()
	dst = append(dst, strconv.FormatInt(n, 10))
	for _, us := range d.total.ValueAtPercentilesSlice(ranks(n, 50, 99)) {
		dst = append(dst, millis(min(Millis(us*1e3), Millis(d.max))))
	}
	return append(dst, millis(Millis(d.max)))
}

func millis(m Millis) string { return strconv.FormatFloat(m.number(), 'f', -1, 64) }
