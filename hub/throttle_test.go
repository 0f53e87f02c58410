package hub_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// answering registers and connects devices that answer every method at once.
func answering(t *testing.T, s *hubtest.Server, ids ...string) {
	t.Helper()
	register(t, s, ids...)
	for i, id := range ids {
		if i > 0 && i%100 == 0 {
			time.Sleep(time.Second) // what the slowest tier accepts
		}
		conn := reconnect(t, s, id, iothub.FilterMethods).conn
		go answerAll(conn) // ends with the connection, which the test's cleanup closes
	}
}

// A method job over 200 devices on S1 takes 20 s, and there cannot be another one meanwhile.
func TestJobOnTier(t *testing.T) {
	bubble(t, &hub.Options{Tier: hub.S1}, func(t *testing.T, s *hubtest.Server) {
		answering(t, s, ids(200)...)
		start := time.Now()
		schedule(t, s, "first", methodJob("*", 0, 300))
		second := methodJob("*", time.Hour, 300)
		a := rest(t, s, "PUT /jobs/v2/second", second)
		refused(t, "second job", a, iothub.CodeThrottlingMaxActiveJobCountExceeded)
		if !strings.HasPrefix(a.body, `{"Message":"ErrorCode:ThrottlingMaxActiveJobCountExceeded;Error: 429 `) {
			t.Errorf("second job: %s", a.body)
		}
		refused(t, "the same job", rest(t, s, "PUT /jobs/v2/first", second), iothub.CodeJobAlreadyExists)
		time.Sleep(10 * time.Second)
		wantsJob(t, s, "first", iothub.JobRunning, 200, 99, 0, 101, 0)
		time.Sleep(9*time.Second + 901*time.Millisecond)
		wantsJob(t, s, "first", iothub.JobCompleted, 200, 0, 0, 200, 0)
		took := job(t, s, "first").EndTime.Sub(start)
		if took < 19*time.Second || took > 21*time.Second {
			t.Errorf("the job took %v, want 20 s ± 1 s", took)
		}
		for i, r := range rows(t, s, "first") {
			if at, want := r.StartTimeUTC.Sub(start), time.Duration(i)*100*time.Millisecond; at != want {
				t.Fatalf("execution %d began at %v, want %v", i, at, want)
			}
		}
		schedule(t, s, "second", second)
		refused(t, "a third job beside one for later", rest(t, s, "PUT /jobs/v2/third", second),
			iothub.CodeThrottlingMaxActiveJobCountExceeded)
		ok[iothub.Job](t, s, "POST /jobs/v2/second/cancel", "")
		schedule(t, s, "third", second)
	})
}

// The executions of all jobs share one meter, also over the end of a job.
func TestJobsShareTheMeter(t *testing.T) {
	bubble(t, &hub.Options{Tier: hub.S2, Units: 20}, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(30)...)
		start := time.Now()
		for i := range 5 {
			schedule(t, s, fmt.Sprintf("job-%d", i), twinJob("*", `"tags":{"a":1}`))
		}
		refused(t, "sixth job", rest(t, s, "PUT /jobs/v2/sixth", twinJob("*", `"tags":{"a":1}`)),
			iothub.CodeThrottlingMaxActiveJobCountExceeded)
		time.Sleep(7*time.Second + 450*time.Millisecond) // 150 at 20/s, the first at once
		last := start
		for i := range 5 {
			id := fmt.Sprintf("job-%d", i)
			wantsJob(t, s, id, iothub.JobCompleted, 30, 0, 0, 30, 0)
			if end := job(t, s, id).EndTime.Time; end.After(last) {
				last = end
			}
		}
		if took := last.Sub(start); took != 7450*time.Millisecond {
			t.Errorf("150 executions at 20/s took %v, want 7.45 s", took)
		}
	})
}

// crowd sends a request many times at once and counts what was answered at once, what had to wait, and what was refused
// with a code.
func crowd(t *testing.T, s *hubtest.Server, n int, line, body string, code iothub.ErrorCode) (atOnce, waited, throttled int, longest time.Duration) {
	t.Helper()
	start := time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			a := rest(t, s, line, body)
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case a.status == 429:
				refused(t, line, a, code)
				throttled++
			case took == 0:
				atOnce++
			default:
				waited++
				longest = max(longest, took)
			}
		})
	}
	all.Wait()
	return atOnce, waited, throttled, longest
}

// Each meter lets a burst pass and some more wait, drained at its rate; what would overflow the backlog is refused.
func TestRequestsOnTier(t *testing.T) {
	tests := func(line, body string, n, atOnce, waited int, longest time.Duration, code iothub.ErrorCode) {
		t.Helper()
		bubble(t, &hub.Options{Tier: hub.S1}, func(t *testing.T, s *hubtest.Server) {
			register(t, s, "dev1")
			a, w, r, l := crowd(t, s, n, line, body, code)
			if a != atOnce || w != waited || r != n-atOnce-waited || l.Round(time.Millisecond) != longest {
				t.Errorf("%d times %s: %d at once, %d waited up to %v, %d refused; want %d, %d up to %v, %d",
					n, line, a, w, l, r, atOnce, waited, longest, n-atOnce-waited)
			}
			if got := s.Stats(); got.Delayed != int64(waited) || got.Throttled != int64(r) {
				t.Errorf("%s: counted %d delayed, %d throttled", line, got.Delayed, got.Throttled)
			}
			time.Sleep(90 * time.Second)
			s.HTTPClient().CloseIdleConnections() // the hub's idle timeout ends some of them at this very moment
			if a, _, _, _ := crowd(t, s, atOnce, line, body, code); a != atOnce {
				t.Errorf("%s: %d at once after a quiet time, want %d", line, a, atOnce)
			}
		})
	}
	const full, late = iothub.CodeThrottleBacklogLimitExceeded, iothub.CodeThrottlingBacklogTimeout
	tests("GET /twins/dev1", "", 1150, 100, 1000, 10*time.Second, full)
	tests("PATCH /twins/dev1", `{"tags":{"a":1}}`, 560, 50, 500, 10*time.Second, full)
	tests("POST /twins/dev1/methods", `{"methodName":"m"}`, 450, 40, 400, 10*time.Second, full)
	tests("POST /devices/query", `{"query":"SELECT * FROM devices"}`, 40, 20, 10, 30*time.Second, late)
	tests("GET /devices/dev1", "", 160, 100, 50, 30*time.Second, late)
	tests("GET /jobs/v2/none", "", 160, 100, 50, 30*time.Second, late)
	tests("GET /jobs/v2/query", "", 160, 100, 50, 30*time.Second, late)
}

// Methods count their payload in blocks of 4 KB, bulk requests their identities; a hub's own statistics count nothing.
func TestCostOfRequests(t *testing.T) {
	bubble(t, &hub.Options{Tier: hub.S1}, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1") // provisioning: not metered
		tests := func(line, body string, want time.Duration, headers ...string) {
			t.Helper()
			start := time.Now()
			rest(t, s, line, body, headers...)
			if took := time.Since(start).Round(time.Millisecond); took != want {
				t.Errorf("%s with %d bytes: %v, want %v", line, len(body), took, want)
			}
		}
		method := func(payloadBytes int) string {
			return `{"methodName":"m","payload":"` + strings.Repeat("x", payloadBytes-2) + `"}`
		}
		tests("POST /twins/dev1/methods", method(4096*31), 0)
		tests("POST /twins/dev1/methods", method(4097), 0) // two blocks: 33
		tests("POST /twins/dev1/methods", method(4096*8), 25*time.Millisecond)
		tests("POST /twins/dev1/methods", `{"methodName":"m"}`, 25*time.Millisecond)

		bulk := func(n int) string {
			return "[" + strings.Repeat(`{"id":"x","importMode":"create"},`, n-1) + `{"id":"x","importMode":"create"}]`
		}
		tests("POST /devices", bulk(60), 0)
		tests("POST /devices", bulk(100), 0, hub.ProvisioningHeader, "any")
		tests("POST /devices", bulk(50), 6*time.Second)
		tests("GET /devices/dev1", "", 600*time.Millisecond)
		for range 200 {
			tests("GET /muster/stats", "", 0)
			tests("GET /statistics/devices", "", 0)
		}
	})
}

// New devices connect in a burst, then at the tier's rate, and when too many wait they are told that the service is
// unavailable, which clients repeat.
func TestConnectsOnTier(t *testing.T) {
	bubble(t, &hub.Options{Tier: hub.S1}, func(t *testing.T, s *hubtest.Server) {
		const n = 1150
		register(t, s, ids(n)...)
		start := time.Now()
		var mu sync.Mutex
		atOnce, waited, unavailable := 0, 0, 0
		longest := time.Duration(0)
		var devices []*bare
		for range n {
			devices = append(devices, dial(t, s))
		}
		var all sync.WaitGroup
		for i, id := range ids(n) {
			all.Go(func() {
				code := devices[i].connect(valid(s, id), true, 1)
				mu.Lock()
				defer mu.Unlock()
				switch took := time.Since(start); {
				case code == mqtt.RefusedUnavailable:
					unavailable++
				case code != mqtt.Accepted:
					t.Errorf("CONNACK %d", code)
				case took == 0:
					atOnce++
				default:
					waited++
					longest = max(longest, took)
				}
			})
		}
		all.Wait()
		if atOnce != 100 || waited != 1000 || unavailable != 50 || longest != 10*time.Second {
			t.Errorf("%d at once, %d waited up to %v, %d unavailable; want 100, 1000 up to 10s, 50", atOnce, waited, longest, unavailable)
		}
		// Its wait does not count against a device's keep-alive of a second: those of the last one and a half are there.
		synctest.Wait()
		if got := s.Stats(); got.Connections < 149 || got.Refused != 50 || got.Throttled != 50 {
			t.Errorf("%d connections, %d refused, %d throttled", got.Connections, got.Refused, got.Throttled)
		}
	})
}

// Who cannot prove to be a device costs nothing.
func TestRefusedConnectsAreNotMetered(t *testing.T) {
	bubble(t, &hub.Options{Tier: hub.S1}, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		for range 1200 {
			b := dial(t, s)
			if code := b.connect(credentials{"dev1", "nonsense", "x"}, true, 0); code != mqtt.RefusedNotAuthorized {
				t.Fatalf("CONNACK %d", code)
			}
		}
		start := time.Now()
		reconnect(t, s, "dev1")
		if took := time.Since(start); took != 0 {
			t.Errorf("waited %v", took)
		}
	})
}

// A device's patches beyond the meter's burst are carried out later, in their order; those beyond the backlog are
// answered with 429.
func TestTwinPatchesOnTier(t *testing.T) {
	bubble(t, &hub.Options{Tier: hub.S1}, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterTwinResponses)
		start := time.Now()
		for i := range 560 {
			b.publish(iothub.ReportedTopic(itoa(i)), fmt.Sprintf(`{"n":%d}`, i))
		}
		for i := range 50 {
			b.wants(iothub.TwinResponseTopic(204, itoa(i), int64(i+2)), "")
		}
		for i := 550; i < 560; i++ {
			topic, body := b.message()
			if want := iothub.TwinResponseTopic(429, itoa(i), 0); topic != want || !strings.Contains(body, `"errorCode":429001,`) {
				t.Errorf("%s %s, want %s with errorCode 429001", topic, body, want)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("what need not wait took %v", took)
		}
		for i := 50; i < 550; i++ {
			b.wants(iothub.TwinResponseTopic(204, itoa(i), int64(i+2)), "")
		}
		if took := time.Since(start).Round(time.Millisecond); took != 10*time.Second {
			t.Errorf("500 patches at 50/s were drained in %v, want 10 s", took)
		}
		b.publish(iothub.TwinGetTopic("get"), " ")
		if topic, body := b.message(); !strings.Contains(body, `"n":549,`) {
			t.Errorf("%s %s", topic, body)
		}
	})
}

func TestTwinReadsOnTier(t *testing.T) {
	bubble(t, &hub.Options{Tier: hub.S1}, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterTwinResponses)
		start := time.Now()
		for i := range 101 {
			b.publish(iothub.TwinGetTopic(itoa(i)), " ")
		}
		for i := range 101 {
			if topic, _ := b.message(); topic != iothub.TwinResponseTopic(200, itoa(i), 0) {
				t.Errorf("%d: %s", i, topic)
			}
		}
		if took := time.Since(start).Round(time.Millisecond); took != 10*time.Millisecond {
			t.Errorf("101 reads at 100/s took %v, want 10 ms", took)
		}
	})
}

func TestDevicesOfFreeTier(t *testing.T) {
	bubble(t, &hub.Options{Tier: hub.F1}, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(500)...)
		a := rest(t, s, "PUT /devices/one-more", "{}")
		refused(t, "device 501", a, iothub.CodeIotHubQuotaExceeded)
		rest(t, s, "DELETE /devices/"+ids(1)[0], "")
		register(t, s, "one-more")
	})
}

// Closing the hub waits for nothing that waits for its turn.
func TestCloseWithBacklog(t *testing.T) {
	bubble(t, &hub.Options{Tier: hub.S1}, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterTwinResponses)
		register(t, s, ids(101)...)
		for _, id := range ids(99) {
			reconnect(t, s, id)
		}
		late := dial(t, s)
		ctx, stop := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() {
			packet, _ := mqtt.AppendConnect(nil, mqtt.Connect{
				CleanSession: true, ClientID: []byte(ids(100)[99]), HasUsername: true, HasPassword: true,
				Username: []byte(valid(s, ids(100)[99]).username), Password: []byte(valid(s, ids(100)[99]).password),
			})
			_, _ = late.conn.Write(packet)
			_, _, _ = late.rd.Next()
		})
		for range 25 {
			waiting.Go(func() {
				for range s.Client().Query(ctx, "SELECT * FROM devices", 0) { // however it ends
					break
				}
			})
		}
		for i := range 60 {
			b.publish(iothub.ReportedTopic(itoa(i)), `{"n":1}`)
		}
		schedule(t, s, "job", twinJob("*", `"tags":{"a":1}`))
		if got := s.Stats(); got.Delayed != 16 {
			t.Errorf("%d wait, want a connect, 5 queries and 10 patches", got.Delayed)
		}
		start := time.Now()
		if err := s.Hub.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("Close took %v", took)
		}
		stop() // the client repeats what the hub's end broke off
		waiting.Wait()
	})
}

func TestUnknownTier(t *testing.T) {
	defer func() {
		if got := fmt.Sprint(recover()); !strings.HasPrefix(got, `hub: unknown tier "S9"`) {
			t.Errorf("New with tier S9: %s", got)
		}
	}()
	_ = hub.New(&hub.Options{Tier: "S9"}).Close()
}
