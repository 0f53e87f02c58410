package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"muster/internal/query"
)

// The defaults that depend on a job's way: how many executions a direct job has
// open at once, and how long one via hub waits for its rows.
const (
	directInFlight = 100
	defaultSettle  = time.Minute
)

// job decodes one job and checks what its keys say together.
func (d *decoder) job(n *node, path string) Job {
	j := Job{Times: 1, MaxExecution: 300 * time.Second}
	if !d.object(n, path,
		required("name", d.label(&j.Name)),
		required("type", choice(d, &j.Type, "type", ScheduleDeviceMethod, ScheduleUpdateTwin)),
		optional("cloudToDeviceMethod", d.cloudToDeviceMethod(&j)),
		optional("updateTwin", d.updateTwin(&j)),
		optional("queryCondition", d.condition(&j)),
		optional("deviceId", d.deviceID(&j.DeviceID)),
		optional("startTime", d.startTime(&j)),
		optional("repeat", d.repeat(&j)),
		optional("maxExecutionTimeInSeconds", d.seconds(&j.MaxExecution, 1, 86_400)),
		optional("via", choice(d, &j.Via, "way", Hub, Direct)),
		optional("rate", d.rate(&j.Rate)),
		optional("inFlight", d.integer(&j.InFlight, 0, 100_000)),
		optional("mark", d.boolean(&j.Mark)),
		optional("settle", d.duration(&j.Settle, 100*time.Millisecond, time.Hour)),
	) {
		return j
	}
	if n.field("via") == nil {
		j.Via = Hub
	}
	d.checkAction(n, path, &j)
	d.checkTargets(n, path, &j)
	d.checkVia(path, &j)
	switch {
	case j.Via == Direct && n.field("inFlight") == nil:
		j.InFlight = directInFlight
	case j.Via == Hub && j.Settle == 0:
		j.Settle = defaultSettle
	}
	return j
}

// checkAction asks for the one action that fits the type.
func (d *decoder) checkAction(n *node, path string, j *Job) {
	method, twin := "cloudToDeviceMethod", "updateTwin"
	wants, not := method, twin
	switch j.Type {
	case ScheduleDeviceMethod:
	case ScheduleUpdateTwin:
		wants, not = twin, method
	default:
		return
	}
	if n.field(wants) == nil {
		d.fail(n, path, "%s is missing; a %s job needs it", wants, j.Type)
	}
	if key := d.keys[member(path, not)]; key != nil {
		d.fail(key, member(path, not), "does not belong to a %s job", j.Type)
	}
	d.checkMark(path, j)
}

// markKey is the member of a payload that a mark is put into.
const markKey = "musterId"

// checkMark asks for a payload that can take a mark. A tags job has none and
// needs none: its mark only lets repetitions overlap.
func (d *decoder) checkMark(path string, j *Job) {
	var content json.RawMessage
	switch {
	case !j.Mark:
		return
	case j.CloudToDeviceMethod != nil:
		content = j.CloudToDeviceMethod.Payload
	case j.UpdateTwin == nil || j.UpdateTwin.Desired == nil:
		return
	default:
		content = j.UpdateTwin.Desired
	}
	var members map[string]json.RawMessage
	at := member(path, "mark")
	if err := json.Unmarshal(content, &members); err != nil || members == nil {
		d.failPath(at, "a mark is put into the method's payload, so that must be a mapping")
		return
	}
	if _, taken := members[markKey]; taken {
		d.failPath(at, "a mark is put into the payload as %s, which it has already", markKey)
	}
}

// checkTargets asks for one way of saying which devices.
func (d *decoder) checkTargets(n *node, path string, j *Job) {
	given := d.present(path, "queryCondition", "deviceId")
	switch {
	case len(given) == 0:
		d.fail(n, path, `queryCondition is missing; "*" is every device`)
	case len(given) > 1:
		at := member(path, "deviceId")
		d.fail(d.keys[at], at, "a job has either queryCondition or deviceId")
	}
}

// checkVia refuses keys that mean nothing on the job's way, if that is known.
func (d *decoder) checkVia(path string, j *Job) {
	foreign, other := []string{"deviceId", "rate", "inFlight"}, Direct
	switch j.Via {
	case Hub:
	case Direct:
		foreign, other = []string{"settle"}, Hub
	default:
		return
	}
	for _, name := range d.present(path, foreign...) {
		at := member(path, name)
		d.fail(d.keys[at], at, "is for via: %s only; this job goes via: %s", other, j.Via)
	}
}

func (d *decoder) cloudToDeviceMethod(j *Job) decode {
	return func(n *node, path string) {
		m := &CloudToDeviceMethod{ResponseTimeout: 30 * time.Second}
		j.CloudToDeviceMethod = m
		d.object(n, path,
			required("methodName", func(n *node, path string) {
				d.text(&m.MethodName)(n, path)
				n.schema.matches(methodNamePattern)
				if m.MethodName == "" {
					return
				}
				if msg := badMethodName(m.MethodName); msg != "" {
					d.fail(n, path, "%s", msg)
				}
			}),
			optional("payload", d.payload(&m.Payload)),
			optional("responseTimeoutInSeconds", d.seconds(&m.ResponseTimeout, 5, 300)),
			optional("connectTimeoutInSeconds", d.seconds(&m.ConnectTimeout, 0, 300)),
		)
	}
}

// maxPayload is what an IoT hub takes.
const maxPayload = 128 << 10

func (d *decoder) updateTwin(j *Job) decode {
	return func(n *node, path string) {
		u := &UpdateTwin{}
		j.UpdateTwin = u
		var etag string
		if !d.object(n, path,
			optional("etag", choice(d, &etag, "etag", "*")),
			optional("tags", d.patch(&u.Tags, maxTags)),
			optional("desired", func(n *node, path string) {
				n.schema.isRefused()
				d.fail(d.keys[path], path, "belongs below properties")
			}),
			optional("properties", func(n *node, path string) {
				d.object(n, path, required("desired", d.patch(&u.Desired, maxProperties)))
			}),
		) {
			return
		}
		if len(d.present(path, "tags", "properties", "desired")) == 0 {
			d.fail(n, path, "tags and properties are missing; a twin update needs one of them")
		}
	}
}

func (d *decoder) condition(j *Job) decode {
	return func(n *node, path string) {
		var s string
		if d.text(&s)(n, path); s == "" {
			return
		}
		j.QueryCondition = s
		c, err := query.ParseCondition(s)
		if err == nil {
			j.Condition = c
			return
		}
		var at *query.SyntaxError
		if errors.As(err, &at) {
			d.failText(n, path, "query", err, at.Off, at.Msg, at.Caret())
		} else {
			d.failText(n, path, "query", err, -1, "", "")
		}
	}
}

func (d *decoder) deviceID(dst *string) decode {
	return func(n *node, path string) {
		var s string
		if d.text(&s)(n, path); s == "" {
			return
		}
		if !validDeviceID(s) {
			d.fail(n, path, "%s is no device id; %s", describe(n), deviceIDRule)
			return
		}
		*dst = s
	}
}

// maxStart keeps relative start times, and sums of them, in reason.
const maxStart = 30 * 24 * time.Hour

// startTime decodes +5s, counted from the ready fleet, or a time.
func (d *decoder) startTime(j *Job) decode {
	return func(n *node, path string) {
		if n.schema.isStart() {
			return
		}
		expected := "a start such as +5s after the fleet is ready, or a time such as 2030-01-02T03:04:05Z"
		if n.kind != yaml.ScalarNode {
			d.wrong(n, path, expected)
			return
		}
		if after, relative := strings.CutPrefix(n.value, "+"); relative {
			v, err := time.ParseDuration(after)
			switch {
			case err != nil || strings.HasPrefix(after, "+"):
				d.wrong(n, path, expected)
			case v < 0 || v > maxStart:
				d.impossible(n, path, fmt.Sprintf("+0s to +%v", maxStart))
			default:
				j.After = v
			}
			return
		}
		at, err := time.Parse(time.RFC3339, n.value)
		if err != nil {
			d.wrong(n, path, expected)
			return
		}
		if at.Before(time.Now()) {
			d.fail(n, path, "has passed; write a time to come, or +5s after the fleet is ready")
			return
		}
		j.At = at.UTC()
	}
}

func (d *decoder) repeat(j *Job) decode {
	return func(n *node, path string) {
		every := time.Duration(0)
		times := 1
		d.object(n, path,
			required("times", d.integer(&times, 1, 100_000)),
			optional("every", d.duration(&every, time.Millisecond, maxStart)),
		)
		if times > 1 && len(d.present(path, "every")) == 0 {
			d.fail(n, path, "every is missing; it is the time from one start to the next")
		}
		j.Times, j.Every = times, every
	}
}

func (d *decoder) payload(dst *json.RawMessage) decode {
	return func(n *node, path string) {
		d.json(dst)(n, path)
		if len(*dst) > maxPayload {
			d.fail(n, path, "is %d bytes of JSON, an IoT hub takes %d", len(*dst), maxPayload)
		}
	}
}
