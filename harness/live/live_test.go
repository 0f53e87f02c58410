package live_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"muster/fleet"
	"muster/harness"
	"muster/harness/live"
	"muster/internal/memnet"
	"muster/internal/sample"
	"muster/report"
	"muster/scenarios"
	"muster/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const markup = `</title><img src=x onerror="alert(1)">`

// lab is a page, served in memory.
type lab struct {
	page    *live.Page
	live    *report.Live
	base    string
	client  *http.Client
	stopped int
}

// serve serves the page of a run to f, in a bubble with a clock of its own.
func serve(t *testing.T, token string, f func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scenarios.Scenario{
			Name: "made " + markup, Jobs: []scenarios.Job{{Name: "lock " + markup, Type: scenarios.ScheduleDeviceMethod, Via: scenarios.Hub, Times: 2}},
			Target:     scenarios.Target{Embedded: &scenarios.Embedded{Transport: scenarios.Memory}},
			Thresholds: []scenarios.Threshold{{Text: "jobs.lock.total.p99 < 2s"}},
		}
		l := &lab{live: report.NewLive(harness.RunJobs(s)), base: "http://127.0.0.1"}
		if token != "" {
			l.base += "/" + token
		}
		l.page = live.New(s, l.live, live.Options{Version: "v1", Token: token, Stop: func() { l.stopped++ }})
		listener := memnet.Listen("page")
		server := http.Server{Handler: l.page.Handler()}
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		transport := &http.Transport{DialContext: listener.DialContext}
		l.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		f(t, l)
		l.page.Close()
		transport.CloseIdleConnections()
		if err := server.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown() = %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve() = %v", err)
		}
	})
}

// ask makes a request and returns the answer's status and body.
func (l *lab) ask(t *testing.T, method, path string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, l.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := l.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(body), resp.Header
}

// stream is what a page reads.
type stream struct {
	status int
	events chan event // holds more than a test has
	leave  context.CancelFunc
}

type event struct {
	name string
	data map[string]any
}

// watch opens the stream as a page does.
func (l *lab) watch(t *testing.T) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", l.base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{events: make(chan event, 1000), leave: cancel}
	started := make(chan struct{})
	go func() {
		defer close(s.events)
		resp, err := l.client.Do(req)
		if err != nil {
			close(started)
			return
		}
		defer resp.Body.Close()
		s.status = resp.StatusCode
		close(started)
		lines := bufio.NewReader(resp.Body)
		var e event
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if name, ok := strings.CutPrefix(line, "event: "); ok {
				e.name = strings.TrimSpace(name)
			} else if data, ok := strings.CutPrefix(line, "data: "); ok {
				if err := json.Unmarshal([]byte(data), &e.data); err != nil {
					t.Errorf("the stream says %q: %v", line, err)
				}
			} else if line == "\n" {
				s.events <- e
				e = event{}
			}
		}
	}()
	synctest.Wait()
	return s
}

// got returns the events since the last call: for each its name, and of a state the stage and the time.
func (s *stream) got() []string {
	synctest.Wait()
	var all []string
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				return append(all, "closed")
			}
			if e.name == "state" {
				st, sum := e.data["standing"].(map[string]any), e.data["summary"].(map[string]any)
				all = append(all, st["stage"].(string)+" "+time.Duration(sum["durationSeconds"].(float64)*1e9).String())
			} else {
				all = append(all, e.name)
			}
		default:
			return all
		}
	}
}

func progress(stage harness.Stage, elapsed time.Duration) harness.Progress {
	return harness.Progress{
		Stage: stage, Elapsed: elapsed, Fleet: fleet.Stats{Devices: 5, Online: 4, Offline: 1},
		Jobs: []scheduler.Progress{{Job: "lock", Repetition: 1, Repetitions: 2, Status: "running", Targeted: 5, Received: 3, Done: 2}},
	}
}

func (l *lab) observe(stage harness.Stage, elapsed ...time.Duration) {
	for _, at := range elapsed {
		l.page.Observe(progress(stage, at))
		synctest.Wait()
	}
}

const ms = time.Millisecond

func TestPagesAreToldOnceASecondAndOfEachStage(t *testing.T) {
	serve(t, "", func(t *testing.T, l *lab) {
		first := l.watch(t)
		check := func(what string, s *stream, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, s.got()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		check("before the run says anything", first)
		l.observe(harness.Connecting, 250*ms, 500*ms, 750*ms, 1000*ms, 1250*ms, 1500*ms)
		check("connecting", first, "connecting 250ms", "connecting 1.25s")
		second := l.watch(t)
		check("who comes later", second, "connecting 1.5s")
		l.observe(harness.Running, 1600*ms, 1700*ms)
		check("a stage", first, "running 1.6s")
		check("a stage, for the second", second, "running 1.6s")
		second.leave()
		synctest.Wait()
		l.observe(harness.Running, 2700*ms)
		check("alone again", first, "running 2.7s")
		l.page.End("")
		check("the end", first, "end", "closed")
	})
}

// A state has what the run knows, and names are text in it.
func TestAStateTellsOfJobsAndDevices(t *testing.T) {
	serve(t, "", func(t *testing.T, l *lab) {
		s := l.watch(t)
		defer s.leave()
		l.live.Execution(&sample.Execution{Device: 3, Due: 1, Finished: sample.Moment(7 * ms), Outcome: sample.Succeeded})
		l.observe(harness.Running, time.Second)
		synctest.Wait()
		e := <-s.events
		var got struct {
			Standing struct {
				Devices, Online, Offline int
				Jobs                     []report.JobStanding
			}
			Summary struct {
				Scenario string
				Jobs     []report.Job
			}
			Watching report.Watching
		}
		again, err := json.Marshal(e.data)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &got); err != nil {
			t.Fatal(err)
		}
		st := got.Standing
		if st.Devices != 5 || st.Online != 4 || st.Offline != 1 || len(st.Jobs) != 1 || st.Jobs[0].Done != 2 || got.Watching.Pages != 1 {
			t.Errorf("standing %+v, watching %+v; want what was observed", st, got.Watching)
		}
		j := got.Summary.Jobs[0]
		if got.Summary.Scenario != "made "+markup || j.Name != "lock "+markup || j.Phases["total"].Count != 1 {
			t.Errorf("summary %+v, want the names and one execution", got.Summary)
		}
	})
}

// A page that reads nothing holds up nobody, and is counted when it is let go of.
func TestAPageThatDoesNotReadIsLetGoOf(t *testing.T) {
	serve(t, "", func(t *testing.T, l *lab) {
		conn, err := l.client.Transport.(*http.Transport).DialContext(t.Context(), "tcp", "page")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		reader := l.watch(t)
		defer reader.leave()
		var dropped float64
		for second := range 400 {
			before := time.Now()
			l.observe(harness.Running, time.Duration(second+1)*time.Second)
			if waited := time.Since(before); waited != 0 {
				t.Fatalf("Observe waited %v for a page", waited)
			}
			time.Sleep(time.Second)
			e := <-reader.events
			dropped = e.data["watching"].(map[string]any)["dropped"].(float64)
		}
		if dropped != 1 {
			t.Errorf("after 400 s %v pages were let go of, want the one that does not read", dropped)
		}
	})
}

func TestOnlySoManyPagesWatch(t *testing.T) {
	serve(t, "", func(t *testing.T, l *lab) {
		var all []*stream
		for range 8 {
			all = append(all, l.watch(t))
		}
		if status, body, _ := l.ask(t, "GET", "/events"); status != http.StatusServiceUnavailable || !strings.Contains(body, "too many pages") {
			t.Errorf("the ninth page: %d %q, want 503", status, body)
		}
		all[0].leave()
		synctest.Wait()
		again := l.watch(t)
		defer again.leave()
		if again.status != http.StatusOK {
			t.Errorf("after one has left: %d, want 200", again.status)
		}
		for _, s := range all {
			s.leave()
		}
	})
}

// secret returns what the page's own stop button sends.
func (l *lab) secret(t *testing.T) string {
	t.Helper()
	_, page, _ := l.ask(t, "GET", "/")
	_, rest, ok := strings.Cut(page, `<meta name="muster-stop" content="`)
	secret, _, _ := strings.Cut(rest, `"`)
	if !ok || len(secret) < 20 {
		t.Fatalf("the page has no secret:\n%s", page)
	}
	return secret
}

func TestOnlyTheRunsOwnPageStopsIt(t *testing.T) {
	serve(t, "", func(t *testing.T, l *lab) {
		secret := l.secret(t)
		for _, c := range []struct {
			what    string
			method  string
			header  []string
			want    int
			stopped int
		}{
			{"nothing to prove it", "POST", nil, 403, 0},
			{"another secret", "POST", []string{"X-Muster-Stop", "A" + secret[1:] + "A"}, 403, 0},
			{"another site's page", "POST", []string{"X-Muster-Stop", secret, "Origin", "http://evil.example"}, 403, 0},
			{"another port's page", "POST", []string{"X-Muster-Stop", secret, "Origin", "http://127.0.0.1:1"}, 403, 0},
			{"as the browser says", "POST", []string{"X-Muster-Stop", secret, "Sec-Fetch-Site", "cross-site"}, 403, 0},
			{"a name that points here", "POST", []string{"X-Muster-Stop", secret, "Host", "evil.example", "Origin", "http://evil.example"}, 403, 0},
			{"a link", "GET", []string{"X-Muster-Stop", secret}, 405, 0},
			{"the page", "POST", []string{"X-Muster-Stop", secret, "Origin", "http://127.0.0.1", "Sec-Fetch-Site", "same-origin"}, 202, 1},
			{"the page again", "POST", []string{"X-Muster-Stop", secret}, 202, 1},
		} {
			if got, body, _ := l.ask(t, c.method, "/stop", c.header...); got != c.want || l.stopped != c.stopped {
				t.Errorf("%s: %d %q, stopped %d times; want %d, %d times", c.what, got, body, l.stopped, c.want, c.stopped)
			}
		}
		l.page.End("")
		if got, body, _ := l.ask(t, "POST", "/stop", "X-Muster-Stop", secret); got != 409 {
			t.Errorf("after the end: %d %q, want 409", got, body)
		}
	})
}

func TestWhoMaySee(t *testing.T) {
	const token = "SECRETTOKEN"
	see := func(token string, want int, path string, header ...string) {
		t.Helper()
		serve(t, token, func(t *testing.T, l *lab) {
			l.base = "http://127.0.0.1"
			got, body, h := l.ask(t, "GET", path, header...)
			if got != want {
				t.Errorf("token %q: GET %s %q = %d %q, want %d", token, path, header, got, body, want)
			}
			if got != 200 && strings.Contains(body+h.Get("Location"), token) && token != "" {
				t.Errorf("GET %s tells the token: %q", path, body)
			}
		})
	}
	for _, path := range []string{"/", "/web/live.js"} {
		see("", 200, path)
		see("", 200, path, "Host", "localhost:80")
		see("", 200, path, "Host", "[::1]:80")
		see("", 403, path, "Host", "evil.example")
		see("", 403, path, "Host", "192.0.2.1:80")
		see("", 403, path, "Host", "127.0.0.1.evil.example")
		see(token, 200, "/"+token+path)
		see(token, 200, "/"+token+path, "Host", "ci-7.example:8080")
		see(token, 403, path)
		see(token, 403, "/SECRETTOKEM"+path)
		see(token, 403, "//"+token+path)
	}
	see(token, 403, "/"+token)
	see("", 404, "/web/main.js")
	see("", 404, "/web/..%2flive.html")
	see("", 404, "/report.html")
}

// The page allows itself what it is made of, and names in it are text.
func TestThePageIsItsOwn(t *testing.T) {
	serve(t, "", func(t *testing.T, l *lab) {
		_, page, h := l.ask(t, "GET", "/")
		if strings.Contains(page, "<img") || !strings.Contains(page, "&lt;img") {
			t.Errorf("the scenario's name is markup in\n%s", page)
		}
		if want := "the latencies are of this process, not of a network."; !strings.Contains(page, want) {
			t.Errorf("the page of a run in memory does not say %q", want)
		}
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("the policy %q lacks %s", policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("headers %v", h)
		}
		served := 0
		for part := range strings.SplitSeq(page, `"`) {
			if strings.HasPrefix(part, "web/") {
				served++
				kind := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", "": "text/plain; charset=utf-8"}[filepath.Ext(part)]
				if status, _, h := l.ask(t, "GET", "/"+part); status != 200 || h.Get("Content-Type") != kind {
					t.Errorf("GET %s = %d %s, want 200 %s", part, status, h.Get("Content-Type"), kind)
				}
			}
		}
		if served < 12 {
			t.Errorf("the page asks for %d files, want its scripts and styles", served)
		}
	})
}

// Pages that were open at the end get the report before the server goes.
func TestThePageGoesOnToTheReport(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "report.html"), []byte("the report"), 0o666); err != nil {
		t.Fatal(err)
	}
	serve(t, "", func(t *testing.T, l *lab) {
		s := l.watch(t)
		l.observe(harness.Running, time.Second)
		if status, _, _ := l.ask(t, "GET", "/report.html"); status != 404 {
			t.Errorf("the report before there is one: %d, want 404", status)
		}
		l.page.End(dir)
		if diff := cmp.Diff([]string{"running 1s", "end", "closed"}, s.got()); diff != "" {
			t.Errorf("the stream (-want +got):\n%s", diff)
		}
		waited := make(chan time.Duration)
		begun := time.Now()
		go func() {
			l.page.Wait(t.Context())
			waited <- time.Since(begun)
		}()
		time.Sleep(2 * time.Second)
		if status, body, _ := l.ask(t, "GET", "/report.html"); status != 200 || body != "the report" {
			t.Errorf("the report: %d %q", status, body)
		}
		if took := <-waited; took != 2*time.Second {
			t.Errorf("Wait() took %v, want until the page had the report", took)
		}
		if status, _, h := l.ask(t, "GET", "/"); status != 303 || h.Get("Location") != "report.html" {
			t.Errorf("the page after the end: %d to %q, want 303 to the report", status, h.Get("Location"))
		}
		if late := l.watch(t).got(); !cmp.Equal(late, []string{"running 1s", "end", "closed"}) && !cmp.Equal(late, []string{"end", "closed"}) {
			t.Errorf("a stream after the end: %q, want its end", late)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l.page.Wait(ctx) // nobody is owed anything any more
		if ctx.Err() != nil {
			t.Error("Wait() waits for a page that came after the end")
		}
	})
}

// A page that does not come for the report is not waited for longer than ctx.
func TestWaitEndsWithItsContext(t *testing.T) {
	serve(t, "", func(t *testing.T, l *lab) {
		s := l.watch(t)
		defer s.leave()
		l.page.End(t.TempDir())
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		l.page.Wait(ctx)
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("Wait() took %v, want the five seconds", took)
		}
	})
}
