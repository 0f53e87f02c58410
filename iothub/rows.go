package iothub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// rowReader reads rows of devices.jobs as encoding/json would, in a fraction of
// the time: there is one for each device of a job. What it does not expect it
// leaves to encoding/json.
type rowReader struct {
	row    DeviceJob // the one that is read
	last   DeviceJob // the one before, whose texts are used again
	shared *Outcome  // of the last row that had one
	raw    []byte    // the same as it came
}

// read decodes a row, which is valid JSON, and keeps nothing of it.
func (r *rowReader) read(row []byte) (DeviceJob, error) {
	r.last, r.row = r.row, DeviceJob{}
	if isObject(row) && r.members(row) {
		return r.row, nil
	}
	r.row = DeviceJob{}
	if err := json.Unmarshal(row, &r.row); err != nil {
		return DeviceJob{}, fmt.Errorf("read a row: %w", err)
	}
	return r.row, nil
}

// members reports whether all members of the row were as expected.
func (r *rowReader) members(row []byte) bool {
	for m := membersOf(row); ; {
		key, value, more := m.next()
		if !more {
			return true
		}
		if !r.member(key, value) {
			return false
		}
	}
}

func (r *rowReader) member(key, value []byte) bool {
	d := &r.row
	switch string(key) {
	case `"deviceId"`:
		return readText(&d.DeviceID, r.last.DeviceID, value)
	case `"moduleId"`:
		return readText(&d.ModuleID, r.last.ModuleID, value)
	case `"jobId"`:
		return readText(&d.JobID, r.last.JobID, value)
	case `"jobType"`:
		return readText((*string)(&d.JobType), string(r.last.JobType), value)
	case `"status"`:
		return readStatus(&d.Status, value)
	case `"startTimeUtc"`:
		return d.StartTimeUTC.UnmarshalJSON(value) == nil
	case `"endTimeUtc"`:
		return d.EndTimeUTC.UnmarshalJSON(value) == nil
	case `"createdDateTimeUtc"`:
		return d.CreatedDateTimeUTC.UnmarshalJSON(value) == nil
	case `"lastUpdatedDateTimeUtc"`:
		return d.LastUpdatedDateTimeUTC.UnmarshalJSON(value) == nil
	case `"outcome"`:
		return d.Outcome == nil && r.outcome(value)
	case `"error"`:
		return d.Error == nil && json.Unmarshal(value, &d.Error) == nil
	}
	return false
}

// readText reads a string in which nothing has to be decoded. One that is equal
// to last is last.
func readText(s *string, last string, value []byte) bool {
	if !plain(value) {
		return false
	}
	if value = value[1 : len(value)-1]; string(value) == last {
		*s = last
	} else {
		*s = string(value)
	}
	return true
}

func plain(value []byte) bool {
	if value[0] != '"' {
		return false
	}
	for _, b := range value {
		if b == '\\' || b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func readStatus(s *DeviceJobStatus, value []byte) bool {
	switch string(value) {
	case `"completed"`:
		*s = DeviceJobCompleted
	case `"failed"`:
		*s = DeviceJobFailed
	default:
		return plain(value) && s.UnmarshalText(value[1:len(value)-1]) == nil
	}
	return true
}

// outcome reads what came of a method. Devices answer alike as a rule: rows
// share equal outcomes.
func (r *rowReader) outcome(value []byte) bool {
	if r.shared == nil || !bytes.Equal(r.raw, value) {
		o, ok := readOutcome(value)
		if !ok {
			return false
		}
		r.raw, r.shared = append(r.raw[:0], value...), o
	}
	r.row.Outcome = r.shared
	return true
}

func readOutcome(value []byte) (*Outcome, bool) {
	made := new(struct {
		Outcome
		result MethodResult
	})
	made.DeviceMethodResponse = &made.result
	m := membersOf(value)
	key, response, ok := m.next()
	if !ok || string(key) != `"deviceMethodResponse"` || !isObject(response) || !made.result.members(response) {
		return nil, false
	}
	_, _, more := m.next()
	return &made.Outcome, !more
}

// members reads the two members that a method's result has.
func (r *MethodResult) members(result []byte) bool {
	var status, payload bool
	for m := membersOf(result); ; {
		key, value, more := m.next()
		switch {
		case !more:
			return true
		case string(key) == `"status"` && !status:
			n, err := strconv.ParseInt(string(value), 10, strconv.IntSize)
			if err != nil {
				return false
			}
			r.Status, status = int(n), true
		case string(key) == `"payload"` && !payload:
			r.Payload, payload = append(json.RawMessage(nil), value...), true
		default:
			return false
		}
	}
}
