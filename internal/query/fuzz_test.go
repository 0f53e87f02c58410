package query_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/internal/query"
)

func checkRoundTrip(t *testing.T, src string, parse func(string) (string, *query.Condition, error)) {
	t.Helper()
	printed, c, err := parse(src)
	if err != nil {
		syntax, ok := errors.AsType[*query.SyntaxError](err)
		if !ok || syntax.Off < 0 || syntax.Off > len(src) || syntax.Query != src {
			t.Fatalf("parsing %q = %#v", src, err)
		}
		_, _ = syntax.Error(), syntax.Caret()
		return
	}
	if c != nil {
		c.Paths()
		c.DeviceIDs()
		c.JobIDs()
	}
	if len(printed) > 8192 {
		return // the canonical form may be longer than its source
	}
	twice, again, err := parse(printed)
	if err != nil {
		t.Fatalf("%q prints %q, which is refused: %v", src, printed, err)
	}
	if printed != twice {
		t.Fatalf("%q prints %q, which prints %q", src, printed, twice)
	}
	for _, row := range []twin{door, `{`, `{"tags":{}}`} {
		if c.Match(row) != again.Match(row) {
			t.Fatalf("%q and %q differ over %s", src, printed, row)
		}
	}
}

func FuzzParseCondition(f *testing.F) {
	f.Add("*")
	f.Add("tags.site = 'north' AND NOT (properties.reported.fw IN ['1.0', \"2.0\"] OR tags.[[my-key]] >= -0x1F)")
	f.Add("STARTSWITH(DeviceId, 'a\\u00fc\\'') OR is_defined(tags.x) AND tags.a + 1.5e3 * -2 % 7 <> null")
	f.Add("a == 1")
	f.Fuzz(func(t *testing.T, src string) {
		checkRoundTrip(t, src, func(s string) (string, *query.Condition, error) {
			c, err := query.ParseCondition(s)
			return c.String(), c, err
		})
	})
}

func FuzzParse(f *testing.F) {
	f.Add("SELECT * FROM devices")
	f.Add("select * from devices where deviceId nin ['a', 'b']")
	f.Add("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j' AND devices.jobs.createdTimeUtc > '2016'")
	f.Add("SELECT TOP 5 COUNT() FROM devices.modules GROUP BY a")
	f.Add("SELECT tags.site AS [[a \"b\"]], AVG(tags.floor), MAX(tags.floor) AS m FROM devices WHERE tags.site > 'a' GROUP BY tags.site, tags.floor")
	f.Add("SELECT DeviceId, properties.reported.$metadata.fw.$lastUpdated, tags.[[group]] AS [[top]] FROM devices")
	f.Add("SELECT DISTINCT deviceId, COUNT(*) FROM devices HAVING COUNT() > 1 ORDER BY deviceId")
	f.Fuzz(func(t *testing.T, src string) {
		checkResults(t, src)
		checkRoundTrip(t, src, func(s string) (string, *query.Condition, error) {
			q, err := query.Parse(s)
			if err != nil {
				return "", nil, err
			}
			return q.String(), q.Where, nil
		})
	})
}

// checkResults runs a query over the fleet: each row is a JSON object, and the
// canonical form gives the same rows.
func checkResults(t *testing.T, src string) {
	t.Helper()
	q, err := query.Parse(src)
	if err != nil || q.Source == query.DeviceJobs {
		return
	}
	rows := results(q)
	for _, row := range rows {
		if !json.Valid([]byte(row)) || row[0] != '{' {
			t.Fatalf("%q gives %s", src, row)
		}
	}
	if again, err := query.Parse(q.String()); err == nil {
		if diff := cmp.Diff(rows, results(again)); diff != "" {
			t.Fatalf("%q and %q differ:\n%s", q, again, diff)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("*")
	f.Add("from Devices.Modules where ModuleId = 'm' AND tags.[[top]] != 1")
	f.Add("FROM devices WHERE a = 1")
	f.Fuzz(func(t *testing.T, src string) {
		checkRoundTrip(t, src, func(s string) (string, *query.Condition, error) {
			c, err := query.ParseTarget(s)
			return c.String(), c, err
		})
	})
}
