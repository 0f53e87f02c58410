package hub_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// attacker is the device whose key the hostile side has; victim, whose name begins with it, is the one it is after.
const (
	attacker = "dev"
	victim   = "dev1"
)

// besieged runs a test with a victim that is connected, and checks that nothing became of it.
func besieged(t *testing.T, opts *hub.Options, siege func(t *testing.T, s *hubtest.Server, v *bare)) {
	t.Helper()
	bubble(t, opts, func(t *testing.T, s *hubtest.Server) {
		register(t, s, attacker, "DEV1", "dev%31", "dev1-", "de", victim)
		for _, id := range []string{attacker, victim} {
			ok[iothub.Module](t, s, "PUT /devices/"+id+"/modules/m", `{"authentication":{"symmetricKey":{"primaryKey":"`+key(id+"/m").Base64()+`","secondaryKey":""}}}`)
		}
		rest(t, s, "PATCH /twins/"+victim, `{"tags":{"secret":1},"properties":{"desired":{"secret":2}}}`)
		v := dial(t, s)
		v.connect(valid(s, victim), true, 0)
		v.subscribe(iothub.FilterMethods, iothub.FilterTwinResponses, iothub.FilterDesired)
		before := clean(rest(t, s, "GET /twins/"+victim, "").body)
		siege(t, s, v)
		synctest.Wait()
		v.alive() // and nothing came before the answer
		if after := clean(rest(t, s, "GET /twins/"+victim, "").body); after != before {
			t.Errorf("the victim's twin was\n%s\nand is\n%s", before, after)
		}
	})
}

// encodings are the ways in which a token's resource may be written.
func encodings(resource string) []string {
	escaped := url.QueryEscape(resource)
	return []string{escaped, strings.ToLower(escaped), resource, url.QueryEscape(escaped)}
}

// forged returns a token over sr as it stands, signed with a key.
func forged(sr string, key iothub.Key, policy string, expiry time.Time) string {
	se := fmt.Sprint(expiry.Unix())
	token := "SharedAccessSignature sr=" + sr + "&sig=" + url.QueryEscape(signatureOf(key, sr, se)) + "&se=" + se
	if policy != "" {
		token += "&skn=" + policy
	}
	return token
}

// Whatever a token says, and whoever it is shown as: with keys that do not allow it nobody becomes another device, nor a
// second one.
func TestNoTokenOpensAnotherDevice(t *testing.T) {
	besieged(t, nil, func(t *testing.T, s *hubtest.Server, _ *bare) {
		keys := map[string]iothub.Key{"own": key(attacker), "capitals": key("DEV1"), "encoded": key("dev%31"), "none": nil, "module": key(attacker + "/m")}
		for _, name := range []string{"service", "registryRead", "registryReadWrite"} {
			cs, _ := s.PolicyConnectionString(name)
			keys[name] = cs.SharedAccessKey
		}
		var scopes []string
		for _, resource := range []string{
			"localhost/devices/dev1", "localhost/devices/dev", "localhost/devices/dev/", "localhost/devices/dev1/", "localhost/devices",
			"localhost", "localhost/", "LOCALHOST/devices/dev1", "localhost:8883/devices/dev1", "elsewhere/devices/dev1", "/devices/dev1",
			"localhost/devices/dev/../dev1", "localhost/devices/dev1/../dev", "localhost//devices/dev1", "localhost/Devices/dev1",
			"localhost/devices/DEV1", "localhost/devices/dev%31", "localhost/devices/dev1/modules/m", "localhost/devices/dev1?x=/devices/dev",
			"localhost/devices/dev1#", "localhost/devices/*", "localhost/devices/dev1\x00", "localhost@elsewhere/devices/dev1", "",
		} {
			scopes = append(scopes, encodings(resource)...)
		}
		later := time.Now().Add(time.Hour)
		attempts := 0
		for name, key := range keys {
			for i, policy := range []string{"", "device", "service", "iothubowner", "registryRead", "registryReadWrite", "nobody", "dev1"} {
				for _, sr := range slices.Compact(scopes) {
					c := credentials{victim, "localhost/" + victim + "/?api-version=2021-04-12", forged(sr, key, policy, later)}
					b := dial(t, s)
					if code := b.connect(c, i%2 == 0, 0); code != mqtt.RefusedNotAuthorized {
						t.Errorf("key %s, policy %q, scope %s: CONNACK %d", name, policy, sr, code)
					}
					_ = b.conn.Close()
					c.clientID, c.username = victim+"/m", "localhost/"+victim+"/m/?api-version=2021-04-12"
					b = dial(t, s)
					if code := b.connect(c, i%2 == 0, 0); code != mqtt.RefusedNotAuthorized {
						t.Errorf("the module, key %s, policy %q, scope %s: CONNACK %d", name, policy, sr, code)
					}
					_ = b.conn.Close()
					attempts += 2
				}
			}
		}
		if got := s.Stats(); got.Refused != int64(attempts) || got.TakenOver != 0 {
			t.Errorf("%d of %d attempts were counted as refused, %d connections taken over", got.Refused, attempts, got.TakenOver)
		}
	})
}

// A good token of one device with the names of another in its CONNECT is good for neither.
func TestNoNameOpensAnotherDevice(t *testing.T) {
	besieged(t, nil, func(t *testing.T, s *hubtest.Server, _ *bare) {
		ids := []string{attacker, victim, "DEV1", "dev%31", "dev1 ", "dev1/", "dev/dev1", "dev/../dev1", "dev1/../dev", "./dev1", "*", "+", "#", "", "dev\x001", "dev/m", "dev1/m", "dev/modules/m"}
		names := []string{
			"localhost/%s", "localhost/%s/?api-version=2021-04-12", "localhost/%s/api-version=2016-11-14", "localhost/dev/%s", "localhost/%s/dev", "localhost//%s",
			"elsewhere/%s", "%s", "localhost/%s?api-version=2021-04-12", "localhost/dev/?api-version=2021-04-12/%s", "localhost/dev/?x=1&deviceId=%s",
			"localhost%%2F%s", "localhost/dev\n%s",
		}
		for _, id := range ids {
			for _, name := range names {
				c := valid(s, attacker)
				c.clientID, c.username = id, fmt.Sprintf(name, id)
				own := id == attacker && slices.Contains([]string{
					"localhost/dev", "localhost/dev/?api-version=2021-04-12", "localhost/dev/api-version=2016-11-14", "localhost/dev/?api-version=2021-04-12/dev",
					"localhost/dev/?x=1&deviceId=dev",
				}, c.username)
				b := dial(t, s)
				packet, err := mqtt.AppendConnect(nil, mqtt.Connect{
					ClientID: []byte(c.clientID), CleanSession: true, HasUsername: true, Username: []byte(c.username), HasPassword: true, Password: []byte(c.password),
				})
				if err != nil {
					continue // MQTT itself forbids it
				}
				b.write(packet)
				ack, err := mqtt.ParseConnack(b.expect(mqtt.TypeConnack))
				if want := map[bool]byte{true: mqtt.Accepted, false: mqtt.RefusedNotAuthorized}[own]; err != nil || ack.Code != want {
					t.Errorf("client id %q, user name %q: CONNACK %d (%v), want %d", id, c.username, ack.Code, err, want)
				}
				_ = b.conn.Close()
			}
		}
	})
}

// Times that are no time to come, whoever signed for them.
func TestNoTokenOfAnotherTime(t *testing.T) {
	besieged(t, nil, func(t *testing.T, s *hubtest.Server, _ *bare) {
		later := fmt.Sprint(time.Now().Add(time.Hour).Unix())
		for _, se := range []string{
			fmt.Sprint(time.Now().Unix()), fmt.Sprint(time.Now().Add(-time.Second).Unix()), "0", "1", "-1", "", " " + later, later + " ", "+" + later, later + ".5",
			"0x7fffffff", "1e12", later + "000000", "18446744073709551616", "9223372036854775807", "2099-01-01T00:00:00Z", "never", later + "%20", "%31%37" + later,
		} {
			sr := url.QueryEscape("localhost/devices/" + attacker)
			sig := url.QueryEscape(signatureOf(key(attacker), sr, se))
			for _, token := range []string{
				"SharedAccessSignature sr=" + sr + "&sig=" + sig + "&se=" + se,
				"SharedAccessSignature sr=" + sr + "&sig=" + sig + "&se=" + se + "&se=" + later,
				"SharedAccessSignature sr=" + sr + "&sig=" + sig + "&se=" + later,
			} {
				if code := dial(t, s).connect(credentials{attacker, "localhost/" + attacker, token}, true, 0); code != mqtt.RefusedNotAuthorized {
					t.Errorf("se=%s: CONNACK %d", se, code)
				}
			}
		}
	})
}

// What a device publishes or subscribes to is its own, or ends its connection.
func TestNoTopicReachesAnotherDevice(t *testing.T) {
	besieged(t, nil, func(t *testing.T, s *hubtest.Server, v *bare) {
		try := func(what string, send func(b *bare)) {
			t.Helper()
			before := s.Stats()
			b := reconnect(t, s, attacker, iothub.FilterTwinResponses)
			send(b)
			if took := b.closed(); took > 0 {
				t.Errorf("%s: closed after %v", what, took)
			}
			if got := s.Stats(); got.Telemetry != before.Telemetry || got.TwinPatches != before.TwinPatches || got.TwinReads != before.TwinReads {
				t.Errorf("%s: counted", what)
			}
		}
		events := []string{
			"devices/dev1/messages/events/", "devices/dev1/messages/events", "devices/dev1/messages/events/a=b", "devices/dev/../dev1/messages/events/",
			"devices//dev1/messages/events/", "/devices/dev1/messages/events/", "devices/dev%31/messages/events/", "devices/DEV1/messages/events/",
			"devices/dev1/modules/m/messages/events/", "devices/dev/modules/dev1/messages/events/", "devices/dev/modules/m/messages/events/", "devices/dev1/messages/devicebound/", "devices/dev/messages/devicebound/",
			"devices/dev/messages/eventsx", "devices/dev/dev1/messages/events/", "Devices/dev/messages/events/", " devices/dev/messages/events/",
			"$iothub/twin/dev1/GET/?$rid=1", "$iothub/devices/dev1/twin/GET/?$rid=1", "$iothub/twin/GET/dev1?$rid=1", "dev1/$iothub/twin/GET/?$rid=1",
			"$iothub/twin/PATCH/properties/desired/?$rid=1", "$iothub/twin/PATCH/properties/desired/?$version=9", "$iothub/twin/PATCH/tags/?$rid=1",
			"$iothub/twin/PATCH/properties/reported/dev1/?$rid=1", "$iothub/twin/res/200/?$rid=1", "$iothub/methods/POST/m/?$rid=1", "$iothub/dev1/methods/res/200/?$rid=1",
			"$iothub/methods/res/200/dev1/?$rid=1", "$SYS/broker", "$share/g/devices/dev1/messages/events/", "",
		}
		for _, topic := range events {
			for _, qos := range []byte{0, 1} {
				packet, err := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte(topic), Payload: []byte(`{"stolen":1}`), QoS: qos, ID: uint16(qos)})
				if err != nil {
					continue // MQTT itself forbids it
				}
				try("publish "+topic, func(b *bare) { b.write(packet) })
			}
		}
		for _, filter := range []string{
			"#", "+", "+/#", "/#", "devices/#", "devices/+/messages/devicebound/#", "devices/dev1/messages/devicebound/#", "devices/dev1/#", "devices/dev/#",
			"devices/dev/../dev1/messages/devicebound/#", "devices//messages/devicebound/#", "devices/dev%31/messages/devicebound/#", "devices/DEV1/messages/devicebound/#",
			"devices/dev/messages/devicebound/+", "devices/dev/messages/devicebound", "devices/dev1/messages/events/#", "devices/dev/messages/events/#", "$iothub/#",
			"$iothub/+/#", "$iothub/methods/#", "$iothub/methods/POST/+/+", "$iothub/methods/POST", "$iothub/methods/res/#", "$iothub/twin/#", "$iothub/twin/GET/#",
			"$iothub/twin/PATCH/#", "$iothub/twin/PATCH/properties/#", "$iothub/twin/PATCH/properties/reported/#", "$share/g/$iothub/methods/POST/#", "$queue/$iothub/methods/POST/#",
			"$share/g/devices/dev1/messages/devicebound/#", "$SYS/#", "$iothub/dev1/methods/POST/#", "devices/dev1/modules/+/#", "devices/dev/modules/m/inputs/#", "devices/dev/modules/m/#", "devices/dev1/modules/m/#", "devices/dev1/modules/m/inputs/#", "$IOTHUB/methods/POST/#",
			" $iothub/methods/POST/#", "",
		} {
			for _, with := range [][]string{{filter}, {iothub.FilterMethods, filter}, {filter, iothub.FilterMethods}} {
				var filters []mqtt.Filter
				for _, f := range with {
					filters = append(filters, mqtt.Filter{Topic: []byte(f)})
				}
				packet, err := mqtt.AppendSubscribe(nil, 1, filters...)
				if err != nil {
					continue
				}
				try("subscribe "+filter, func(b *bare) { b.write(packet) })
			}
		}
		// Nor does a device whose own name is a wildcard hear of others.
		for _, id := range []string{"+", "#", "$share"} {
			b := online(t, s, id, iothub.FilterMethods, iothub.FilterDesired)
			packet, err := mqtt.AppendSubscribe(nil, 9, mqtt.Filter{Topic: []byte(iothub.DeviceBoundFilter(id))})
			if err == nil {
				b.write(packet)
				b.expect(mqtt.TypeSuback)
			}
			c := invoke(t, s, victim, `{"methodName":"m"}`)
			v.answerMethod("m", "null", 200, "")
			c.wants(t, 200, `{"status":200,"payload":null}`, 0)
			b.alive()
		}
	})
}

// What happens to the victim is not heard by others that listen to all they may, and what they answer is not taken.
func TestNoAnswerForAnotherDevice(t *testing.T) {
	besieged(t, nil, func(t *testing.T, s *hubtest.Server, v *bare) {
		b := reconnect(t, s, attacker, iothub.FilterMethods, iothub.FilterTwinResponses, iothub.FilterDesired)
		c := invoke(t, s, victim, `{"methodName":"lockDoor","payload":"secret"}`)
		topic, _ := v.message()
		parsed, err := iothub.ParseTopic(topic)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 300 {
			for _, rid := range []string{fmt.Sprintf("%x", n), fmt.Sprintf("dev1/%x", n), fmt.Sprintf("%x&deviceId=dev1", n)} {
				b.publish(iothub.MethodResponseTopic(200, rid), `"forged"`)
			}
		}
		b.alive() // it heard nothing of the request
		if got := s.Stats(); got.StrayResponses != 900 || got.MethodResponses != 0 {
			t.Errorf("%d stray responses and %d responses, want 900 and none", got.StrayResponses, got.MethodResponses)
		}
		v.publish(iothub.MethodResponseTopic(200, parsed.RequestID), `"true"`)
		c.wants(t, 200, `{"status":200,"payload":"true"}`, 0)

		// Calls of both have the same request ids: each device answers its own.
		a1, v1 := invoke(t, s, attacker, `{"methodName":"m"}`), invoke(t, s, victim, `{"methodName":"m"}`)
		b.answerMethod("m", "null", 201, `"mine"`)
		a1.wants(t, 200, `{"status":201,"payload":"mine"}`, 0)
		v.answerMethod("m", "null", 200, `"yours"`)
		v1.wants(t, 200, `{"status":200,"payload":"yours"}`, 0)

		v.publish(iothub.TwinGetTopic("1"), "")
		v.wants(iothub.TwinResponseTopic(200, "1", 0), `{"desired":{"secret":2,"$version":2},"reported":{"$version":1}}`)
		b.publish(iothub.TwinGetTopic("1"), `{"deviceId":"dev1"}`)
		b.wants(iothub.TwinResponseTopic(200, "1", 0), `{"desired":{"$version":1},"reported":{"$version":1}}`)
		b.publish(iothub.ReportedTopic("2&deviceId=dev1"), `{"deviceId":"dev1"}`)
		b.wants(iothub.TwinResponseTopic(204, "2", 2), "")
		b.alive()
	})
}

// routes are all of the REST side, with the policies that may use each; a device's own token may use none.
var routes = []struct{ line, may string }{
	{"GET /devices", "iothubowner registryRead registryReadWrite"},
	{"GET /devices/", "iothubowner registryRead registryReadWrite"},
	{"HEAD /devices", "iothubowner registryRead registryReadWrite"},
	{"POST /devices", "iothubowner registryReadWrite"},
	{"POST /devices/", "iothubowner registryReadWrite"},
	{"GET /devices/dev1", "iothubowner registryRead registryReadWrite"},
	{"HEAD /devices/dev1", "iothubowner registryRead registryReadWrite"},
	{"PUT /devices/new", "iothubowner registryReadWrite"},
	{"DELETE /devices/new", "iothubowner registryReadWrite"},
	{"POST /devices/query", "iothubowner service"},
	{"GET /twins/dev1", "iothubowner service"},
	{"HEAD /twins/dev1", "iothubowner service"},
	{"PATCH /twins/dev1", "iothubowner service"},
	{"PUT /twins/dev1", "iothubowner service"},
	{"POST /twins/dev1/methods", "iothubowner service"},
	{"PUT /jobs/v2/j", "iothubowner service"},
	{"GET /jobs/v2/j", "iothubowner service"},
	{"POST /jobs/v2/j/cancel", "iothubowner service"},
	{"GET /jobs/v2/query", "iothubowner service"},
	{"GET /statistics/devices", "iothubowner registryRead registryReadWrite"},
	{"GET /statistics/service", "iothubowner service"},
	{"GET /muster/stats", "iothubowner service"},
	{"GET /devices/dev1/modules", "iothubowner registryRead registryReadWrite"},
	{"GET /devices/dev1/modules/m", "iothubowner registryRead registryReadWrite"},
	{"PUT /devices/dev1/modules/new", "iothubowner registryReadWrite"},
	{"DELETE /devices/dev1/modules/new", "iothubowner registryReadWrite"},
	{"DELETE /devices/dev1/commands", "iothubowner service"},
	{"GET /twins/dev1/modules/m", "iothubowner service"},
	{"PATCH /twins/dev1/modules/m", "iothubowner service"},
	{"PUT /twins/dev1/modules/m", "iothubowner service"},
	{"POST /twins/dev1/modules/m/methods", "iothubowner service"},
	{"GET /muster/devices/dev1/telemetry", "iothubowner service"},
	{"GET /muster/devices/dev1/modules/m/telemetry", "iothubowner service"},
	{"POST /muster/devices/dev1/messages", "iothubowner service"},
	{"GET /muster/faults", "iothubowner service"},
	{"POST /muster/faults", "iothubowner service"},
	{"DELETE /muster/faults", "iothubowner service"},
	{"GET /muster/faults/1", "iothubowner service"},
	{"DELETE /muster/faults/1", "iothubowner service"},
}

var policyNames = []string{"iothubowner", "service", "device", "registryRead", "registryReadWrite"}

// Each policy may do what it is for, and a device's key opens nothing, in whatever scope.
func TestWhoMayDoWhat(t *testing.T) {
	besieged(t, nil, func(t *testing.T, s *hubtest.Server, _ *bare) {
		if _, ok := s.PolicyConnectionString("nobody"); ok {
			t.Error("a policy nobody")
		}
		later := time.Now().Add(time.Hour)
		for _, route := range routes {
			for _, name := range policyNames {
				cs, _ := s.PolicyConnectionString(name)
				a := restAs(t, s, cs, route.line, "[")
				if got, want := a.status != http.StatusUnauthorized, slices.Contains(strings.Fields(route.may), name); got != want {
					t.Errorf("%s as %s: %d, want allowed %t", route.line, name, a.status, want)
				}
				for _, scope := range []string{"localhost/devices", "localhost/devices/dev1", "elsewhere", "localhost/twins/dev1", "localhost/jobs", ""} {
					denied(t, s, route.line, forged(url.QueryEscape(scope), cs.SharedAccessKey, name, later))
				}
				for _, other := range policyNames {
					if other != name {
						denied(t, s, route.line, iothub.NewToken("localhost", cs.SharedAccessKey, other, later))
					}
				}
			}
			for _, scope := range []string{"localhost", "localhost/devices", "localhost/devices/dev", "localhost/devices/dev1", "localhost/twins/dev", "localhost/devices/dev/messages/events"} {
				for _, policy := range append([]string{"", attacker}, policyNames...) {
					denied(t, s, route.line, iothub.NewToken(scope, key(attacker), policy, later))
				}
			}
		}
	})
}

// denied checks that a request is refused for its token.
func denied(t *testing.T, s *hubtest.Server, line, token string) {
	t.Helper()
	method, path, _ := strings.Cut(line, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path+"?api-version=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", token)
	if a := roundTrip(t, s, req); a.status != http.StatusUnauthorized {
		t.Errorf("%s with %s: %d %s", line, token, a.status, a.body)
	}
}

// No spelling of a path leads a policy to what it may not do, nor to a redirect.
func TestNoPathAroundPermissions(t *testing.T) {
	besieged(t, nil, func(t *testing.T, s *hubtest.Server, _ *bare) {
		get := func(policy, target string, header string) int {
			t.Helper()
			cs, _ := s.PolicyConnectionString(policy)
			token := iothub.NewToken("localhost", cs.SharedAccessKey, policy, time.Now().Add(time.Hour))
			conn := dialRaw(t, s.REST)
			defer conn.Close()
			_, _ = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nContent-Length: 0\r\n%s\r\n", target, token, header)
			method, _, _ := strings.Cut(target, " ")
			resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method}) // a HEAD's has no body
			if err != nil {
				t.Fatalf("%s: %v", target, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			return resp.StatusCode
		}
		for _, path := range []string{
			"/twins/dev1", "/devices/../twins/dev1", "/devices/%2e%2e/twins/dev1", "//twins/dev1", "/twins//dev1", "/twins/dev1/", "/twins/./dev1", "/%74wins/dev1",
			"/twins/dev%31", "/TWINS/dev1", "/twins%2Fdev1", "/twins/dev1%2F", "/twins/dev1;x", "/devices/dev1/../../twins/dev1", "/twins/dev1%00", "/twins/dev1?",
			"http://localhost/twins/dev1", "http://elsewhere/twins/dev1", "/jobs/v2/query", "/jobs/v2/%71uery", "/statistics/service", "/muster/stats",
		} {
			query := map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "api-version=1"
			for _, policy := range []string{"registryRead", "registryReadWrite", "device"} {
				for _, method := range []string{"GET", "HEAD", "PATCH", "PUT", "POST", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"} {
					if got := get(policy, method+" "+path+query, ""); got != 400 && got != 401 {
						t.Errorf("%s %s as %s: %d", method, path, policy, got)
					}
				}
				for _, header := range []string{"X-HTTP-Method-Override: GET\r\n", "X-Original-URL: /twins/dev1\r\n", "X-Forwarded-Host: localhost\r\n"} {
					if got := get(policy, "GET "+path+query, header); got != 400 && got != 401 {
						t.Errorf("GET %s as %s with %s: %d", path, policy, header, got)
					}
				}
			}
		}
		for _, path := range []string{"/devices", "/devices/", "/devices/dev1", "/devices/dev%31", "/twins/../devices/dev1", "/statistics/devices"} {
			for _, policy := range []string{"service", "device"} {
				if got := get(policy, "GET "+path+"?api-version=1", ""); got != 400 && got != 401 {
					t.Errorf("GET %s as %s: %d", path, policy, got)
				}
			}
		}
		if got := get("device", "OPTIONS *", ""); got != 400 && got != 401 {
			t.Errorf("OPTIONS *: %d", got)
		}
	})
}

// A certificate is good for the device that it was registered for or names, and a password beside it does not make it
// better.
func TestNoCertificateOpensAnotherDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := certified(t, "root", nil, asCA)
		s := hubtest.Start(t, &hub.Options{DeviceCAs: []*x509.Certificate{root.Leaf}})
		print := func(c *tls.Certificate) string { sum := sha256.Sum256(c.Leaf.Raw); return hex.EncodeToString(sum[:]) }
		mine, theirs := certified(t, "self1", nil, asIs), certified(t, "self2", nil, asIs)
		ok[iothub.Device](t, s, "PUT /devices/self1", selfSigned(print(mine), ""))
		ok[iothub.Device](t, s, "PUT /devices/self2", selfSigned(print(theirs), ""))
		for _, id := range []string{"ca1", "ca2", "ca"} {
			ok[iothub.Device](t, s, "PUT /devices/"+id, `{"authentication":{"type":"certificateAuthority"}}`)
		}
		register(t, s, "sas1", "sas2")
		vouched := func(name string) *tls.Certificate { return certified(t, name, root, asIs) }
		ca1 := vouched("ca1")
		later := time.Now().Add(time.Hour)
		own := func(id string) string { return iothub.NewToken("localhost/devices/"+id, key(id), "", later) }
		tests := func(name, id, password string, want byte, shown ...*tls.Certificate) {
			t.Helper()
			for way, dial := range map[string]func(*tls.Config) *bare{
				"TLS":       func(c *tls.Config) *bare { return bareOn(t, tls.Client(dialRaw(t, s.MQTTS), c)) },
				"WebSocket": func(c *tls.Config) *bare { return bareOn(t, &messages{Conn: openWSWith(t, s, c)}) },
			} {
				config := s.TLS(t)
				if len(shown) > 0 {
					chain := *shown[0]
					for _, cert := range shown[1:] {
						chain.Certificate = append(chain.Certificate[:1:1], cert.Certificate...)
					}
					config.Certificates = []tls.Certificate{chain}
				}
				b := dial(config)
				if got := b.connect(credentials{id, iothub.Username("localhost", id), password}, true, 0); got != want {
					t.Errorf("%s over %s: CONNACK %d, want %d", name, way, got, want)
				}
				_ = b.conn.Close()
				synctest.Wait() // or the next one takes over from it
			}
		}
		const no, yes = mqtt.RefusedNotAuthorized, mqtt.Accepted
		tests("its own", "self1", "", yes, mine)
		tests("another's thumbprint", "self2", "", no, mine)
		tests("another's thumbprint behind its own", "self2", "", no, mine, theirs)
		tests("another's name, self-signed", "self2", "", no, certified(t, "self2", nil, asIs))
		tests("vouched for by name, where a thumbprint is asked for", "self1", "", no, vouched("self1"))
		tests("its own by a CA", "ca1", "", yes, ca1)
		tests("another's by a CA", "ca2", "", no, ca1)
		tests("the beginning of a name", "ca", "", no, ca1)
		tests("a longer name", "ca1", "", no, vouched("ca1 "))
		tests("a name with zero", "ca1", "", no, vouched("ca1\x00x"))
		tests("an alternative name", "ca2", "", no, certified(t, "ca1", root, func(c *x509.Certificate) { c.DNSNames = []string{"ca2"} }))
		tests("signed by itself", "ca1", "", no, certified(t, "ca1", nil, asIs))
		tests("signed by a device", "ca2", "", no, certified(t, "ca2", ca1, asIs), ca1)
		tests("the CA itself", "ca1", "", no, root)
		tests("a CA's for a device with a thumbprint", "self1", "", no, ca1)
		tests("a thumbprint's for a device of a CA", "ca1", "", no, mine)
		tests("a device with keys by a CA", "sas1", "", no, vouched("sas1"))
		tests("a device with keys, nothing", "sas1", "", no)
		tests("its own and a token of another", "self1", own("sas1"), no, mine)
		tests("its own and no token", "self1", "x", no, mine)
		tests("its own and a token of a key it has not", "self1", own("self1"), no, mine)
		tests("another's and a token of one's own", "sas1", own("sas1"), yes, mine) // the token alone counts
		tests("another's and its token", "self2", own("sas1"), no, mine)
		tests("a token of another with its certificate", "sas2", own("sas1"), no, vouched("sas2"))
		if got := s.Stats(); got.TakenOver != 0 {
			t.Errorf("%d connections were taken over", got.TakenOver)
		}
	})
}

// signatureOf signs what stands in a token, whatever that is.
func signatureOf(key iothub.Key, sr, se string) string {
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, sr+"\n"+se)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
