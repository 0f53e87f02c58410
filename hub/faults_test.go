package hub_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/fault"
	"muster/internal/mqtt"
	"muster/iothub"
)

// inject posts a fault and returns its id.
func inject(t testing.TB, s *hubtest.Server, body string) string {
	t.Helper()
	a := rest(t, s, "POST /muster/faults", body)
	if a.status != http.StatusCreated {
		t.Fatalf("POST /muster/faults %s: %d %s", body, a.status, a.body)
	}
	return decoded[hub.FaultStatus](t, a.body).ID
}

// struck checks how often a fault has struck, and whether it is over.
func struck(t testing.TB, s *hubtest.Server, id string, want int64, over bool) {
	t.Helper()
	if got := ok[hub.FaultStatus](t, s, "GET /muster/faults/"+id, ""); got.Struck != want || got.Over != over {
		t.Errorf("fault %s: struck %d, over %v; want %d, %v", id, got.Struck, got.Over, want, over)
	}
}

// unanswered sends a request whose connection must be cut, and returns how long that took.
func unanswered(t testing.TB, s *hubtest.Server, line, body string) time.Duration {
	t.Helper()
	start := time.Now()
	method, path, _ := strings.Cut(line, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path+"?api-version="+iothub.APIVersion, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Body, req.GetBody = io.NopCloser(strings.NewReader(body)), nil // with that, an empty one too, nobody repeats it
	cs := s.ConnectionString()
	req.Header.Set("Authorization", iothub.NewToken(cs.HostName, cs.SharedAccessKey, cs.SharedAccessKeyName, start.Add(time.Hour)))
	resp, err := s.HTTPClient().Transport.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
		t.Errorf("%s: answered %s, want no answer", line, resp.Status)
	}
	return time.Since(start)
}

// rejected connects a device that must not come online, and checks the CONNACK's code; 0 is none.
func rejected(t testing.TB, s *hubtest.Server, id string, want byte) {
	t.Helper()
	b := dial(t, s)
	packet, err := mqtt.AppendConnect(nil, connectPacket(s, id))
	if err != nil {
		t.Fatal(err)
	}
	packet = mqtt.AppendPingreq(packet) // a client need not wait for its CONNACK [MQTT-3.1.4-5]
	_, _ = b.conn.Write(packet)         // the hub may be away
	h, body, err := b.rd.Next()
	got := byte(0)
	if err == nil && h.Type == mqtt.TypeConnack {
		ack, parseErr := mqtt.ParseConnack(body)
		got, err = ack.Code, parseErr
	}
	if got != want {
		t.Errorf("%s: CONNACK %d (%v), want %d", id, got, err, want)
	}
	b.closed()
}

func connectPacket(s *hubtest.Server, id string) mqtt.Connect {
	c := valid(s, id)
	return mqtt.Connect{
		ClientID: []byte(c.clientID), Username: []byte(c.username), Password: []byte(c.password),
		HasUsername: true, HasPassword: true, CleanSession: true, KeepAlive: 60,
	}
}

// past sleeps until what ends after d has ended.
func past(d time.Duration) { time.Sleep(d + time.Millisecond) }

const call = `{"methodName":"m","responseTimeoutInSeconds":10}`

func TestFaultErrors(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		id := inject(t, s, `{"kind":"errors","code":429001,"operations":["methods"],"for":"5s"}`)
		invoke(t, s, "dev1", call).refused(t, iothub.CodeThrottlingException, 0)
		b.silent(time.Second) // it was not carried out
		if a := rest(t, s, "GET /twins/dev1", ""); a.status != 200 {
			t.Errorf("GET twin beside errors on methods: %d %s", a.status, a.body)
		}
		past(5 * time.Second)
		struck(t, s, id, 1, true)
		c := invoke(t, s, "dev1", call)
		b.answerMethod("m", "null", 200, "")
		c.wants(t, 200, `{"status":200,"payload":null}`, 0)

		// Each code of a fault is one of the service's.
		for _, code := range fault.Codes {
			if _, err := s.Inject(hub.Fault{Kind: hub.FaultErrors, Code: code, Count: 1}); err != nil {
				t.Fatal(err)
			}
			refused(t, "GET twin", rest(t, s, "GET /twins/dev1", ""), iothub.ErrorCode(code))
		}
	})
}

func TestFaultScope(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "door-1", "door-2", "lamp-1")
		strikes := func(fault, line, body string, want bool) {
			t.Helper()
			inject(t, s, fault)
			a := rest(t, s, line, body)
			s.ClearFaults()
			if got := a.status == http.StatusServiceUnavailable; got != want {
				t.Errorf("%s beside %s: %d %s; struck %v, want %v", line, fault, a.status, a.body, got, want)
			}
		}
		const any = `{"kind":"errors","code":503001}`
		const doors = `{"kind":"errors","code":503001,"devicePrefix":"door-"}`
		const lamp = `{"kind":"errors","code":503001,"devices":["lamp-1"]}`
		of := func(op string) string { return `{"kind":"errors","code":503001,"operations":["` + op + `"]}` }
		strikes(any, "GET /devices", "", true)
		strikes(any, "GET /muster/stats", "", false)
		strikes(any, "GET /muster/faults", "", false)
		strikes(doors, "GET /twins/door-1", "", true)
		strikes(doors, "GET /twins/door%2D2", "", true)
		strikes(doors, "GET /twins/lamp-1", "", false)
		strikes(lamp, "GET /twins/lamp-1/modules/m", "", true)
		strikes(lamp, "PUT /devices/lamp-1/modules/m", `{}`, true)
		strikes(of("methods"), "POST /twins/lamp-1/modules/m/methods", call, true)
		strikes(doors, "GET /devices/door-2", "", true)
		strikes(doors, "GET /devices", "", false)
		strikes(lamp, "GET /twins/lamp-1", "", true)
		strikes(lamp, "GET /twins/door-1", "", false)
		strikes(of("registry"), "GET /devices/door-1", "", true)
		strikes(of("registry"), "POST /devices/query", `{"query":"SELECT * FROM devices"}`, false)
		strikes(of("query"), "POST /devices/query", `{"query":"SELECT * FROM devices"}`, true)
		strikes(of("twins"), "GET /twins/door-1", "", true)
		strikes(of("twins"), "POST /twins/door-1/methods", call, false)
		strikes(of("methods"), "POST /twins/door-1/methods", call, true)
		strikes(of("jobs"), "GET /jobs/v2/query", "", true)
		strikes(of("jobs"), "GET /twins/door-1", "", false)
		strikes(of("statistics"), "GET /statistics/service", "", true)
	})
}

func TestFaultShareAndCount(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(40)...)
		hit := func() (struck []string) {
			t.Helper()
			inject(t, s, `{"kind":"errors","code":503005,"share":0.5,"seed":7}`)
			for _, id := range ids(40) {
				if rest(t, s, "GET /twins/"+id, "").status == http.StatusServiceUnavailable {
					struck = append(struck, id)
				}
			}
			s.ClearFaults()
			return struck
		}
		first := hit()
		if diff := cmp.Diff(first, hit()); diff != "" || len(first) < 10 || len(first) > 30 {
			t.Errorf("a share of 0.5 strikes %d of 40, and another time (-first +second):\n%s", len(first), diff)
		}
		id := inject(t, s, `{"kind":"errors","code":500001,"count":2}`)
		for _, want := range []int{500, 500, 200} {
			if a := rest(t, s, "GET /twins/"+ids(1)[0], ""); a.status != want {
				t.Errorf("GET twin with a count of 2: %d, want %d", a.status, want)
			}
		}
		struck(t, s, id, 2, true)
	})
}

func TestFaultLatency(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods, iothub.FilterTwinResponses, iothub.FilterDesired)
		other := online(t, s, "dev2", iothub.FilterTwinResponses)
		start := time.Now()
		after := func(want time.Duration) {
			t.Helper()
			if got := time.Since(start); got != want {
				t.Errorf("after %v, want %v", got, want)
			}
			start = time.Now()
		}
		inject(t, s, `{"kind":"latency","delay":"300ms"}`)
		rest(t, s, "GET /twins/dev1", "")
		after(300 * time.Millisecond)
		s.ClearFaults()

		inject(t, s, `{"kind":"latency","part":"methods","delay":"2s"}`)
		c := invoke(t, s, "dev1", call)
		b.answerMethod("m", "null", 200, "")
		after(2 * time.Second)
		c.wants(t, 200, `{"status":200,"payload":null}`, 2*time.Second)
		s.ClearFaults()

		// Only dev1 is struck, and what follows a delayed message stays behind it, also when the fault is over.
		id := inject(t, s, `{"kind":"latency","part":"twins","delay":"1s","devices":["dev1"],"count":1}`)
		rest(t, s, "PATCH /twins/dev1", `{"properties":{"desired":{"a":1}}}`)
		struck(t, s, id, 1, true)
		rest(t, s, "PATCH /twins/dev1", `{"properties":{"desired":{"a":2}}}`)
		other.publish(iothub.TwinGetTopic("1"), "")
		other.message()
		after(0)
		b.wants("$iothub/twin/PATCH/properties/desired/?$version=2", `{"a":1,"$version":2}`)
		after(time.Second)
		b.wants("$iothub/twin/PATCH/properties/desired/?$version=3", `{"a":2,"$version":3}`)
		after(0)

		register(t, s, "late")
		inject(t, s, `{"kind":"latency","part":"connect","delay":"4s"}`)
		reconnect(t, s, "late")
		after(4 * time.Second)
	})
}

// A CONNECT that was delayed does not take over from one that came later and was not.
// What strangers ask for is not written down.
func TestFaultLatencyIsNotForStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hubtest.Start(t, &hub.Options{})
		id := inject(t, s, `{"kind":"latency","delay":{"from":"1s","to":"2s"}}`)
		start := time.Now()
		resp, err := s.HTTPClient().Get(s.URL() + "/twins/whoever?api-version=" + iothub.APIVersion)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if took := time.Since(start); resp.StatusCode != http.StatusUnauthorized || took > 0 {
			t.Errorf("a request without a token: %s after %v, want 401 at once", resp.Status, took)
		}
		struck(t, s, id, 0, false)
	})
}

func TestFaultLatencyOfAnOlderConnect(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		inject(t, s, `{"kind":"latency","part":"connect","delay":"5s","count":1}`)
		old := dial(t, s)
		packet, err := mqtt.AppendConnect(nil, connectPacket(s, "dev1"))
		if err != nil {
			t.Fatal(err)
		}
		old.write(packet)
		time.Sleep(time.Second)
		b := reconnect(t, s, "dev1")
		if took := old.closed(); took != 4*time.Second {
			t.Errorf("the older connection was closed after %v, want 4s", took)
		}
		b.alive()
	})
}

// A delay that is held when the device goes away leaves nothing behind.
func TestFaultLatencyEndsWithItsConnection(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		inject(t, s, `{"kind":"latency","part":"methods","delay":"5s"}`)
		c := invoke(t, s, "dev1", call)
		_ = b.conn.Close()
		synctest.Wait()
		again := reconnect(t, s, "dev1", iothub.FilterMethods)
		again.silent(6 * time.Second)
		c.refused(t, iothub.CodeGatewayTimeout, 10*time.Second)
	})
}

func TestFaultDrop(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		one, two := online(t, s, "dev1", iothub.FilterMethods), online(t, s, "dev2")
		c := invoke(t, s, "dev1", call)
		id := inject(t, s, `{"kind":"drop","devices":["dev1"]}`)
		struck(t, s, id, 1, true)
		one.message()
		one.closed()
		two.alive()
		c.refused(t, iothub.CodeGatewayTimeout, 10*time.Second)
		invoke(t, s, "dev1", call).refused(t, iothub.CodeDeviceNotOnline, 0)
		reconnect(t, s, "dev1")
		synctest.Wait()
		if got := s.Stats(); got.FaultClosed != 1 || got.Connections != 2 {
			t.Errorf("Stats() = %+v, want 1 closed by a fault and 2 connections", got)
		}

		id = inject(t, s, `{"kind":"drop","for":"5s"}`)
		two.closed()
		rejected(t, s, "dev2", 0)
		past(5 * time.Second)
		reconnect(t, s, "dev2")
		struck(t, s, id, 3, true)
	})
}

func TestFaultDropOfServices(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		var took time.Duration
		done := make(chan struct{})
		go func() {
			defer close(done)
			took = unanswered(t, s, "POST /twins/dev1/methods", call)
		}()
		time.Sleep(time.Second)
		id := inject(t, s, `{"kind":"drop","part":"rest"}`)
		<-done
		b.message() // it had got there
		if took != time.Second {
			t.Errorf("a call under way was cut after %v, want 1s", took)
		}
		struck(t, s, id, 1, true)
		rest(t, s, "GET /twins/dev1", "")

		id = inject(t, s, `{"kind":"drop","part":"rest","for":"2s","operations":["twins"]}`)
		unanswered(t, s, "GET /twins/dev1", "")
		rest(t, s, "GET /devices/dev1", "")
		past(2 * time.Second)
		rest(t, s, "GET /twins/dev1", "")
		if got := ok[hub.FaultStatus](t, s, "GET /muster/faults/"+id, ""); got.Struck < 1 || !got.Over {
			t.Errorf("fault %+v, want it over, with a request struck", got)
		}
	})
}

func TestFaultRefuse(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1")
		register(t, s, "dev2")
		inject(t, s, `{"kind":"refuse","count":1}`)
		rejected(t, s, "dev2", mqtt.RefusedUnavailable)
		inject(t, s, `{"kind":"refuse","count":1,"answer":"notAuthorized"}`)
		rejected(t, s, "dev2", mqtt.RefusedNotAuthorized)
		inject(t, s, `{"kind":"refuse","count":1,"answer":"closed"}`)
		rejected(t, s, "dev2", 0)
		b.alive() // who is connected stays so
		reconnect(t, s, "dev2")
		synctest.Wait() // a peer is told that its connection ends before that is counted
		if got := s.Stats(); got.Refused != 2 || got.FaultClosed != 1 {
			t.Errorf("Stats(): %d refused, %d closed by a fault; want 2 and 1", got.Refused, got.FaultClosed)
		}
	})
}

func TestFaultSilent(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods, iothub.FilterTwinResponses, iothub.FilterDesired)
		inject(t, s, `{"kind":"silent","for":"40s","operations":["methods"]}`)
		if took := unanswered(t, s, "POST /twins/dev1/methods", call); took != 40*time.Second {
			t.Errorf("a request waited in silence for %v, want 40s", took)
		}
		b.silent(time.Second)

		inject(t, s, `{"kind":"silent","part":"methods","for":"2s"}`)
		c := invoke(t, s, "dev1", call)
		b.silent(3 * time.Second)
		c.refused(t, iothub.CodeGatewayTimeout, 10*time.Second)

		inject(t, s, `{"kind":"silent","part":"twins","for":"2s"}`)
		b.publish(iothub.TwinGetTopic("1"), "")
		rest(t, s, "PATCH /twins/dev1", `{"properties":{"desired":{"a":1}}}`)
		b.silent(3 * time.Second)

		// A CONNECT is left waiting for longer than its own timeout, and closed at the end.
		register(t, s, "dev2")
		inject(t, s, `{"kind":"silent","part":"connect","for":"30s"}`)
		start := time.Now()
		rejected(t, s, "dev2", 0)
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("a CONNECT waited in silence for %v, want 30s", took)
		}
		past(0)
		reconnect(t, s, "dev2")
	})
}

// The hub ends what waits in silence, whoever waits for whom.
func TestFaultsEndWithTheHub(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		inject(t, s, `{"kind":"latency","part":"methods","delay":"10m"}`)
		inject(t, s, `{"kind":"latency","part":"connect","delay":"10m"}`)
		schedule(t, s, "job-1", methodJob("*", 0, 60))
		inject(t, s, `{"kind":"silent"}`)
		register2 := dial(t, s)
		packet, err := mqtt.AppendConnect(nil, connectPacket(s, "dev1"))
		if err != nil {
			t.Fatal(err)
		}
		register2.write(packet)
		done := make(chan struct{})
		go func() {
			defer close(done)
			unanswered(t, s, "GET /twins/dev1", "")
		}()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		<-done
		b.closed()
	})
}

func TestFaultRestart(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		online(t, s, "dev2", iothub.FilterMethods)
		start := time.Now()
		schedule(t, s, "now", methodJob("*", 0, 60))
		schedule(t, s, "meanwhile", twinJob("*", `"tags":{"a":1}`))
		schedule(t, s, "soon", methodJob("*", 2*time.Second, 60))
		cut := make(chan struct{})
		go func() {
			defer close(cut)
			unanswered(t, s, "POST /twins/dev1/methods", call)
		}()
		topic, _ := b.message()
		b.message()
		time.Sleep(time.Second)
		inject(t, s, `{"kind":"restart","for":"5s"}`)
		b.closed()
		<-cut
		unanswered(t, s, "GET /twins/dev1", "")
		if c, err := s.MQTT.DialContext(context.Background(), "", ""); err == nil {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("a connection during the outage: read %v after %v, want it closed at once", err, time.Since(start))
			}
			_ = c.Close()
		}
		past(5 * time.Second)

		// It goes on with its twins and jobs; what was on its way is lost, also if its device answers late.
		b = reconnect(t, s, "dev1", iothub.FilterMethods)
		parsed, err := iothub.ParseTopic(topic)
		if err != nil {
			t.Fatal(err)
		}
		b.publish(iothub.MethodResponseTopic(200, parsed.RequestID), "")
		b.publish(iothub.MethodResponseTopic(200, "0"), "")
		time.Sleep(20 * time.Second)
		for _, want := range [][]string{
			{"now", "dev1 failed 0s 10s GatewayTimeout", "dev2 failed 0s 10s GatewayTimeout"},
			{"meanwhile", "dev1 completed 0s 0s", "dev2 completed 0s 0s"},
			{"soon", "dev1 failed 6s 6s DeviceNotOnline", "dev2 failed 6s 6s DeviceNotOnline"},
		} {
			if diff := cmp.Diff(want[1:], brief(start, rows(t, s, want[0]))); diff != "" {
				t.Errorf("rows of %s (-want +got):\n%s", want[0], diff)
			}
		}
		if got := s.Stats(); got.StrayResponses != 2 {
			t.Errorf("%d stray responses, want 2", got.StrayResponses)
		}
	})
}

func TestFaultEndpoints(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		is := func(line, body string, status int, want string) {
			t.Helper()
			a := rest(t, s, line, body)
			got := strings.ReplaceAll(a.body, time.Now().UTC().Format(time.RFC3339Nano), "NOW")
			if a.status != status || !strings.Contains(got, want) {
				t.Errorf("%s %s: %d %s\nwant %d %s", line, body, a.status, got, status, want)
			}
		}
		const first = `{"id":"1","over":false,"struck":0,"begun":"NOW","lasted":"0s","fault":{"kind":"silent","part":"rest","share":1}}`
		over := strings.Replace(first, "false", "true", 1)
		is("GET /muster/faults", "", 200, `[]`)
		is("POST /muster/faults", `{"kind":"silent"}`, 201, first)
		is("GET /muster/faults", "", 200, "["+first+"]")
		is("GET /muster/faults/1", "", 200, first)
		is("DELETE /muster/faults/1", "", 200, over)
		is("DELETE /muster/faults/1", "", 200, over)
		is("POST /muster/faults", `{"kind":"refuse","for":"1s"}`, 201, `"fault":{"kind":"refuse","part":"connect","for":"1s","share":1,"answer":"unavailable"}`)
		is("DELETE /muster/faults", "", 200, `"id":"2","over":true`)
		is("GET /muster/faults/3", "", 404, "There is no fault with ID '3'.")
		is("DELETE /muster/faults/3", "", 404, "FaultNotFound")
		is("POST /muster/faults", `{"kind":"refuse","for":1,"sahre":0.5}`, 400, "for: expected a duration such as 500ms, 30s or 1m30s; sahre: is unknown")
		is("POST /muster/faults", `{`, 400, "a fault is a JSON object")
		is("PUT /muster/faults", `{}`, 400, "GenericBadRequest")
		reader, _ := s.PolicyConnectionString("registryRead")
		refused(t, "POST as registryRead", restAs(t, s, reader, "POST /muster/faults", `{"kind":"drop"}`), iothub.CodeIotHubUnauthorizedAccess)
		for range 100 {
			inject(t, s, `{"kind":"silent","part":"twins"}`)
		}
		is("POST /muster/faults", `{"kind":"silent"}`, 400, "100 are active already")
		s.ClearFaults()
		if got := len(s.Faults()); got != 100 {
			t.Errorf("%d faults are remembered, want 100", got)
		}
	})
}

func TestInjectRefusesWhatIsNotValid(t *testing.T) {
	s := hubtest.Start(t, nil)
	_, err := s.Inject(hub.Fault{Kind: hub.FaultLatency, Share: 2})
	const want = "inject fault: share: must be above 0 and at most 1, is 2\ndelay: is missing: how much later things come"
	if err == nil || err.Error() != want || len(s.Faults()) != 0 {
		t.Errorf("Inject() = %v with %d faults, want %s", err, len(s.Faults()), want)
	}
	if s.ClearFault("1") {
		t.Error("ClearFault() of none = true")
	}
}
