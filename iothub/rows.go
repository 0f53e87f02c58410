package iothub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// rowPage is a page of devices.jobs.
type rowPage struct {
	rows   []DeviceJob // those of a usual page, replaced by those of the next
	other  page        // what is out of the usual, as it came
	reader rowReader
}

// read takes the body of a page.
func (p *rowPage) read(body []byte) error {
	if p.rows == nil {
		p.rows = make([]DeviceJob, 0, MaxPage)
	}
	p.other.rows = p.other.rows[:0]
	var usual bool
	if p.rows, usual = p.reader.page(p.rows[:0], body); usual {
		return nil
	}
	p.rows = p.rows[:0]
	return p.other.read(body)
}

// each yields the rows, and reports whether more are wanted.
func (p *rowPage) each(yield func(DeviceJob, error) bool) bool {
	for i := range p.rows {
		if !yield(p.rows[i], nil) {
			return false
		}
	}
	return each(membersOf(p.other.rows), func(row json.RawMessage, _ error) bool {
		err := p.reader.read(row)
		return yield(p.reader.row, err) && err == nil
	})
}

// rowReader reads rows of devices.jobs as encoding/json would, in a fraction of
// the time: there is one for each device of a job. What it does not expect it
// leaves to encoding/json.
type rowReader struct {
	row    DeviceJob // the one that was read last
	last   DeviceJob // the one before, whose texts are used again
	shared *Outcome  // of the last row that had one
	answer []byte    // the same as it came
	alike  alike     // how the row that was read last was written
	ids    strings.Builder
}

// page reads a usual page and adds its rows to rows. It reports false, and what it
// has added is of no use, if the page has too many rows, or may not be JSON: there
// was something that it does not know.
func (r *rowReader) page(rows []DeviceJob, body []byte) (_ []DeviceJob, ok bool) {
	i := skipSpace(body, 0)
	if i >= len(body) || body[i] != '[' {
		return rows, false
	}
	for more := true; more; {
		if i, ok = r.next(body, skipSpace(body, i+1)); !ok {
			return rows, false
		}
		if len(rows) == MaxPage {
			return rows, false
		}
		rows = append(rows, r.row)
		if i = skipSpace(body, i); i >= len(body) || body[i] != ',' && body[i] != ']' {
			return rows, false
		}
		more = body[i] == ','
	}
	return rows, skipSpace(body, i+1) == len(body)
}

// next reads the row that begins at i, and returns the index after it.
func (r *rowReader) next(body []byte, i int) (end int, ok bool) {
	if end, ok = r.readAlike(body, i); ok {
		return end, true
	}
	if end, ok = (checker{body}).value(i, 1); !ok {
		return end, false
	}
	return end, r.read(body[i:end]) == nil
}

// read decodes a row, which is valid JSON, and keeps nothing of it.
func (r *rowReader) read(row []byte) error {
	r.last, r.row = r.row, DeviceJob{}
	r.alike.reset()
	if isObject(row) && r.members(row) {
		r.alike.raw = append(r.alike.raw[:0], row...)
		return nil
	}
	r.row = DeviceJob{}
	r.alike.reset()
	if err := json.Unmarshal(row, &r.row); err != nil {
		r.row = DeviceJob{}
		return fmt.Errorf("read a row: %w", err)
	}
	return nil
}

// members reports whether all members of the row were as expected.
func (r *rowReader) members(row []byte) bool {
	for m := membersOf(row); ; {
		key, value, more := m.next()
		if !more {
			return true
		}
		if !r.member(key, value, m.i-len(value)) {
			return false
		}
	}
}

// member reads a member whose value begins at a place in the row.
func (r *rowReader) member(key, value []byte, at int) bool {
	d := &r.row
	switch string(key) {
	case `"deviceId"`:
		return r.deviceID(value, at)
	case `"moduleId"`:
		return readText(&d.ModuleID, r.last.ModuleID, value)
	case `"jobId"`:
		return readText(&d.JobID, r.last.JobID, value)
	case `"jobType"`:
		return readText((*string)(&d.JobType), string(r.last.JobType), value)
	case `"status"`:
		return readStatus(&d.Status, value)
	case `"startTimeUtc"`:
		return r.time(&d.StartTimeUTC, value, at)
	case `"endTimeUtc"`:
		return r.time(&d.EndTimeUTC, value, at)
	case `"createdDateTimeUtc"`:
		return r.time(&d.CreatedDateTimeUTC, value, at)
	case `"lastUpdatedDateTimeUtc"`:
		return r.time(&d.LastUpdatedDateTimeUTC, value, at)
	case `"outcome"`:
		return d.Outcome == nil && r.outcome(value)
	case `"error"`:
		return d.Error == nil && json.Unmarshal(value, &d.Error) == nil
	}
	return false
}

// deviceID reads the device's id, in which rows differ.
func (r *rowReader) deviceID(value []byte, at int) bool {
	if !plain(value) {
		return false
	}
	r.row.DeviceID = r.id(value[1 : len(value)-1])
	r.alike.add(hole{from: at + 1, to: at + len(value) - 1})
	return true
}

// idSpace is the memory that ids are put into, one behind the other.
const idSpace = 2 << 10

// id returns an id as a text.
func (r *rowReader) id(b []byte) string {
	if r.ids.Cap()-r.ids.Len() < len(b) {
		r.ids = strings.Builder{} // those that are in the old one stay there
		r.ids.Grow(max(idSpace, len(b)))
	}
	from := r.ids.Len()
	_, _ = r.ids.Write(b) // never fails
	return r.ids.String()[from:]
}

// time reads a moment, in which rows may differ.
func (r *rowReader) time(t *Time, value []byte, at int) bool {
	if t.UnmarshalJSON(value) != nil {
		return false
	}
	if _, n := fraction(value[min(1+secondLength, len(value)):]); n > 0 {
		r.alike.add(hole{from: at + 1, to: at + 1 + secondLength + n, time: t, second: t.Unix()})
	}
	return true
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
	if r.shared == nil || !bytes.Equal(r.answer, value) {
		o, ok := readOutcome(value)
		if !ok {
			return false
		}
		r.answer, r.shared = append(r.answer[:0], value...), o
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
