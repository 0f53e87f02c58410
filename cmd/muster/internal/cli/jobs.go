package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"muster/iothub"
)

// A job is asked after at growing intervals: soon at first, seldom in the end.
const (
	firstAsk = 100 * time.Millisecond
	lastAsk  = 2 * time.Second
)

// rowsLag is how long the rows of a job that has ended may lag behind it.
const rowsLag = 30 * time.Second

// maxCell is how many characters of a payload a table shows.
const maxCell = 100

// jobs is a hub's jobs, as the job commands see and print them.
type jobs struct {
	client *iothub.Client
	stdio  Stdio
	json   bool
}

// onJob makes a command that does something with one job.
func onJob(flags *jobFlags, stdio Stdio, use, short string, do func(ctx context.Context, j *jobs, id string) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: action(func(ctx context.Context, args []string) error {
			if !iothub.ValidJobID(args[0]) {
				return withStatus(exitUsage, fmt.Errorf("%.70q is not a job id", args[0]))
			}
			j, err := flags.open(stdio)
			if err != nil {
				return err
			}
			defer j.client.Close()
			err = do(ctx, j, args[0])
			if iothub.HasCode(err, iothub.CodeJobNotFound) {
				return fmt.Errorf("job not found: %s", args[0])
			}
			return err
		}),
	}
}

func newJobShow(flags *jobFlags, stdio Stdio) *cobra.Command {
	return onJob(flags, stdio, "show ID", "Show a job and what became of it on each device",
		func(ctx context.Context, j *jobs, id string) error {
			job, err := j.client.Job(ctx, id)
			if err != nil {
				return err
			}
			rows, err := j.rows(ctx, id)
			if err != nil {
				return err
			}
			if !j.json {
				if err := j.printJob(job); err != nil {
					return err
				}
			}
			return j.printResults(job, rows)
		})
}

func newJobWatch(flags *jobFlags, stdio Stdio) *cobra.Command {
	return onJob(flags, stdio, "watch ID", "Follow a job to its end, and show what became of it on each device",
		func(ctx context.Context, j *jobs, id string) error { return j.watch(ctx, id) })
}

func newJobCancel(flags *jobFlags, stdio Stdio) *cobra.Command {
	return onJob(flags, stdio, "cancel ID", "Cancel a job that has not begun",
		func(ctx context.Context, j *jobs, id string) error {
			job, err := j.client.CancelJob(ctx, id)
			if err != nil {
				return err
			}
			return j.printJob(job)
		})
}

func newJobList(flags *jobFlags, stdio Stdio) *cobra.Command {
	var kind, status string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the jobs that the hub knows",
		Args:  cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&kind, "type", "", "only jobs of this type: method or twin")
	f.StringVar(&status, "status", "", "only jobs of this status: queued, scheduled, running, completed, failed or cancelled")
	cmd.RunE = action(func(ctx context.Context, _ []string) error {
		types := map[string]iothub.JobType{"": "", "method": iothub.JobMethod, "twin": iothub.JobTwin}
		jobType, ok := types[kind]
		if !ok {
			return withStatus(exitUsage, fmt.Errorf("--type %s: want method or twin", kind))
		}
		j, err := flags.open(stdio)
		if err != nil {
			return err
		}
		defer j.client.Close()
		list := []iothub.Job{} // never null in JSON
		for job, err := range j.client.Jobs(ctx, jobType, iothub.JobStatus(status)) {
			if err != nil {
				return err
			}
			list = append(list, job)
		}
		return j.printList(list)
	})
	return cmd
}

// watch follows a job to its end and prints its results. Its error says
// whether the job did all that it was to do.
func (j *jobs) watch(ctx context.Context, id string) error {
	job, err := j.follow(ctx, id)
	var rows []iothub.DeviceJob
	if err == nil {
		rows, err = j.settled(ctx, job)
	}
	if ctx.Err() != nil {
		return withStatus(exitInterrupted, fmt.Errorf("interrupted; the job goes on: muster job watch %s", id))
	}
	if err != nil {
		return err
	}
	if err := j.printResults(job, rows); err != nil {
		return err
	}
	return verdict(job, rows)
}

// follow asks after a job until it is done, and tells what is new.
func (j *jobs) follow(ctx context.Context, id string) (iothub.Job, error) {
	said := ""
	for wait := firstAsk; ; wait = min(2*wait, lastAsk) {
		job, err := j.client.Job(ctx, id)
		if err != nil {
			return job, err
		}
		if text := jobStanding(&job); text != said {
			fmt.Fprintf(j.stdio.Err, "%s\n", text)
			said = text
		}
		if job.Status.Done() {
			return job, nil
		}
		if !pause(ctx, wait) {
			return job, ctx.Err()
		}
	}
}

// settled reads the rows of a job that is done, until there are as many as the
// job counts and all are done: queries lag behind.
func (j *jobs) settled(ctx context.Context, job iothub.Job) ([]iothub.DeviceJob, error) {
	end := time.Now().Add(rowsLag)
	for wait := firstAsk; ; wait = min(2*wait, lastAsk) {
		rows, err := j.rows(ctx, job.JobID)
		if err != nil || complete(&job, rows) {
			return rows, err
		}
		if time.Now().After(end) {
			fmt.Fprintf(j.stdio.Err, "warning: %v after the job's end its rows are not complete\n", rowsLag)
			return rows, nil
		}
		if !pause(ctx, wait) {
			return rows, ctx.Err()
		}
	}
}

// complete reports whether the rows of a job that is done are all there. What a
// cancelled job leaves of its rows is not to be foreseen.
func complete(job *iothub.Job, rows []iothub.DeviceJob) bool {
	s := job.DeviceJobStatistics
	if s == nil || job.Status == iothub.JobCancelled {
		return true
	}
	done := 0
	for i := range rows {
		if rows[i].Status.Done() {
			done++
		}
	}
	return done >= s.DeviceCount
}

func (j *jobs) rows(ctx context.Context, id string) ([]iothub.DeviceJob, error) {
	rows := []iothub.DeviceJob{} // never null in JSON
	for row, err := range j.client.DeviceJobs(ctx, id) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// pause waits and reports whether it was for the whole time.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// succeeded reports whether a device did its part. A device that answered with
// an error has completed it, and has not.
func succeeded(row *iothub.DeviceJob) bool {
	answer := answerOf(row)
	return row.Status == iothub.DeviceJobCompleted && (answer == nil || answer.Status/100 == 2)
}

// answerOf returns what the device answered, or nil.
func answerOf(row *iothub.DeviceJob) *iothub.MethodResult {
	if row.Outcome == nil {
		return nil
	}
	return row.Outcome.DeviceMethodResponse
}

// verdict is nil if a job did its work on every device, and there was one.
func verdict(job iothub.Job, rows []iothub.DeviceJob) error {
	failed := 0
	for i := range rows {
		if !succeeded(&rows[i]) {
			failed++
		}
	}
	switch {
	case job.Status == iothub.JobFailed:
		return fmt.Errorf("job %s failed: %s", job.JobID, printable(job.FailureReason))
	case job.Status != iothub.JobCompleted:
		return fmt.Errorf("job %s is %s", job.JobID, printable(string(job.Status)))
	case len(rows) == 0:
		return fmt.Errorf("job %s reached no device", job.JobID)
	case failed > 0:
		return fmt.Errorf("job %s did not succeed on %d of %d devices", job.JobID, failed, len(rows))
	}
	return nil
}

// jobStanding says in one line where a job stands.
func jobStanding(job *iothub.Job) string {
	text := fmt.Sprintf("job %s: %s", job.JobID, job.Status)
	if !job.Status.Done() && time.Until(job.StartTime.Time) > 0 {
		text += ", starts at " + job.StartTime.Local().Format(time.RFC3339)
	}
	if s := job.DeviceJobStatistics; s != nil {
		text += fmt.Sprintf(", %d of %d devices done", s.SucceededCount+s.FailedCount, s.DeviceCount)
		if s.FailedCount > 0 {
			text += fmt.Sprintf(", %d failed", s.FailedCount)
		}
	}
	return printable(text)
}

// resultJSON is a job with its rows as JSON output has it.
type resultJSON struct {
	Job     iothub.Job         `json:"job"`
	Devices []iothub.DeviceJob `json:"devices"`
}

// printJob prints a job alone.
func (j *jobs) printJob(job iothub.Job) error {
	if j.json {
		return j.encode(job)
	}
	_, err := fmt.Fprintf(j.stdio.Out, "%s\n", jobStanding(&job))
	return err
}

func (j *jobs) encode(v any) error {
	e := json.NewEncoder(j.stdio.Out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (j *jobs) printResults(job iothub.Job, rows []iothub.DeviceJob) error {
	if j.json {
		return j.encode(resultJSON{job, rows})
	}
	t := j.table()
	_, err := fmt.Fprintln(t, "DEVICE\tSTATUS\tANSWER\tTOOK\tDETAIL")
	for i := range rows {
		row := &rows[i]
		name, answer, took, detail := row.DeviceID, "-", "-", ""
		if row.ModuleID != "" {
			name += "/" + row.ModuleID
		}
		if a := answerOf(row); a != nil {
			answer, detail = fmt.Sprint(a.Status), oneLine(a.Payload)
		}
		if row.Error != nil {
			detail = row.Error.Code + ": " + row.Error.Description
		}
		if !row.EndTimeUTC.IsZero() && !row.StartTimeUTC.IsZero() {
			took = row.EndTimeUTC.Sub(row.StartTimeUTC.Time).Round(time.Millisecond).String()
		}
		_, werr := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", printable(name), printable(string(row.Status)), answer, took, cell(detail))
		err = errors.Join(err, werr)
	}
	return errors.Join(err, t.Flush())
}

func (j *jobs) printList(list []iothub.Job) error {
	if j.json {
		return j.encode(list)
	}
	t := j.table()
	_, err := fmt.Fprintln(t, "JOB\tTYPE\tSTATUS\tSTART\tDEVICES\tDONE\tFAILED\tCONDITION")
	for i := range list {
		job := &list[i]
		devices, done, failed := "-", "-", "-"
		if s := job.DeviceJobStatistics; s != nil {
			devices, done, failed = fmt.Sprint(s.DeviceCount), fmt.Sprint(s.SucceededCount+s.FailedCount), fmt.Sprint(s.FailedCount)
		}
		_, werr := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", job.JobID, printable(string(job.Type)), printable(string(job.Status)),
			job.StartTime.Local().Format(time.RFC3339), devices, done, failed, cell(job.QueryCondition))
		err = errors.Join(err, werr)
	}
	return errors.Join(err, t.Flush())
}

func (j *jobs) table() *tabwriter.Writer { return tabwriter.NewWriter(j.stdio.Out, 0, 8, 2, ' ', 0) }

// cell shortens a text for a table.
func cell(s string) string {
	s = printable(s)
	if r := []rune(s); len(r) > maxCell {
		return string(r[:maxCell-1]) + "…"
	}
	return s
}
