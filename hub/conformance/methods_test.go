package conformance_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/iothub"
)

var methodCases = []testCase{
	{"answered, whatever the status and the JSON", "2.5, 4.6", methodAnswered},
	{"no payload", "2.5, 8.3", methodWithoutPayload},
	{"a second answer is dropped", "2.5", methodAnsweredTwice},
	{"offline, unsubscribed, unknown", "2.5, 4.6", methodUnreachable},
	{"requests are not queued", "4.6", methodNotQueued},
	{"no answer within the response timeout", "4.6", methodTimeout},
	{"the connect timeout waits for the device", "4.6", methodConnectTimeout},
	{"the connect timeout passes", "4.6", methodConnectTimeoutPasses},
	{"a payload over 128 KB", "1.6, 4.6", methodTooLarge},
}

// invoked is a method call on its way.
type invoked struct {
	answer answer
	took   time.Duration
	done   sync.WaitGroup
}

// invoke calls a method without waiting for the answer. body is the request's members but for the name, which is lockDoor.
func (h *subject) invoke(t testing.TB, id, members string) *invoked {
	t.Helper()
	c := &invoked{}
	c.done.Go(func() {
		start := time.Now()
		a, err := h.send(h.context(t), h.token(time.Now().Add(time.Hour)), "POST /twins/"+id+"/methods", `{"methodName":"lockDoor"`+members+`}`)
		if err != nil {
			t.Errorf("call a method of %s: %v", id, err)
		}
		c.answer, c.took = a, time.Since(start)
	})
	t.Cleanup(c.done.Wait)
	return c
}

func (c *invoked) wait() answer {
	c.done.Wait()
	return c.answer
}

func methodAnswered(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{}, iothub.FilterMethods)
	for _, test := range []struct {
		members, payload string
		status           int
		response, want   string
	}{
		{`,"payload":{"seconds":5},"responseTimeoutInSeconds":30,"connectTimeoutInSeconds":0`, `{"seconds":5}`, 200, `{"ok":true}`, `{"status":200,"payload":{"ok":true}}`},
		{`,"payload":"text"`, `"text"`, 404, `"no"`, `{"status":404,"payload":"no"}`},
		{`,"payload":0`, `0`, 500, `12.5`, `{"status":500,"payload":12.5}`},
		{`,"payload":[1,{"a":null}]`, `[1,{"a":null}]`, 201, `null`, `{"status":201,"payload":null}`},
		{`,"payload":true`, `true`, 200, ``, `{"status":200,"payload":null}`},
	} {
		c := h.invoke(t, d.id, test.members)
		_, payload := dev.answerMethod("lockDoor", test.status, test.response)
		same(t, "payload", document(t, payload), test.payload)
		a := c.wait()
		a.is(t, http.StatusOK)
		same(t, "result", document(t, string(a.body)), test.want)
	}
}

func methodWithoutPayload(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{}, iothub.FilterMethods)
	for _, members := range []string{"", `,"payload":null`} {
		c := h.invoke(t, d.id, members)
		if _, payload := dev.answerMethod("lockDoor", 200, "null"); strings.TrimSpace(payload) != "" && payload != "null" {
			t.Errorf("payload %q, want none", payload)
		}
		c.wait().is(t, http.StatusOK)
	}
}

func methodAnsweredTwice(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{}, iothub.FilterMethods)
	c := h.invoke(t, d.id, "")
	rid, _ := dev.answerMethod("lockDoor", 200, `"first"`)
	dev.publish(0, iothub.MethodResponseTopic(500, rid), `"second"`)
	a := c.wait()
	a.is(t, http.StatusOK)
	same(t, "result", document(t, string(a.body)), `{"status":200,"payload":"first"}`)
	dev.alive()
	c = h.invoke(t, d.id, "")
	dev.publish(0, iothub.MethodResponseTopic(500, rid), `"late"`)
	dev.answerMethod("lockDoor", 200, `"own"`)
	same(t, "the next result", document(t, string(c.wait().body)), `{"status":200,"payload":"own"}`)
}

func methodUnreachable(t testing.TB, h *subject) {
	d := h.device(t)
	offline := h.invoke(t, d.id, "")
	offline.wait().refused(t, iothub.CodeDeviceNotOnline)
	if offline.took > 20*time.Second {
		t.Errorf("an offline device was told of after %v", offline.took)
	}
	dev := h.online(t, d, connect{}, iothub.FilterDesired)
	h.invoke(t, d.id, "").wait().refused(t, iothub.CodeDeviceNotOnline)
	dev.alive()
	h.invoke(t, h.id(), "").wait().refused(t, iothub.CodeDeviceNotFound)
}

func methodNotQueued(t testing.TB, h *subject) {
	d := h.device(t)
	h.online(t, d, connect{}, iothub.FilterMethods).leave() // its session stays
	h.eventually(t, "the device is offline", func() bool {
		if ok[iothub.Twin](t, h, "GET /twins/"+d.id, "").ConnectionState != iothub.Disconnected {
			return false
		}
		a := h.invoke(t, d.id, `,"responseTimeoutInSeconds":5`).wait()
		return a.status == http.StatusNotFound
	})
	dev := h.online(t, d, connect{}, iothub.FilterMethods)
	dev.alive() // and heard nothing of what was called before
}

func methodTimeout(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{}, iothub.FilterMethods)
	c := h.invoke(t, d.id, `,"responseTimeoutInSeconds":5`)
	topic, _ := dev.message()
	c.wait().refused(t, iothub.CodeGatewayTimeout)
	if c.took < 4*time.Second || c.took > h.patience {
		t.Errorf("refused after %v, want 5 s", c.took)
	}
	dev.publish(0, iothub.MethodResponseTopic(200, topic.RequestID), `{}`) // too late, and no fault
	dev.alive()
}

func methodConnectTimeout(t testing.TB, h *subject) {
	d := h.device(t)
	c := h.invoke(t, d.id, `,"connectTimeoutInSeconds":60,"responseTimeoutInSeconds":30`)
	h.pause(t, 2*time.Second)
	dev := h.online(t, d, connect{}, iothub.FilterMethods)
	dev.answerMethod("lockDoor", 200, `"here"`)
	a := c.wait()
	a.is(t, http.StatusOK)
	same(t, "result", document(t, string(a.body)), `{"status":200,"payload":"here"}`)
}

func methodConnectTimeoutPasses(t testing.TB, h *subject) {
	d := h.device(t)
	c := h.invoke(t, d.id, `,"connectTimeoutInSeconds":5`)
	c.wait().refused(t, iothub.CodeDeviceNotOnline)
	if c.took < 4*time.Second || c.took > h.patience {
		t.Errorf("refused after %v, want 5 s", c.took)
	}
}

func methodTooLarge(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{}, iothub.FilterMethods)
	h.invoke(t, d.id, `,"payload":"`+strings.Repeat("x", 128<<10+1)+`"`).wait().refusedAs(t, 400)
	c := h.invoke(t, d.id, `,"payload":"`+strings.Repeat("x", 120<<10)+`"`)
	dev.answerMethod("lockDoor", 200, `"`+strings.Repeat("y", 120<<10)+`"`)
	c.wait().is(t, http.StatusOK)
}
