package iothub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/iothub"
)

// jobRow is a row as hubs write it.
const jobRow = `{"deviceId":"door-%06d","jobId":"j","jobType":"scheduleDeviceMethod","status":"completed",` +
	`"startTimeUtc":"2026-03-01T12:00:00.1234567Z","endTimeUtc":"2026-03-01T12:00:01Z","createdDateTimeUtc":"2026-03-01T12:00:00Z",` +
	`"lastUpdatedDateTimeUtc":"2026-03-01T12:00:01Z","outcome":{"deviceMethodResponse":{"status":200,"payload":{"locked":true}}}}`

var jobRows = []string{
	fmt.Sprintf(jobRow, 1),
	fmt.Sprintf(jobRow, 2),
	`{"deviceId":"a","moduleId":"m","jobId":"k","jobType":"scheduleUpdateTwin","status":"failed","startTimeUtc":null,"endTimeUtc":"2026-03-01T13:00:00+01:00",` +
		`"error":{"code":"DeviceNotOnline","description":"Timed out: \"a\"."}}`,
	`{ "deviceId" : "a" , "status" : "canceled" , "outcome" : { "deviceMethodResponse" : { "payload" : null , "status" : -1 } } }`,
	`{"deviceId":"\u0061é","status":"cancelled","outcome":{"deviceMethodResponse":null},"error":null}`,
	`{"DeviceID":"a","Status":"running","outcome":{"DeviceMethodResponse":{"Status":3}},"more":[1]}`,
	`{"deviceId":"a","deviceId":"b","outcome":{"deviceMethodResponse":{"status":1,"status":2}},"outcome":{}}`,
	`{"outcome":{"deviceMethodResponse":{"status":200,"payload":1},"more":1}}`,
	`{"startTimeUtc":"","outcome":null,"jobType":""}`,
	`{}`, `null`,
	`{"deviceId":1}`, `{"status":2}`, `{"startTimeUtc":"noon"}`, `{"startTimeUtc":5}`, `{"outcome":{"deviceMethodResponse":{"status":1.5}}}`, `{"error":"no"}`, `[]`, `"a"`,
}

// readRows reads rows that come as one page.
func readRows(t testing.TB, page string) (rows []iothub.DeviceJob, err error) {
	for row, err := range newClient(t, instant{page}, nil).DeviceJobs(t.Context(), "j") {
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// readsAsJSON wants a page to be read as encoding/json reads it.
func readsAsJSON(t *testing.T, page string) {
	t.Helper()
	var raw []json.RawMessage
	var want []iothub.DeviceJob
	var wantErr error
	if json.Unmarshal([]byte(page), &raw) != nil || raw == nil {
		wantErr = errors.New("not a JSON array")
	}
	for _, row := range raw {
		var d iothub.DeviceJob
		if wantErr = json.Unmarshal(row, &d); wantErr != nil {
			break
		}
		want = append(want, d)
	}
	got, err := readRows(t, page)
	if (err == nil) != (wantErr == nil) || wantErr != nil && !strings.Contains(err.Error(), wantErr.Error()) {
		t.Errorf("DeviceJobs of the page %s = %v, want %v", page, err, wantErr)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("DeviceJobs of the page %s (-want +got):\n%s", page, diff)
	}
}

func TestRowsReadAsJSON(t *testing.T) {
	for _, row := range jobRows {
		for _, before := range jobRows[:4] {
			readsAsJSON(t, "["+before+","+row+"]")
		}
	}
	for _, page := range []string{
		"", "[", "[]", " [ ] ", "[]1", "null", "{}", `["a"`, "[" + jobRows[0], "[" + jobRows[0] + "," + jobRows[1] + ",]", "[" + jobRows[0] + jobRows[1] + "]", "[" + strings.Repeat(jobRows[1]+",", 2*iothub.MaxPage) + jobRows[0] + "]",
	} {
		readsAsJSON(t, page)
	}
}

// TestRowsThatAreNearlyAlike changes a row that is like the one before it, byte
// by byte.
func TestRowsThatAreNearlyAlike(t *testing.T) {
	row := jobRows[1]
	for i := range row {
		readsAsJSON(t, "["+jobRows[0]+","+row[:i]+row[i+1:]+"]")
		for _, other := range []string{`"`, `\`, `0`, `9`, `.`, `Z`, ` `, `,`, `}`, "é", "\x80", "\n", row[i:i+1] + row[i:i+1]} {
			readsAsJSON(t, "["+jobRows[0]+","+row[:i]+other+row[i+1:]+", "+jobRows[1]+"]")
		}
	}
}

// TestRowsOfManyTimes reads rows that are alike, at times that a hub may write.
func TestRowsOfManyTimes(t *testing.T) {
	rows := []string{jobRows[0]}
	for _, at := range []string{
		"2026-03-01T12:00:00.1234567Z", "2026-03-01T12:00:00.0Z", "2026-03-01T12:00:01.1Z", "2026-03-01T12:00:01.999999999Z", "2026-03-01T12:00:01.0000000001Z", "2026-03-01T12:00:01.Z",
		"2026-03-01T12:00:01Z", "2026-03-01T12:00:01.5+01:00", "2026-03-01T12:00:01.5z", "2026-03-01T12:00:01,5Z", "2026-03-01T12:00:01.5", "2026-03-01 12:00:01.5Z",
		"0001-01-01T00:00:00.0000000Z", "9999-12-31T23:59:59.9999999Z", "2026-02-29T12:00:00.0Z", "2024-02-29T12:00:00.0Z", "2026-03-01T24:00:00.0Z",
		"2026-03-01T9:00:00.00Z", "2026-03-01T12:00:60.0Z", "1969-12-31T23:59:59.5Z",
	} {
		row := strings.Replace(jobRows[1], "2026-03-01T12:00:00.1234567Z", at, 1)
		readsAsJSON(t, "["+strings.Join(append(rows, row, jobRows[0]), ",")+"]")
		if json.Unmarshal([]byte(row), new(iothub.DeviceJob)) == nil {
			rows = append(rows, row)
		}
	}
	if len(rows) < 10 {
		t.Errorf("%d rows can be read, want ten or more", len(rows))
	}
}

func FuzzRows(f *testing.F) {
	for _, row := range jobRows {
		f.Add(row)
	}
	f.Fuzz(func(t *testing.T, row string) {
		readsAsJSON(t, "["+jobRows[0]+","+row+"]")
		readsAsJSON(t, "["+jobRows[0]+","+row+","+jobRows[1]+","+row+"]")
	})
}

// TestRowsCost wants what the rows of a page cost to be shared by them.
func TestRowsCost(t *testing.T) {
	page := func(rows int) string {
		all := make([]string, rows)
		for i := range all {
			all[i] = fmt.Sprintf(jobRow, i)
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	cost := func(rows int) float64 {
		c := newClient(t, instant{page(rows)}, nil)
		return testing.AllocsPerRun(100, func() {
			for _, err := range c.DeviceJobs(t.Context(), "j") {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	// The buffer of a longer answer may be grown a few times if another test has taken it.
	if one, all := cost(1), cost(iothub.MaxPage); all-one > 5 {
		t.Errorf("DeviceJobs of %d rows allocates %v times, and of one row %v times; want no more for the other rows", iothub.MaxPage, all, one)
	}
}

func BenchmarkDeviceJobs(b *testing.B) {
	all := make([]string, iothub.MaxPage)
	for i := range all {
		all[i] = fmt.Sprintf(jobRow, i)
	}
	c := newClient(b, instant{"[" + strings.Join(all, ",") + "]"}, nil)
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range c.DeviceJobs(b.Context(), "j") {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, doc := range append([]string{
		"", " ", `{"a":[1,-2.5,true,false,null,"b",{}],"c":{}} `, `[`, `[1,]`, `{"a"}`, `{"a":1,}`, `{"a" : 1 , "b":"\""}`, `01`, `-`, `1.`, `1e5`, `.5`,
		`nul`, `truefalse`, `1 2`, "\"\x01\"", `"`, `{1:2}`, `[1 2]`, `{"a":1 "b":2}`, `]`, `[}`, strings.Repeat("[", 200) + strings.Repeat("]", 200),
	}, jobRows...) {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		if got, want := iothub.Valid([]byte(doc)), json.Valid([]byte(doc)); got != want {
			t.Errorf("valid(%q) = %t, want %t", doc, got, want)
		}
	})
}
