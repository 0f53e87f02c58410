package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"muster/iothub"
)

// jobFlags are what all job commands share.
type jobFlags struct {
	serviceFlags
	output string
}

func newJob(stdio Stdio) *cobra.Command {
	var flags jobFlags
	cmd := &cobra.Command{
		Use:   "job",
		Short: "Schedule jobs on any hub, follow and cancel them",
		Long: `Schedule jobs on a hub, real or embedded, follow them and cancel them.

The hub is that of the service connection string in $` + serviceVariable + ` or --hub; its
policy needs the permission to connect as a service. For the embedded hub --url says where its
REST side is, http://127.0.0.1:8080 by default.

method, twin and watch end with 0 if the job was completed and succeeded on every device that
it reached, else with 1: also when it reached none. An interrupt ends the waiting, not the
job, with 105.`,
		Args: cobra.NoArgs, // else a command that is not there would be shown the help, with status 0
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := cmd.PersistentFlags()
	flags.register(f)
	f.StringVar(&flags.output, "output", "table", "how results are printed: table or json")
	cmd.AddCommand(newJobMethod(&flags, stdio), newJobTwin(&flags, stdio), newJobList(&flags, stdio),
		newJobShow(&flags, stdio), newJobWatch(&flags, stdio), newJobCancel(&flags, stdio))
	return cmd
}

// open checks the output and returns what a command needs.
func (f *jobFlags) open(stdio Stdio) (*jobs, error) {
	if f.output != "table" && f.output != "json" {
		return nil, withStatus(exitUsage, fmt.Errorf("--output %s: want table or json", f.output))
	}
	client, _, err := f.client()
	if err != nil {
		return nil, err
	}
	return &jobs{client: client, stdio: stdio, json: f.output == "json"}, nil
}

// newJobFlags say whom a new job reaches, and when.
type newJobFlags struct {
	query, device, start, id string
	maxExecution             time.Duration
	noWait                   bool
}

func (n *newJobFlags) register(f *pflag.FlagSet) {
	f.StringVar(&n.query, "query", "", "the devices that match this condition, as in tags.site = 'north'; * for all")
	f.StringVar(&n.device, "device", "", "this one device, which must exist")
	f.StringVar(&n.start, "start", "", "when: from now, as in +20s, or a time as in 2030-01-02T15:04:05Z (default: at once)")
	f.DurationVar(&n.maxExecution, "max-execution", 5*time.Minute, "how long the job may take from its start, in whole seconds")
	f.StringVar(&n.id, "id", "", "the job's id: letters, digits and - (default: a random one)")
	f.BoolVar(&n.noWait, "no-wait", false, "do not wait for the job's end")
}

// request returns the job without what it does, and reports every fault.
func (n *newJobFlags) request(now time.Time) (iothub.JobRequest, error) {
	r := iothub.JobRequest{JobID: cmp.Or(n.id, uuid.NewString()), QueryCondition: n.query}
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case (n.query == "") == (n.device == ""):
		fault("--query and --device: give one of them")
	case n.device != "" && !iothub.ValidDeviceID(n.device):
		fault("--device %.130q: is not a device id", n.device)
	case n.device != "":
		r.QueryCondition = onDevice(n.device)
	case len(n.query) > iothub.MaxQuery:
		fault("--query: is longer than %d characters", iothub.MaxQuery)
	}
	if !iothub.ValidJobID(r.JobID) {
		fault("--id %.70q: want 1 to 64 letters, digits and -", n.id)
	}
	start, err := parseStart(n.start, now)
	if err != nil {
		fault("--start %w", err)
	}
	r.StartTime = iothub.Time{Time: start}
	if r.MaxExecutionTimeInSeconds, err = seconds(n.maxExecution, time.Second, math.MaxInt32*time.Second); err != nil {
		fault("--max-execution %w", err)
	}
	return r, errors.Join(errs...)
}

// onDevice returns the condition that one device matches. An id may hold one
// kind of quote.
func onDevice(id string) string {
	if strings.Contains(id, "'") {
		return `deviceId IN ["` + id + `"]`
	}
	return "deviceId IN ['" + id + "']"
}

// parseStart reads when a job starts; the zero time is at once.
func parseStart(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if after, ok := strings.CutPrefix(s, "+"); ok {
		d, err := time.ParseDuration(after)
		if err != nil || d < 0 {
			return time.Time{}, fmt.Errorf("%s: want a time from now as in +20s, or one as in 2030-01-02T15:04:05Z", s)
		}
		return now.Add(d), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, fmt.Errorf("%s: want a time from now as in +20s, or one as in 2030-01-02T15:04:05Z", s)
	}
	return at, nil
}

// seconds returns a duration in whole seconds, which it must be.
func seconds(d, least, most time.Duration) (int, error) {
	if d < least || d > most || d%time.Second != 0 {
		return 0, fmt.Errorf("%v: want whole seconds, from %v to %v", d, least, most)
	}
	return int(d / time.Second), nil
}

// object checks that a flag holds a JSON object; nil for an empty one.
func object(flag, text string) (json.RawMessage, error) {
	if text == "" {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil || members == nil {
		return nil, fmt.Errorf("%s: is not a JSON object", flag)
	}
	return json.RawMessage(text), nil
}

func newJobMethod(flags *jobFlags, stdio Stdio) *cobra.Command {
	var target newJobFlags
	var payload string
	var response, connect time.Duration
	cmd := &cobra.Command{
		Use:   "method NAME",
		Short: "Call a direct method on many devices, or on one",
		Args:  cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	target.register(f)
	f.StringVar(&payload, "payload", "", "the method's payload, JSON (default: none)")
	f.DurationVar(&response, "response-timeout", iothub.DefaultResponseTimeout, "how long a device may take to answer, 5s to 5m")
	f.DurationVar(&connect, "connect-timeout", 0, "how long to wait for a device that is not online, up to 5m")
	cmd.RunE = action(func(ctx context.Context, args []string) error {
		r, err := target.request(time.Now())
		errs := []error{err}
		m := &iothub.Method{MethodName: args[0]}
		if payload != "" && !json.Valid([]byte(payload)) {
			errs = append(errs, errors.New("--payload: is not JSON"))
		} else if payload != "" {
			m.Payload = json.RawMessage(payload)
		}
		responseSeconds, err := seconds(response, iothub.MinResponseTimeout, iothub.MaxMethodTimeout)
		if err != nil {
			errs = append(errs, fmt.Errorf("--response-timeout %w", err))
		}
		connectSeconds, err := seconds(connect, 0, iothub.MaxMethodTimeout)
		if err != nil {
			errs = append(errs, fmt.Errorf("--connect-timeout %w", err))
		}
		m.ResponseTimeoutInSeconds = &responseSeconds
		if connectSeconds > 0 {
			m.ConnectTimeoutInSeconds = &connectSeconds
		}
		r.Type, r.CloudToDeviceMethod = iothub.JobMethod, m
		return schedule(ctx, flags, &target, r, errors.Join(errs...), stdio)
	})
	return cmd
}

func newJobTwin(flags *jobFlags, stdio Stdio) *cobra.Command {
	var target newJobFlags
	var desired, tags string
	cmd := &cobra.Command{
		Use:   "twin",
		Short: "Change desired properties and tags of many devices, or of one",
		Args:  cobra.NoArgs,
	}
	f := cmd.Flags()
	target.register(f)
	f.StringVar(&desired, "desired", "", "patch of the desired properties, a JSON object in which null deletes")
	f.StringVar(&tags, "tags", "", "patch of the tags, likewise")
	cmd.RunE = action(func(ctx context.Context, _ []string) error {
		r, err := target.request(time.Now())
		errs := []error{err}
		if desired == "" && tags == "" {
			errs = append(errs, errors.New("--desired and --tags: give one of them, or both"))
		}
		desiredPatch, err := object("--desired", desired)
		errs = append(errs, err)
		tagsPatch, err := object("--tags", tags)
		errs = append(errs, err)
		r.Type, r.UpdateTwin = iothub.JobTwin, iothub.NewJobTwinUpdate(tagsPatch, desiredPatch)
		return schedule(ctx, flags, &target, r, errors.Join(errs...), stdio)
	})
	return cmd
}

// schedule creates a job, unless its flags have faults, and follows it.
func schedule(ctx context.Context, flags *jobFlags, target *newJobFlags, r iothub.JobRequest, faults error, stdio Stdio) error {
	if faults != nil {
		return withStatus(exitUsage, faults)
	}
	j, err := flags.open(stdio)
	if err != nil {
		return err
	}
	defer j.client.Close()
	if target.device != "" {
		_, err := j.client.Twin(ctx, target.device)
		if iothub.HasCode(err, iothub.CodeDeviceNotFound) {
			return fmt.Errorf("device not found: %s", target.device)
		}
		if err != nil {
			return err
		}
	}
	job, err := j.client.CreateJob(ctx, r)
	if err != nil {
		return err
	}
	if target.noWait {
		return j.printJob(job)
	}
	return j.watch(ctx, job.JobID)
}
