package cli_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// TestWalkInDocsIsRun holds docs/apps.md against the transcript that walks the
// same way: it runs every command there, and what the page shows as output
// matches a pattern of whole lines that it asks for.
func TestWalkInDocsIsRun(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "apps.md"))
	if err != nil {
		t.Fatal(err)
	}
	transcript, err := os.ReadFile("testdata/script/apps.txtar")
	if err != nil {
		t.Fatal(err)
	}
	run := strings.NewReplacer("--mqtt $MQTT", "--mqtt 127.0.0.1:1883", " --mqtt 127.0.0.1:0 --http 127.0.0.1:0", "").Replace(string(transcript))
	var patterns []*regexp.Regexp
	for _, m := range regexp.MustCompile(`(?m)^(?:stdout|grep|await \S+) '(\^.*\$)'`).FindAllStringSubmatch(run, -1) {
		patterns = append(patterns, regexp.MustCompile(m[1]))
	}
	commands, outputs := 0, 0
	for _, b := range codeBlocks(string(page)) {
		for _, line := range b.lines {
			command, isCommand := commandOf(line)
			switch {
			case b.info == "text":
				outputs++
				if !slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(line) }) {
					t.Errorf("docs/apps.md: the transcript does not ask for the output %s", line)
				}
			case isCommand:
				commands++
				if !regexp.MustCompile(`(?m)^(start|exits).* ` + regexp.QuoteMeta(command) + `$`).MatchString(run) {
					t.Errorf("docs/apps.md: the transcript does not run %s", command)
				}
			}
		}
	}
	if commands < 10 || outputs < 5 {
		t.Errorf("docs/apps.md has %d commands and %d lines of output, want its walk", commands, outputs)
	}
}

// commandOf returns the command that a line runs, alone or for its output.
func commandOf(line string) (command string, ok bool) {
	if _, inner, ok := strings.Cut(line, "$("); ok {
		line, _, _ = strings.Cut(inner, ")")
	}
	return line, strings.HasPrefix(line, "muster ")
}

// TestJobWaitsForItsRows watches a job whose rows lag behind it, as queries on
// the service do.
func TestJobWaitsForItsRows(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			fmt.Fprint(w, `{"jobId":"j","type":"scheduleDeviceMethod","status":"completed","deviceJobStatistics":{"deviceCount":2,"succeededCount":2}}`)
		case asked.Add(1) == 1:
			fmt.Fprint(w, `[{"deviceId":"a","jobId":"j","status":"completed"}]`)
		case asked.Load() == 2:
			fmt.Fprint(w, `[{"deviceId":"a","jobId":"j","status":"completed"},{"deviceId":"b","jobId":"j","status":"running"}]`)
		default:
			fmt.Fprint(w, `[{"deviceId":"a","moduleId":"m","jobId":"j","status":"completed"},{"deviceId":"b\u001b[2J","jobId":"j","status":"completed"}]`)
		}
	}))
	defer server.Close()
	t.Setenv("IOTHUB_CONNECTION_STRING", "HostName=h;SharedAccessKeyName=p;SharedAccessKey=c2VjcmV0")
	got := muster(t, "job", "watch", "j", "--url", server.URL)
	got.ends(t, 0, "b\uFFFD[2J", "job j: completed, 2 of 2 devices done")
	if asked.Load() != 3 || strings.Contains(got.stdout, "\x1b") || !strings.Contains(got.stdout, "\na/m ") {
		t.Errorf("the rows were asked for %d times, want 3; printed %q", asked.Load(), got.stdout)
	}
}
