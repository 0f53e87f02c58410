package hub_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// A service that asks without a token keeps its connection for the idle time of HTTP at most, and no place of others.
func TestUnauthorizedService(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		conn := dialRaw(t, s.REST)
		rd := bufio.NewReader(conn)
		start := time.Now()
		for range 3 {
			_, _ = io.WriteString(conn, "GET /devices?api-version=1 HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, err := http.ReadResponse(rd, nil)
			if err != nil || resp.StatusCode != http.StatusUnauthorized {
				t.Fatalf("%v %v", resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		eventually(t, "a stranger", func() bool { return s.Stats().Strangers == 1 && s.Stats().Unauthorized == 3 })
		if _, err := rd.ReadByte(); err != io.EOF || time.Since(start) != 2*time.Minute {
			t.Errorf("%v after %v, want the end after 2m", err, time.Since(start))
		}
		eventually(t, "counted", func() bool { return s.Stats().Unproven == 1 })
	})
}

// What is larger than a header may be is not read.
func TestLargeHeader(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		conn := dialRaw(t, s.REST)
		go func() {
			_, _ = io.WriteString(conn, "GET /devices HTTP/1.1\r\nHost: x\r\n")
			for line := []byte("A: " + strings.Repeat("x", 1000) + "\r\n"); ; {
				if _, err := conn.Write(line); err != nil {
					return
				}
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%v %v", resp, err)
		}
		_ = conn.Close()
		time.Sleep(time.Second)
	})
}

// Bodies may lie about their length, have no end, or be as deep as they like.
func TestHostileBodies(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "hostile")
		cs := s.ConnectionString()
		token := iothub.NewToken(cs.HostName, cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(time.Hour))
		tests := func(name, header string, body io.Reader, want int) {
			t.Helper()
			conn := dialRaw(t, s.REST)
			_, _ = fmt.Fprintf(conn, "POST /devices?api-version=1 HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%s\r\n\r\n", token, header)
			var writing sync.WaitGroup
			writing.Go(func() { _, _ = io.Copy(conn, body) }) // until the hub has enough
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != want {
				t.Errorf("%s: %v %v, want %d", name, resp, err, want)
			}
			_ = conn.Close()
			writing.Wait()
		}
		tests("a terabyte", "Content-Length: 1099511627776", endless("x"), 413)
		tests("no end", "Transfer-Encoding: chunked", endless("400\r\n"+strings.Repeat("x", 1<<10)+"\r\n"), 413)
		tests("less than it says", "Content-Length: 1000", strings.NewReader("[]"), 400)
		tests("no chunks", "Transfer-Encoding: chunked", strings.NewReader("zz\r\n"), 400)
		tests("a negative length", "Content-Length: -1", strings.NewReader("[]"), 400)
		tests("two lengths", "Content-Length: 2\r\nContent-Length: 3", strings.NewReader("[] "), 400)
		if got := s.Stats().BadBodies; got != 4 {
			t.Errorf("%d bad bodies were counted, want 4", got)
		}
		deep := strings.Repeat("[", 1<<20)
		nested := strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000)
		for _, body := range []string{deep, `{"tags":` + deep, `{"tags":` + nested + `}`, `{"properties":{"desired":` + nested + `}}`} {
			refused(t, "deep twin", rest(t, s, "PATCH /twins/hostile", body), iothub.CodeArgumentInvalid)
			refused(t, "deep job", rest(t, s, "PUT /jobs/v2/j", `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":`+body), iothub.CodeArgumentInvalid)
		}
		refused(t, "deep condition", rest(t, s, "POST /devices/query", `{"query":"SELECT * FROM devices WHERE `+strings.Repeat("(", 1<<18)+`"}`), iothub.CodeArgumentInvalid)
		time.Sleep(time.Second)
	})
}

// endless gives the same text again and again.
type endless string

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for len(p)-n >= len(e) {
		n += copy(p[n:], e)
	}
	return n, nil
}

// A device's JSON may be deep where it is anything, and not where it is a twin.
func TestHostileJSONOfDevices(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "hostile", iothub.FilterMethods, iothub.FilterTwinResponses)
		for _, patch := range []string{
			strings.Repeat("[", 200_000), strings.Repeat(`{"a":`, 20_000), `{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`,
			`{"a":1e400}`, "{\"a\":\"\xff\"}", `{"a":1}{}`, ``, `null`,
		} {
			b.publish(iothub.ReportedTopic("1"), patch)
			if topic, body := b.message(); topic != iothub.TwinResponseTopic(400, "1", 0) || !strings.Contains(body, `"errorCode":400004`) {
				t.Errorf("reported %.20s: %s %s", patch, topic, body)
			}
		}
		nested := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
		schedule(t, s, "deep", `{"type":"scheduleDeviceMethod","queryCondition":"deviceId = 'hostile'","cloudToDeviceMethod":{"methodName":"m"}}`)
		b.answerMethod("m", "null", 200, nested)
		eventually(t, "the job is over", func() bool { return job(t, s, "deep").Status == iothub.JobCompleted })
		if got := rows(t, s, "deep"); len(got) != 1 || string(got[0].Outcome.DeviceMethodResponse.Payload) != nested {
			t.Errorf("%d rows", len(got))
		}
		query[iothub.DeviceJob](t, s, "SELECT * FROM devices.jobs WHERE devices.jobs.outcome.deviceMethodResponse.payload.a.b = 1", 10)
		_ = b.conn.Close()
		rest(t, s, "DELETE /devices/hostile", "", "If-Match", "*")
		time.Sleep(time.Second)
	})
}

// One connection may subscribe as often as it likes, to five filters at a time, if it reads what it is told.
func TestManySubscriptions(t *testing.T) {
	const many = 100_000
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "hostile")
		packet, _ := mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: []byte(iothub.FilterMethods)}, mqtt.Filter{Topic: []byte(iothub.FilterDesired)},
			mqtt.Filter{Topic: []byte(iothub.FilterTwinResponses)}, mqtt.Filter{Topic: []byte(iothub.DeviceBoundFilter("hostile"))})
		var writing sync.WaitGroup
		writing.Go(func() {
			for range many / 4 {
				_, _ = b.conn.Write(packet)
			}
		})
		for range many / 4 {
			b.expect(mqtt.TypeSuback)
		}
		writing.Wait()
		rest(t, s, "PATCH /twins/hostile", `{"properties":{"desired":{"a":1}}}`)
		b.wants(iothub.DesiredTopic(2), `{"a":1,"$version":2}`)
		b.alive() // and nothing came twice

		var filters []mqtt.Filter
		for range 1000 {
			filters = append(filters, mqtt.Filter{Topic: []byte(iothub.FilterMethods)})
		}
		packet, _ = mqtt.AppendSubscribe(nil, 1, filters...)
		b.write(packet)
		if took := b.closed(); took > 0 {
			t.Errorf("a thousand filters: closed after %v", took)
		}
		eventually(t, "closed as a breach", func() bool { return s.Stats().ProtocolErrors == 1 })

		b = reconnect(t, s, "hostile")
		packet, _ = mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: []byte(iothub.FilterMethods)})
		for range many { // without reading
			if _, err := b.conn.Write(packet); err != nil {
				break
			}
		}
		time.Sleep(10 * time.Second)
		eventually(t, "closed as slow", func() bool { return s.Stats().SlowClosed == 1 })
	})
}

// Topics as long as MQTT has them close the connection where they are not telemetry, and cost nothing where they are.
func TestHugeTopics(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		const longest = 65535
		b := online(t, s, "hostile")
		for range 100 {
			topic := iothub.EventsTopic("hostile")
			b.publish(topic+strings.Repeat("a=b&", (longest-len(topic))/4), "{}")
		}
		b.alive()
		if got := s.Stats().Telemetry; got != 100 {
			t.Errorf("%d messages were counted, want 100", got)
		}
		for i, topic := range []string{
			strings.Repeat("/", longest), iothub.TwinGetTopic(strings.Repeat("1", longest-100)), strings.Repeat("devices/", longest/8),
			"$iothub/methods/res/" + strings.Repeat("9", longest-100) + "/?$rid=1", iothub.EventsTopic(strings.Repeat("x", longest-100)),
		} {
			b.publish(topic, "")
			if took := b.closed(); took > 0 {
				t.Errorf("topic %.30s: closed after %v", topic, took)
			}
			eventually(t, "a breach", func() bool { return s.Stats().ProtocolErrors == int64(i+1) })
			b = reconnect(t, s, "hostile")
		}
		_ = b.conn.Close()
	})
}

// Continuation tokens are not kept by the hub; forged ones are refused or begin somewhere.
func TestForgedContinuations(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		const sql = "SELECT deviceId FROM devices"
		register(t, s, ids(10)...)
		_, next := queryPage(t, s, sql, 1, "")
		r := rand.New(rand.NewPCG(5, 6))
		good := 0
		for range 2000 {
			token := strings.Map(func(c rune) rune {
				if c < ' ' || c > '~' {
					return '_'
				}
				return c
			}, string(mutant(r, [][]byte{[]byte(next)})))
			a := rest(t, s, "POST /devices/query", `{"query":"`+sql+`"}`, "x-ms-max-item-count", "1", "x-ms-continuation", token)
			if a.status == http.StatusOK {
				good++
				continue
			}
			refused(t, token, a, iothub.CodeArgumentInvalid)
		}
		t.Logf("%d of 2000 forged tokens were of the query", good)
	})
}
