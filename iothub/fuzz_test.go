package iothub_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"muster/iothub"
)

func FuzzConnectionString(f *testing.F) {
	f.Add("HostName=h;DeviceId=d;SharedAccessKey=" + vectorKey)
	f.Add("HostName=h;SharedAccessKeyName=p;SharedAccessKey=" + vectorKey)
	f.Add("HostName=h;DeviceId=d;ModuleId=m;x509=true;GatewayHostName=localhost:8884")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := iothub.ParseConnectionString(s)
		if err != nil {
			return
		}
		again, err := iothub.ParseConnectionString(c.Reveal())
		if err != nil || again.Reveal() != c.Reveal() {
			t.Errorf("%q reads as %q, and that as %q, %v", s, c.Reveal(), again.Reveal(), err)
		}
		if key := c.SharedAccessKey; len(key) > 3 && strings.Contains(c.String(), "SharedAccessKey="+key.Base64()) {
			t.Errorf("String() of %q tells the key", s)
		}
	})
}

func FuzzToken(f *testing.F) {
	key := iothub.Key("0123456789abcdef")
	f.Add(iothub.NewToken("h/devices/d!", key, "", time.Unix(1700000000, 0)), "h/devices/d!")
	f.Add(iothub.NewToken("h", key, "a&b", time.Unix(0, 0)), "h/devices")
	f.Add("SharedAccessSignature se=1&sr=h&sig=%zz", "")
	f.Fuzz(func(t *testing.T, s, resource string) {
		if token, err := iothub.ParseToken(s); err == nil {
			if token.SignedBy(nil) && token.SignedBy(iothub.Key("x")) {
				t.Errorf("%q is signed by two keys", s)
			}
			if token.Covers(resource) && !strings.EqualFold(token.Resource[:len(before(token.Resource))], before(resource)) {
				t.Errorf("%q covers %q on another host", token.Resource, resource)
			}
		}
		if resource == "" {
			return
		}
		made := iothub.NewToken(resource, key, "p", time.Unix(1700000000, 0))
		token, err := iothub.ParseToken(made)
		if err != nil || !token.SignedBy(key) || token.Resource != resource {
			t.Errorf("NewToken(%q) = %q, which reads as %v, %v", resource, made, token, err)
		}
	})
}

// before returns the host of a resource.
func before(resource string) string {
	host, _, _ := strings.Cut(resource, "/")
	return host
}

func FuzzTopic(f *testing.F) {
	for _, topic := range []string{
		iothub.TwinGetTopic("r"), iothub.ReportedTopic("r"), iothub.MethodRequestTopic("lockDoor", "1"), iothub.MethodResponseTopic(200, "1"),
		iothub.TwinResponseTopic(204, "r", 4), iothub.DesiredTopic(5), iothub.EventsTopic("d") + "a", iothub.ModuleEventsTopic("d", "m") + "a=b",
		iothub.DeviceBoundTopic("d") + "%24.mid=1", "devices/d/modules/m/messages/devicebound/a",
	} {
		f.Add(topic)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		got, err := iothub.ParseTopic(topic)
		if err != nil {
			return
		}
		made := ""
		switch got.Kind {
		case iothub.TopicMethodRequest:
			made = iothub.MethodRequestTopic(got.Method, got.RequestID)
		case iothub.TopicMethodResponse:
			made = iothub.MethodResponseTopic(got.Status, got.RequestID)
		case iothub.TopicTwinResponse:
			made = iothub.TwinResponseTopic(got.Status, got.RequestID, got.Version)
		case iothub.TopicDesired:
			made = iothub.DesiredTopic(got.Version)
		case iothub.TopicTwinGet:
			made, got.Version = iothub.TwinGetTopic(got.RequestID), 0
		case iothub.TopicReported:
			made, got.Version = iothub.ReportedTopic(got.RequestID), 0
		case iothub.TopicEvents:
			made = iothub.EventsTopic(got.DeviceID)
			if got.ModuleID != "" {
				made = iothub.ModuleEventsTopic(got.DeviceID, got.ModuleID)
			}
		case iothub.TopicDeviceBound:
			made = iothub.DeviceBoundTopic(got.DeviceID)
		}
		made += got.Bag
		if got.Kind == iothub.TopicMethodRequest || got.Kind == iothub.TopicMethodResponse {
			got.Version = 0
		}
		if again, err := iothub.ParseTopic(made); err != nil || again != got {
			t.Errorf("%q reads as %+v, and its topic %q as %+v, %v", topic, got, made, again, err)
		}
	})
}

func FuzzMethod(f *testing.F) {
	for _, doc := range methodDocs {
		f.Add(doc)
	}
	f.Fuzz(parsesAsJSON)
}

func FuzzUsername(f *testing.F) {
	f.Add(iothub.Username("h", "d"))
	f.Add(iothub.ModuleUsername("h:8884", "d", "m"))
	f.Add("h/d/m/api-version=2020-09-30")
	f.Fuzz(func(t *testing.T, s string) {
		host, device, module, ok := iothub.ParseUsername(s)
		if !ok {
			return
		}
		made := iothub.Username(host, device)
		if module != "" {
			made = iothub.ModuleUsername(host, device, module)
		}
		h, d, m, ok := iothub.ParseUsername(made)
		if h != host || d != device || m != module || !ok || strings.Contains(device+module, "/") {
			t.Errorf("%q is of %q %q %q, and that reads as %q %q %q, %v", s, host, device, module, h, d, m, ok)
		}
	})
}

func FuzzBag(f *testing.F) {
	f.Add("%24.mid=id%201&%24.ct=application%2Fjson&x&y=")
	f.Fuzz(func(t *testing.T, bag string) {
		properties, err := iothub.ParseBag(bag)
		if err != nil {
			return
		}
		for _, p := range properties {
			if p.Name == "" && p.Null {
				return // an empty pair is none
			}
		}
		again, err := iothub.ParseBag(string(iothub.AppendBag(nil, properties...)))
		if diff := cmp.Diff(properties, again); err != nil || diff != "" {
			t.Errorf("%q read and written: %v\n%s", bag, err, diff)
		}
	})
}

// merge is MergePatch on decoded documents, as simple as can be.
func merge(doc, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged := map[string]any{}
	if old, ok := doc.(map[string]any); ok {
		for k, v := range old {
			merged[k] = v
		}
	}
	for k, v := range changes {
		if v == nil {
			delete(merged, k)
			continue
		}
		merged[k] = merge(merged[k], v)
	}
	return merged
}

func FuzzMergePatch(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":[1,{"d":null}]}}`, `{"a":null,"b":{"c":{"e":null}},"f":{"g":null}}`)
	f.Add(`{"\u0061":"\"}"}`, ` { "a" : { } , "a" : null } `)
	f.Fuzz(func(t *testing.T, doc, patch string) {
		got, err := iothub.MergePatch([]byte(doc), []byte(patch))
		if err != nil || doc == "" || !utf8.ValidString(doc+patch) {
			return
		}
		var d, p, g any
		_ = json.Unmarshal([]byte(doc), &d)
		if json.Unmarshal([]byte(patch), &p) != nil {
			return // such as a number that float64 does not hold
		}
		if err := json.Unmarshal(got, &g); err != nil && json.Valid(got) {
			return
		} else if err != nil {
			t.Fatalf("MergePatch(%s, %s) = %s, not JSON: %v", doc, patch, got, err)
		}
		if diff := cmp.Diff(merge(d, p), g); diff != "" {
			t.Errorf("MergePatch(%s, %s) = %s\n%s", doc, patch, got, diff)
		}
		if iothub.ValidatePatch("tags", []byte(patch), 64) == nil && iothub.SectionSize([]byte(patch)) > 64 {
			t.Errorf("a valid patch %s has size %d, more than 64", patch, iothub.SectionSize([]byte(patch)))
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	f.Add(409, "", `{"Message":"ErrorCode:DeviceAlreadyExists;x","ExceptionMessage":"Tracking ID:t"}`)
	f.Add(404, "DeviceNotOnline", `{"Message":"{\"errorCode\":404103,\"trackingId\":\"t\",\"message\":\"m\",\"info\":{\"timeout\":\"00:00:00\"},\"timestampUtc\":\"2024-01-02T03:04:05.1234567Z\"}","ExceptionMessage":""}`)
	f.Add(404, "", `{"errorCode":404103,"trackingId":"t","message":"m","info":{},"timestampUtc":"2024-01-02T03:04:05.1234567Z"}`)
	f.Add(503, "x", "<html>")
	f.Fuzz(func(t *testing.T, status int, name, body string) {
		e := iothub.ParseError(status, http.Header{"Iothub-Errorcode": {name}}, []byte(body))
		if text := e.Error(); !utf8.ValidString(text) || strings.ContainsAny(text, "\n\r\x1b") || len(text) > 4096 {
			t.Errorf("ParseError(%d, %q, %q).Error() = %q", status, name, body, text)
		}
		if e.Code == 0 || strings.Contains(e.Name, ";") {
			return
		}
		again := iothub.ParseError(status, http.Header{}, e.Body())
		if again.Code != e.Code && e.Name == e.Code.Name() {
			t.Errorf("%+v is written as %s, and that reads as %+v", e, e.Body(), again)
		}
	})
}
