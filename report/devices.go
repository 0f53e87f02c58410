package report

import (
	"bufio"
	"encoding/csv"
	"io"
	"strconv"

	"muster/internal/sample"
)

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
	for _, job := range r.devices {
		for i := range job.rows {
			d := &job.rows[i]
			if err := out.Write(d.fields(append(head[:0], r.book.name(d.device), r.book.group(d.device), job.job))); err != nil {
				return err
			}
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return err
	}
	return buf.Flush()
}

// fields appends the line's fields to dst, but for those that name the device
// and the job.
func (d *deviceRow) fields(dst []string) []string {
	for _, o := range sample.Outcomes {
		dst = append(dst, strconv.FormatUint(uint64(d.outcomes[o]), 10))
	}
	dst = append(dst, strconv.FormatUint(uint64(d.duplicates), 10), strconv.FormatUint(uint64(d.samples), 10))
	if d.samples == 0 {
		return append(dst, "", "", "")
	}
	for _, us := range []int64{d.p50, d.p99} {
		dst = append(dst, millis(min(Millis(us*1e3), Millis(d.max))))
	}
	return append(dst, millis(Millis(d.max)))
}

func millis(m Millis) string { return strconv.FormatFloat(m.number(), 'f', -1, 64) }
