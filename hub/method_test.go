package hub_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/hub/hubtest"
	"muster/iothub"
)

// invocation is a direct method call under way.
type invocation struct {
	done chan struct{}
	answer
	took time.Duration
}

// invoke calls a method without waiting for the result.
func invoke(t testing.TB, s *hubtest.Server, id, body string) *invocation {
	c := &invocation{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		start := time.Now()
		c.answer = rest(t, s, "POST /twins/"+id+"/methods", body)
		c.took = time.Since(start)
	}()
	synctest.Wait()
	return c
}

// wants waits for the result.
func (c *invocation) wants(t testing.TB, status int, body string, took time.Duration) {
	t.Helper()
	<-c.done
	if c.status != status || c.body != body || c.took != took {
		t.Errorf("got %d %s after %s\nwant %d %s after %s", c.status, c.body, c.took, status, body, took)
	}
}

func (c *invocation) refused(t testing.TB, want iothub.ErrorCode, took time.Duration) {
	t.Helper()
	<-c.done
	refused(t, "method", c.answer, want)
	if c.took != took {
		t.Errorf("refused after %s, want %s", c.took, took)
	}
}

func TestMethod(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		tests := func(request, wantPayload string, status int, response, want string) {
			t.Helper()
			c := invoke(t, s, "dev1", request)
			b.answerMethod("lockDoor", wantPayload, status, response)
			c.wants(t, http.StatusOK, want, 0)
		}
		tests(`{"methodName":"lockDoor","payload":{"a" : 1},"responseTimeoutInSeconds":30,"connectTimeoutInSeconds":0}`, `{"a":1}`,
			200, `{"ok":true}`, `{"status":200,"payload":{"ok":true}}`)
		tests(`{"methodName":"lockDoor"}`, `null`, 404, ``, `{"status":404,"payload":null}`)
		tests(`{"methodName":"lockDoor","payload":null}`, `null`, 0, ` `, `{"status":0,"payload":null}`)
		tests(`{"methodName":"lockDoor","payload":"text"}`, `"text"`, 299, `"text"`, `{"status":299,"payload":"text"}`)
		tests(`{"methodName":"lockDoor","payload":0}`, `0`, 200, `0`, `{"status":200,"payload":0}`)
	})
}

func TestMethodFailures(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterDesired)
		method := `{"methodName":"m","responseTimeoutInSeconds":10}`
		patient := `{"methodName":"m","responseTimeoutInSeconds":10,"connectTimeoutInSeconds":20}`
		register(t, s, "offline")
		invoke(t, s, "offline", method).refused(t, iothub.CodeDeviceNotOnline, 0)
		invoke(t, s, "dev1", method).refused(t, iothub.CodeDeviceNotOnline, 0) // connected, not subscribed
		invoke(t, s, "nobody", method).refused(t, iothub.CodeDeviceNotFound, 0)
		invoke(t, s, "offline", patient).refused(t, iothub.CodeDeviceNotOnline, 20*time.Second)
		b.subscribe(iothub.FilterMethods)
		invoke(t, s, "dev1", method).refused(t, iothub.CodeGatewayTimeout, 10*time.Second)
		b.message()
		for name, body := range map[string]string{
			"no name":                `{"payload":1}`,
			"response timeout short": `{"methodName":"m","responseTimeoutInSeconds":4}`,
			"response timeout long":  `{"methodName":"m","responseTimeoutInSeconds":301}`,
			"connect timeout":        `{"methodName":"m","connectTimeoutInSeconds":-1}`,
			"endless timeouts":       `{"methodName":"m","responseTimeoutInSeconds":18446744083,"connectTimeoutInSeconds":18446744083}`,
			"not UTF-8":              "{\"methodName\":\"m\",\"payload\":\"\xff\"}",
			"payload":                `{"methodName":"m","payload":"` + strings.Repeat("x", 128<<10) + `"}`,
			"not JSON":               `{`,
		} {
			refused(t, name, rest(t, s, "POST /twins/dev1/methods", body), iothub.CodeArgumentInvalid)
		}
		b.alive()
	})
}

func TestMethodErrorBodies(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		a := rest(t, s, "POST /twins/dev1/methods", `{"methodName":"m"}`)
		for _, part := range []string{`"Message":"{\"errorCode\":404103,`, `\"info\":{\"timeout\":\"00:00:00\"}`, `"ExceptionMessage":""`} {
			if !strings.Contains(a.body, part) {
				t.Errorf("offline: %s\nlacks %s", a.body, part)
			}
		}
		a = rest(t, s, "POST /twins/nobody/methods", `{"methodName":"m"}`)
		if !strings.HasPrefix(a.body, `{"Message":"ErrorCode:DeviceNotFound;`) {
			t.Errorf("unknown device: %s", a.body)
		}
	})
}

// A method may wait for its device to connect and to subscribe; the response timeout counts from then.
func TestMethodWaitsForDevice(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		patient := `{"methodName":"m","responseTimeoutInSeconds":10,"connectTimeoutInSeconds":20}`
		first, second := invoke(t, s, "dev1", patient), invoke(t, s, "dev1", patient)
		time.Sleep(10 * time.Second)
		b := reconnect(t, s, "dev1")
		time.Sleep(9 * time.Second)
		b.subscribe(iothub.FilterMethods)
		time.Sleep(9 * time.Second)
		b.answerMethod("m", "null", 200, "")
		first.wants(t, http.StatusOK, `{"status":200,"payload":null}`, 28*time.Second)
		second.refused(t, iothub.CodeGatewayTimeout, 29*time.Second)
	})
}

// A call may take far longer than its request's body may.
func TestLongMethod(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		c := invoke(t, s, "dev1", `{"methodName":"m","responseTimeoutInSeconds":300,"connectTimeoutInSeconds":300}`)
		time.Sleep(299 * time.Second)
		b := reconnect(t, s, "dev1", iothub.FilterMethods)
		topic, _ := b.message()
		parsed, _ := iothub.ParseTopic(topic)
		for range 5 {
			time.Sleep(50 * time.Second)
			b.alive()
		}
		b.publish(iothub.MethodResponseTopic(200, parsed.RequestID), "1")
		c.wants(t, http.StatusOK, `{"status":200,"payload":1}`, 549*time.Second)
	})
}

// A device with a session is reachable as soon as it is connected.
func TestMethodAfterReconnect(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		b := dial(t, s)
		b.connect(valid(s, "dev1"), false, 0)
		b.subscribe(iothub.FilterMethods)
		_ = b.conn.Close()
		synctest.Wait()
		c := invoke(t, s, "dev1", `{"methodName":"m","connectTimeoutInSeconds":20}`)
		time.Sleep(time.Second)
		b = dial(t, s)
		b.connect(valid(s, "dev1"), false, 0)
		b.answerMethod("m", "null", 200, "1")
		c.wants(t, http.StatusOK, `{"status":200,"payload":1}`, time.Second)
	})
}

// Late, duplicate and foreign answers are dropped, also when the device has connected anew meanwhile.
func TestStrayResponses(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		other := online(t, s, "dev2", iothub.FilterMethods)
		call := func() (*invocation, string) {
			c := invoke(t, s, "dev1", `{"methodName":"m","responseTimeoutInSeconds":5}`)
			topic, _ := b.message()
			parsed, _ := iothub.ParseTopic(topic)
			return c, parsed.RequestID
		}
		late, lateID := call()
		late.refused(t, iothub.CodeGatewayTimeout, 5*time.Second)
		b.publish(iothub.MethodResponseTopic(200, lateID), `"late"`)
		b.alive()
		b = reconnect(t, s, "dev1", iothub.FilterMethods)
		c, id := call()
		b.publish(iothub.MethodResponseTopic(200, lateID), `"late"`)
		b.publish(iothub.MethodResponseTopic(200, "no-number"), `"odd"`)
		b.publish(iothub.MethodResponseTopic(-1, id), `"negative"`)
		other.publish(iothub.MethodResponseTopic(200, id), `"foreign"`)
		other.alive()
		b.publish(iothub.MethodResponseTopic(201, id), `"right"`)
		b.publish(iothub.MethodResponseTopic(202, id), `"duplicate"`)
		c.wants(t, http.StatusOK, `{"status":201,"payload":"right"}`, 0)
		eventually(t, "counted", func() bool { return s.Stats().StrayResponses == 6 && s.Stats().MethodResponses == 1 })
		b.alive()
	})
}

func TestBadResponses(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		for name, response := range map[string]string{
			"not JSON":  `{`,
			"not UTF-8": "\"\xff\"",
			"too large": `"` + strings.Repeat("x", 128<<10) + `"`,
		} {
			c := invoke(t, s, "dev1", `{"methodName":"m"}`)
			b.answerMethod("m", "null", 200, response)
			<-c.done
			if c.status != http.StatusBadGateway {
				t.Errorf("%s: %d %s, want 502", name, c.status, c.body)
			}
		}
	})
}

func TestTooManyMethods(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		var calls []*invocation
		for range 100 {
			calls = append(calls, invoke(t, s, "dev1", `{"methodName":"m"}`))
		}
		invoke(t, s, "dev1", `{"methodName":"m"}`).refused(t, iothub.CodeDeviceMaximumInflightMethodExceeded, 0)
		for _, c := range calls {
			b.answerMethod("m", "null", 200, "")
			<-c.done
		}
	})
}

// A caller that goes away leaves nothing behind: the answer finds no call.
func TestMethodEndsWithCaller(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Client().InvokeMethod(ctx, "dev1", iothub.Method{MethodName: "m"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a deadline exceeded", err)
		}
		synctest.Wait()
		b.answerMethod("m", "null", 200, "")
		eventually(t, "dropped", func() bool { return s.Stats().StrayResponses == 1 })
	})
}

// A device that is deleted takes its methods with it.
func TestMethodsEndWithDevice(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		online(t, s, "dev1", iothub.FilterMethods)
		register(t, s, "offline")
		pending := invoke(t, s, "dev1", `{"methodName":"m"}`)
		waiting := invoke(t, s, "offline", `{"methodName":"m","connectTimeoutInSeconds":20}`)
		time.Sleep(time.Second)
		rest(t, s, "DELETE /devices/dev1", "")
		rest(t, s, "DELETE /devices/offline", "")
		pending.refused(t, iothub.CodeDeviceNotFound, time.Second)
		waiting.refused(t, iothub.CodeDeviceNotFound, time.Second)
	})
}

// A name that cannot stand in a topic is escaped there.
func TestMethodName(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		for _, name := range []string{"a/b", "a+b#", "tür", "50%", " "} {
			c := invoke(t, s, "dev1", `{"methodName":"`+name+`"}`)
			b.answerMethod(name, "null", 200, "")
			c.wants(t, http.StatusOK, `{"status":200,"payload":null}`, 0)
		}
	})
}
