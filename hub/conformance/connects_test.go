package conformance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"muster/internal/mqtt"
	"muster/iothub"
)

var connectCases = []testCase{
	{"user names", "1.2", connectNames},
	{"either key, and a policy's", "1.3", connectKeys},
	{"who is refused", "1.3, 1.6", connectRefusals},
	{"a disabled device", "1.6, 4.3", connectDisabled},
	{"a certificate by its thumbprint", "1.4", connectCertificate},
	{"a session outlives its connection without CleanSession", "1.6, 8.3", sessionStays},
	{"CleanSession begins anew", "1.6", sessionEnds},
	{"the newer connection wins", "1.6", takeover},
	{"keep-alive", "1.6", keepAlive},
	{"the token's end closes the connection", "1.6", tokenExpiry},
	{"a filter that is none", "1.6", unknownFilter},
	{"connectionState", "3.2", connectionState},
}

func connectNames(t testing.TB, h *subject) {
	d := h.device(t)
	host := h.cs.HostName
	for _, name := range []string{
		host + "/" + d.id + "/?api-version=2021-04-12", host + "/" + d.id + "/api-version=2020-09-30",
		host + "/" + d.id + "/?api-version=2021-04-12&DeviceClientType=azure-iot-device%2F1.18.4%20(node%20v20.20.2%3B%20Debian%2012%3B%20x64)",
	} {
		dev := h.online(t, d, connect{username: name})
		dev.alive()
		dev.leave()
	}
}

func connectKeys(t testing.TB, h *subject) {
	d := h.device(t)
	doc := ok[iothub.Device](t, h, "GET /devices/"+d.id, "")
	later := time.Now().Add(time.Hour)
	own := iothub.DeviceResource(h.cs.HostName, d.id)
	for name, password := range map[string]string{
		"secondary key":                      iothub.NewToken(own, doc.Authentication.SymmetricKey.Secondary, "", later),
		"policy, for the device":             iothub.NewToken(own, h.cs.SharedAccessKey, h.cs.SharedAccessKeyName, later),
		"policy, for all devices":            iothub.NewToken(h.cs.HostName+"/devices", h.cs.SharedAccessKey, h.cs.SharedAccessKeyName, later),
		"policy, for the hub":                h.token(later),
		"an empty policy is none":            iothub.NewToken(own, d.key, "", later) + "&skn=",
		"the fields in the Node SDK's order": reordered(iothub.NewToken(own, d.key, "", later)),
	} {
		dev, code := h.open(t, d, connect{password: password})
		if code != accepted {
			t.Errorf("%s: CONNACK %d", name, code)
			continue
		}
		dev.leave()
	}
}

// reordered returns a token with its fields in another order.
func reordered(token string) string {
	fields := strings.Split(strings.TrimPrefix(token, "SharedAccessSignature "), "&")
	return "SharedAccessSignature " + fields[2] + "&" + fields[0] + "&" + fields[1]
}

func connectRefusals(t testing.TB, h *subject) {
	d, other := h.device(t), h.device(t)
	later := time.Now().Add(time.Hour)
	longer := identity{d.id + "x", nil}
	h.ask(t, "PUT "+h.created(t, longer.id), `{"deviceId":"`+longer.id+`"}`).is(t, http.StatusOK)
	refused := func(name string, who identity, c connect) {
		t.Helper()
		dev, code := h.open(t, who, c)
		if code != notAuthorized {
			t.Errorf("%s: CONNACK %d, want %d", name, code, notAuthorized)
			return
		}
		dev.closed(h.patience)
	}
	refused("another device's key", d, connect{password: h.deviceToken(identity{d.id, other.key}, later)})
	refused("another device's token", d, connect{password: h.deviceToken(other, later)})
	refused("a token of a name that begins this one", longer, connect{password: h.deviceToken(d, later)})
	refused("an expired token", d, connect{password: h.deviceToken(d, time.Now().Add(-time.Hour))})
	refused("a token of another hub", d, connect{password: iothub.NewToken("x"+h.cs.HostName+"/devices/"+d.id, d.key, "", later)})
	refused("no token", d, connect{password: "secret"})
	refused("an unknown device", identity{h.id(), d.key}, connect{})
	refused("a policy that is none", d, connect{password: iothub.NewToken(h.cs.HostName, h.cs.SharedAccessKey, "nobody", later)})
	refused("another client id", d, connect{clientID: other.id})
}

func connectDisabled(t testing.TB, h *subject) {
	d := h.device(t)
	doc := ok[iothub.Device](t, h, "GET /devices/"+d.id, "")
	doc.Status = "disabled"
	h.ask(t, "PUT /devices/"+d.id, jsonOf(t, doc), "If-Match", `"*"`).is(t, http.StatusOK)
	h.eventually(t, "a disabled device is refused", func() bool {
		_, code := h.open(t, d, connect{})
		return code == notAuthorized
	})
	doc.Status = "enabled"
	h.ask(t, "PUT /devices/"+d.id, jsonOf(t, doc), "If-Match", `"*"`).is(t, http.StatusOK)
	h.eventually(t, "an enabled one is not", func() bool {
		_, code := h.open(t, d, connect{})
		return code == accepted
	})
}

func connectCertificate(t testing.TB, h *subject) {
	if !h.certificates {
		t.Skip("no certificates without TLS")
	}
	mine, other := certificate(t), certificate(t)
	sum := sha1.Sum(mine.Certificate[0])
	d := identity{id: h.id()}
	doc := ok[map[string]any](t, h, "PUT "+h.created(t, d.id), `{"deviceId":"`+d.id+`","authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"`+
		strings.ToUpper(hex.EncodeToString(sum[:]))+`","secondaryThumbprint":null}}}`)
	same(t, "authentication.type", at(doc, "authentication", "type"), `"selfSigned"`)
	same(t, "authenticationType", ok[map[string]any](t, h, "GET /twins/"+d.id, "")["authenticationType"], `"selfSigned"`)
	dev := h.online(t, d, connect{cert: mine}, iothub.FilterTwinResponses)
	dev.publish(0, iothub.TwinGetTopic("1"), "")
	dev.response("1", http.StatusOK)
	if _, code := h.open(t, d, connect{cert: other}); code == accepted {
		t.Error("another certificate: accepted")
	}
}

// certificate makes a certificate that nobody vouches for.
func certificate(t testing.TB) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "muster-conformance"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

func sessionStays(t testing.TB, h *subject) {
	d := h.device(t)
	h.online(t, d, connect{}, iothub.FilterMethods, iothub.FilterTwinResponses, iothub.FilterDesired).leave()
	dev := h.online(t, d, connect{}) // as the Node SDK does for a new token, without a SUBSCRIBE
	dev.publish(0, iothub.TwinGetTopic("1"), " ")
	dev.response("1", http.StatusOK)
	h.patch(t, d, `{"properties":{"desired":{"a":1}}}`)
	if topic, _ := dev.message(); topic.Kind != iothub.TopicDesired {
		t.Errorf("got %+v, want a notification", topic)
	}
	c := h.invoke(t, d.id, "")
	dev.answerMethod("lockDoor", 200, "null")
	c.wait().is(t, http.StatusOK)
}

func sessionEnds(t testing.TB, h *subject) {
	d := h.device(t)
	h.online(t, d, connect{}, iothub.FilterMethods, iothub.FilterDesired).leave()
	dev := h.online(t, d, connect{clean: true})
	h.patch(t, d, `{"properties":{"desired":{"a":1}}}`)
	h.invoke(t, d.id, "").wait().refused(t, iothub.CodeDeviceNotOnline)
	dev.alive()
}

func takeover(t testing.TB, h *subject) {
	d := h.device(t)
	older := h.online(t, d, connect{})
	newer := h.online(t, d, connect{}, iothub.FilterMethods)
	older.closed(h.patience)
	c := h.invoke(t, d.id, "")
	newer.answerMethod("lockDoor", 200, "null")
	c.wait().is(t, http.StatusOK)
}

func keepAlive(t testing.TB, h *subject) {
	dev := h.online(t, h.device(t), connect{keepAlive: 2})
	for range 2 { // longer than the patience, but never at a time
		h.pause(t, 2*time.Second)
		dev.alive()
	}
	if took := dev.closed(h.patience); took < 2*time.Second {
		t.Errorf("a silent connection was closed after %v, want 3 s", took)
	}
}

func tokenExpiry(t testing.TB, h *subject) {
	d := h.device(t)
	end := time.Now().Add(8 * time.Second)
	dev := h.online(t, d, connect{password: h.deviceToken(d, end)})
	dev.alive()
	dev.closed(h.patience)
	if early := time.Until(end); early > 3*time.Second {
		t.Errorf("closed %v before the token's end", early)
	}
}

func unknownFilter(t testing.TB, h *subject) {
	d := h.device(t)
	for _, filter := range []string{"#", "devices/" + d.id + "x/messages/devicebound/#"} {
		dev := h.online(t, d, connect{clean: true})
		packet, err := mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: []byte(filter)})
		if err != nil {
			t.Fatal(err)
		}
		dev.write(packet)
		dev.closed(h.patience)
	}
}

func connectionState(t testing.TB, h *subject) {
	d := h.device(t)
	state := func(want string) {
		t.Helper()
		h.eventually(t, "the twin says "+want, func() bool { return ok[iothub.Twin](t, h, "GET /twins/"+d.id, "").ConnectionState == want })
	}
	dev := h.online(t, d, connect{})
	state(iothub.Connected)
	dev.leave()
	state(iothub.Disconnected)
}
