package hub_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"muster/hub/hubtest"
	"muster/iothub"
)

// FuzzQuery sends a query with a page size and a continuation token: the hub answers with rows, or says that they are
// wrong.
func FuzzQuery(f *testing.F) {
	s := hubtest.Start(f, nil)
	registerTwins(f, s, map[string]string{
		"a": `{"site":"north","floor":1,"x-y":null}`, "b": `{"site":"south","floor":1.5}`, "c": `{"site":{"a":1},"floor":"1"}`, "d": `{}`,
	})
	register(f, s, "a/m", "d/m")
	all, next := queryPage(f, s, "SELECT tags.site FROM devices GROUP BY tags.site", 1, "")
	if next == "" {
		f.Fatalf("no second page: %s", all.body)
	}
	f.Add("SELECT tags.site FROM devices GROUP BY tags.site", 1, next)
	f.Add("SELECT TOP 3 deviceId, tags.[[x-y]] AS x FROM devices WHERE tags.floor >= 1", 2, "")
	f.Add("SELECT * FROM devices.modules WHERE deviceId IN ['a', 'd/m', 'd'] AND moduleId != 'x'", 1, "")
	f.Add("SELECT COUNT(), AVG(tags.floor) AS mean, MAX(tags.site) FROM devices.modules", 100, "")
	f.Add("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j'", 7, "AAAAAAA")
	f.Add("SELECT * FROM devices WHERE", 0, "!")
	cs := s.ConnectionString()
	token := iothub.NewToken(cs.HostName, cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(time.Hour))
	f.Fuzz(func(t *testing.T, sql string, size int, continuation string) {
		body, err := json.Marshal(map[string]string{"query": sql})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/devices/query?api-version="+iothub.APIVersion, bytes.NewReader(body))
		r.Header.Set("Authorization", token)
		r.Header.Set("x-ms-max-item-count", itoa(size))
		r.Header.Set("x-ms-continuation", continuation)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		a := answer{w.Code, w.Header(), w.Body.String()}
		if a.status != http.StatusOK {
			refused(t, sql, a, iothub.CodeArgumentInvalid)
			return
		}
		rows := decoded[[]map[string]any](t, a.body)
		if len(rows) > size || a.header.Get("x-ms-continuation") != "" && len(rows) == 0 {
			t.Errorf("%s by %d: %s", sql, size, a.body)
		}
	})
}
