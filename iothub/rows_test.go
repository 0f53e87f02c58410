package iothub_test

import (
	"encoding/json"
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

// sameAsJSON wants a row behind others to read as encoding/json does it.
func sameAsJSON(t *testing.T, before, row string) {
	t.Helper()
	var want iothub.DeviceJob
	wantErr := json.Unmarshal([]byte(row), &want)
	rows, err := readRows(t, "["+before+","+row+"]")
	if wantErr != nil {
		if err == nil || !strings.Contains(err.Error(), wantErr.Error()) {
			t.Errorf("DeviceJobs of %s = %v, want %v", row, err, wantErr)
		}
		return
	}
	if err != nil || len(rows) != 2 {
		t.Fatalf("DeviceJobs of %s = %d rows, %v; want two", row, len(rows), err)
	}
	if diff := cmp.Diff(want, rows[1]); diff != "" {
		t.Errorf("DeviceJobs of %s behind %s (-want +got):\n%s", row, before, diff)
	}
}

func TestRowsReadAsJSON(t *testing.T) {
	for _, row := range jobRows {
		for _, before := range jobRows[:4] {
			sameAsJSON(t, before, row)
		}
	}
}

func FuzzRows(f *testing.F) {
	for _, row := range jobRows {
		f.Add(row)
	}
	f.Fuzz(func(t *testing.T, row string) {
		if json.Valid([]byte(row)) {
			sameAsJSON(t, jobRows[0], row)
		}
	})
}

// TestRowsCost wants a row of a page to cost its device's id and nothing else.
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
	if one, all := cost(1), cost(iothub.MaxPage); all-one > iothub.MaxPage+5 {
		t.Errorf("DeviceJobs of %d rows allocates %v times, and of one row %v times; want one more for each row", iothub.MaxPage, all, one)
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
