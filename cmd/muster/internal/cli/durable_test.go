package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/iothub"
)

// Hubs with a data folder that are killed: what they acknowledged is there in the next one.

// writer does one thing after the other to a hub until that fails, and remembers what was acknowledged. It goes on with the
// next hub.
type writer struct {
	name     string
	key      iothub.Key
	devices  int // name-0 to name-(devices-1) are acknowledged
	tag      int // of the tag n of name-0, the newest that is acknowledged
	reported int // of the reported property n of name-0
	jobs     int // name-0 to name-(jobs-1) are acknowledged
	err      error
}

// run writes until something fails; each acknowledgement is counted.
func (w *writer) run(ctx context.Context, h *hubProcess, c *iothub.Client, acknowledged *atomic.Int64) {
	step := func(do func() error, count *int) bool {
		if w.err = do(); w.err != nil {
			return false
		}
		*count++
		acknowledged.Add(1)
		return true
	}
	create := func() error {
		d := iothub.Device{
			DeviceID:       fmt.Sprintf("%s-%d", w.name, w.devices),
			Authentication: &iothub.Authentication{SymmetricKey: iothub.SymmetricKey{Primary: w.key}},
		}
		_, err := c.CreateDevice(ctx, d)
		return err
	}
	if w.devices == 0 && !step(create, &w.devices) {
		return
	}
	first := w.name + "-0"
	dev, err := dialWire(h, first, w.key, iothub.FilterTwinResponses)
	if err != nil {
		w.err = err
		return
	}
	defer dev.conn.Close()
	for step(create, &w.devices) &&
		step(func() error {
			_, err := c.PatchTwin(ctx, first, fmt.Appendf(nil, `{"tags":{"n":%d}}`, w.tag+1), "*")
			return err
		}, &w.tag) &&
		step(func() error { return dev.report(w.reported + 1) }, &w.reported) &&
		step(func() error {
			_, err := c.CreateJob(ctx, iothub.JobRequest{
				JobID: fmt.Sprintf("%s-%d", w.name, w.jobs), Type: iothub.JobTwin, QueryCondition: "deviceId = 'nobody'",
				UpdateTwin: json.RawMessage(`{"etag":"*","tags":{"a":1}}`), StartTime: iothub.Time{Time: time.Now().Add(time.Hour)},
			})
			return err
		}, &w.jobs) {
	}
}

// check compares what a hub has with what was acknowledged. What was asked for and not acknowledged may be there or not; the
// writer goes on with it if it is.
func (w *writer) check(t *testing.T, c *iothub.Client) {
	t.Helper()
	ctx := t.Context()
	for i := range w.devices {
		if _, err := c.Device(ctx, fmt.Sprintf("%s-%d", w.name, i)); err != nil {
			t.Errorf("device %s-%d was acknowledged: %v", w.name, i, err)
		}
	}
	if _, err := c.Device(ctx, fmt.Sprintf("%s-%d", w.name, w.devices)); err == nil {
		w.devices++
	}
	for i := range w.jobs {
		job, err := c.Job(ctx, fmt.Sprintf("%s-%d", w.name, i))
		if err != nil || job.Status != iothub.JobScheduled {
			t.Errorf("job %s-%d was acknowledged: %s, %v", w.name, i, job.Status, err)
		}
	}
	if job, err := c.Job(ctx, fmt.Sprintf("%s-%d", w.name, w.jobs)); err == nil && job.Status == iothub.JobScheduled {
		w.jobs++
	}
	if w.devices == 0 {
		return
	}
	twin, err := c.Twin(ctx, w.name+"-0")
	if err != nil {
		t.Errorf("twin %s-0: %v", w.name, err)
		return
	}
	w.tag = within1(t, w.name+": tag", w.tag, number(twin.Tags))
	w.reported = within1(t, w.name+": reported", w.reported, number(twin.Properties.Reported))
	if want := int64(w.tag + 1); twin.Version != want {
		t.Errorf("%s: version %d after %d patches, want %d", w.name, twin.Version, w.tag, want)
	}
}

// number returns the member n of a document, 0 for none.
func number(doc []byte) int {
	var members struct{ N int }
	_ = json.Unmarshal(doc, &members)
	return members.N
}

func within1(t *testing.T, what string, acknowledged, got int) int {
	t.Helper()
	if got != acknowledged && got != acknowledged+1 {
		t.Errorf("%s is %d, and %d was acknowledged last", what, got, acknowledged)
	}
	return got
}

// TestKillLosesNothing kills hubs at any moment while writers write. The one after it has all that was acknowledged, and the
// sessions of the devices.
func TestKillLosesNothing(t *testing.T) {
	withoutVariables(t)
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	dir := t.TempDir()
	var writers []*writer
	for i := range 8 {
		writers = append(writers, &writer{name: fmt.Sprintf("w%d", i), key: iothub.Key(fmt.Sprintf("key %d", i))})
	}
	h := startHub(t, dir, 0)
	cs := h.CS
	for range rounds {
		kill := int64(1 + rand.IntN(300))
		c := h.client(t)
		var acknowledged atomic.Int64
		var writing sync.WaitGroup
		for _, w := range writers {
			writing.Go(func() { w.run(t.Context(), h, c, &acknowledged) })
		}
		for end := time.Now().Add(patience); acknowledged.Load() < kill && time.Now().Before(end); {
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		}
		h.kill()
		writing.Wait()
		if acknowledged.Load() < kill {
			t.Fatalf("only %d of %d were acknowledged: %v\n%s", acknowledged.Load(), kill, writers[0].err, h.stderr.String())
		}
		h = startHub(t, dir, 0)
		if h.CS != cs {
			t.Errorf("the connection string is another one")
		}
		c = h.client(t)
		for _, w := range writers {
			w.check(t, c)
		}
		if t.Failed() {
			return
		}
	}
}

// TestFullDiskAcknowledgesNothing lets the file grow to a limit: the hub ends with an error, and has all that it acknowledged.
func TestFullDiskAcknowledgesNothing(t *testing.T) {
	withoutVariables(t)
	dir := t.TempDir()
	h := startHub(t, dir, 300)
	c := h.client(t)
	writers := []*writer{{name: "a", key: iothub.Key("a")}, {name: "b", key: iothub.Key("b")}}
	var acknowledged atomic.Int64
	var writing sync.WaitGroup
	for _, w := range writers {
		writing.Go(func() { w.run(t.Context(), h, c, &acknowledged) })
	}
	writing.Wait()
	err := h.cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the hub ended with %v, want exit status 1", err)
	}
	if got := h.stderr.String(); !strings.Contains(got, "muster: the hub's store in "+dir+": write ") || !strings.Contains(got, "file too large") {
		t.Errorf("on stderr: %s", got)
	}
	if acknowledged.Load() == 0 {
		t.Errorf("nothing was acknowledged before the disk was full: %v", writers[0].err)
	}
	h = startHub(t, dir, 0)
	for _, w := range writers {
		w.check(t, h.client(t))
	}
}

// TestKillKeepsScheduledJobs kills a hub before the start of a job. The next one runs it.
func TestKillKeepsScheduledJobs(t *testing.T) {
	withoutVariables(t)
	dir := t.TempDir()
	h := startHub(t, dir, 0)
	c := h.client(t)
	if _, err := c.CreateDevice(t.Context(), iothub.Device{DeviceID: "door"}); err != nil {
		t.Fatal(err)
	}
	start := time.Now().Add(2 * time.Second)
	for id, at := range map[string]time.Time{"at-its-time": start, "at-once": time.Now().Add(100 * time.Millisecond)} {
		_, err := c.CreateJob(t.Context(), iothub.JobRequest{
			JobID: id, Type: iothub.JobTwin, QueryCondition: "*", StartTime: iothub.Time{Time: at},
			UpdateTwin: fmt.Appendf(nil, `{"etag":"*","tags":{%q:true}}`, id),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	h.kill()
	time.Sleep(100 * time.Millisecond) // one of the two starts is missed
	h = startHub(t, dir, 0)
	c = h.client(t)
	for _, id := range []string{"at-once", "at-its-time"} {
		job := awaitJob(t, c, id)
		if n := job.DeviceJobStatistics; job.Status != iothub.JobCompleted || n == nil || n.SucceededCount != 1 {
			t.Errorf("job %s: %+v", id, job)
		}
	}
	if now := time.Now(); now.Before(start) {
		t.Errorf("the second job ran %v early", start.Sub(now))
	}
	twin, err := c.Twin(t.Context(), "door")
	if err != nil || !strings.Contains(string(twin.Tags), `"at-its-time":true`) {
		t.Errorf("tags %s, %v; want those of the job", twin.Tags, err)
	}
}

// awaitJob waits for a job to end.
func awaitJob(t *testing.T, c *iothub.Client, id string) iothub.Job {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		job, err := c.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if job.Status.Done() || time.Now().After(end) {
			return job
		}
	}
}

// door is a device that answers methods on whatever hub there is, and counts them.
type door struct {
	id      string
	invoked atomic.Int64
}

func (d *door) run(ctx context.Context, hubs *atomic.Pointer[hubProcess]) {
	for ctx.Err() == nil {
		w, err := dialWire(hubs.Load(), d.id, iothub.Key("door"), iothub.FilterMethods)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = w.conn.Close() })
		for {
			topic, err := w.message()
			if err != nil {
				break
			}
			d.invoked.Add(1)
			if w.publish(iothub.MethodResponseTopic(200, topic.RequestID), `{"ok":true}`) != nil {
				break
			}
		}
		stop()
		_ = w.conn.Close()
	}
}

// TestKillInTheMiddleOfAJob kills a hub that dispatches a method to a thousand devices. The next one goes on, and no device is
// called twice.
func TestKillInTheMiddleOfAJob(t *testing.T) {
	withoutVariables(t)
	const n = 1000
	dir := t.TempDir()
	h := startHub(t, dir, 0, "--job-rate", "1000")
	c := h.client(t)
	doors := make([]*door, n)
	var entries []iothub.BulkEntry
	for i := range doors {
		doors[i] = &door{id: fmt.Sprintf("door-%04d", i)}
		entries = append(entries, iothub.BulkEntry{
			ID: doors[i].id, ImportMode: iothub.ImportCreate,
			Authentication: &iothub.Authentication{SymmetricKey: iothub.SymmetricKey{Primary: iothub.Key("door")}},
		})
		if len(entries) == iothub.MaxBulk {
			if _, err := c.Bulk(t.Context(), entries); err != nil {
				t.Fatal(err)
			}
			entries = entries[:0]
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var hubs atomic.Pointer[hubProcess]
	hubs.Store(h)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for _, d := range doors {
		running.Go(func() { d.run(ctx, &hubs) })
	}
	wait := 60
	_, err := c.CreateJob(t.Context(), iothub.JobRequest{
		JobID: "lock", Type: iothub.JobMethod, QueryCondition: "*", MaxExecutionTimeInSeconds: 60,
		CloudToDeviceMethod: &iothub.Method{MethodName: "lock", ResponseTimeoutInSeconds: &wait, ConnectTimeoutInSeconds: &wait},
	})
	if err != nil {
		t.Fatal(err)
	}
	invoked := func() (sum int64) {
		for _, d := range doors {
			sum += d.invoked.Load()
		}
		return sum
	}
	for end := time.Now().Add(patience); invoked() < n/4 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	before, err := c.Job(t.Context(), "lock")
	h.kill()
	if err != nil {
		t.Fatal(err)
	}
	h = startHub(t, dir, 0)
	hubs.Store(h)
	c = h.client(t)
	job := awaitJob(t, c, "lock")
	cancel()
	running.Wait()
	succeeded, lost := 0, 0
	for row, err := range c.DeviceJobs(t.Context(), "lock") {
		if err != nil {
			t.Fatal(err)
		}
		i, _ := strconv.Atoi(strings.TrimPrefix(row.DeviceID, "door-"))
		calls := doors[i].invoked.Load()
		switch {
		case row.Status == iothub.DeviceJobCompleted && calls == 1:
			succeeded++
		case row.Error != nil && row.Error.Code == iothub.CodeServerError.Name() && calls <= 1:
			lost++
		default:
			t.Errorf("%s: %s %+v after %d calls", row.DeviceID, row.Status, row.Error, calls)
		}
	}
	t.Logf("%d had succeeded before the kill; after it %d have, %d are lost", before.DeviceJobStatistics.SucceededCount, succeeded, lost)
	if job.Status != iothub.JobCompleted || succeeded+lost != n || succeeded < before.DeviceJobStatistics.SucceededCount || lost == n {
		t.Errorf("%d succeeded and %d are lost of %d; the job is %s", succeeded, lost, n, job.Status)
	}
	if before.Status != iothub.JobRunning {
		t.Errorf("the job was %s when the hub was killed", before.Status)
	}
}
