package mqtt_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/internal/mqtt"
)

// field is a string as MQTT writes it, in hex.
func field(s string) string { return fmt.Sprintf("%04x%x", len(s), s) }

// clause returns which clause err says was broken: "-" for a fault that has none.
func clause(tb testing.TB, err error) string {
	tb.Helper()
	var malformed *mqtt.Error
	switch {
	case err == nil:
		return "accepted"
	case errors.Is(err, mqtt.ErrTooLarge):
		return "too large"
	case !errors.As(err, &malformed):
		tb.Errorf("%v is not an *Error", err)
	case malformed.Clause == "":
		return "-"
	}
	return strings.TrimPrefix(malformed.Clause, "MQTT-")
}

func TestParseConnect(t *testing.T) {
	check := func(hex string, want mqtt.Connect) {
		t.Helper()
		got, err := mqtt.ParseConnect(unhex(t, hex))
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("ParseConnect(%s): %v (-want +got):\n%s", hex, err, diff)
		}
	}
	proto := field("MQTT")
	base := mqtt.Connect{Protocol: []byte("MQTT"), Level: 4, ClientID: []byte("d")}
	with := func(f func(*mqtt.Connect)) mqtt.Connect { c := base; f(&c); return c }

	check(proto+"04 00 0000"+field("d"), base)
	check(proto+"04 02 003c"+field("d"), with(func(c *mqtt.Connect) { c.CleanSession, c.KeepAlive = true, 60 }))
	check(proto+"04 00 0000"+field(""), with(func(c *mqtt.Connect) { c.ClientID = nil }))
	check(proto+"04 80 0000"+field("d")+field("u"), with(func(c *mqtt.Connect) { c.HasUsername, c.Username = true, []byte("u") }))
	check(proto+"04 c0 0000"+field("d")+field("")+field("\xff\x00"), with(func(c *mqtt.Connect) {
		c.HasUsername, c.HasPassword, c.Password = true, true, []byte("\xff\x00")
	}))
	check(proto+"04 34 0000"+field("d")+field("w")+field("\xff"), with(func(c *mqtt.Connect) {
		c.HasWill, c.WillRetain, c.WillQoS, c.WillTopic, c.WillPayload = true, true, 2, []byte("w"), []byte("\xff")
	}))
	check(proto+"05 02 003c 00"+field("d"), mqtt.Connect{Protocol: []byte("MQTT"), Level: 5})
	check(field("MQIsdp")+"03", mqtt.Connect{Protocol: []byte("MQIsdp"), Level: 3})
}

func TestParseConnectRefuses(t *testing.T) {
	check := func(want, hex string) {
		t.Helper()
		c, err := mqtt.ParseConnect(unhex(t, hex))
		if got := clause(t, err); got != want || !cmp.Equal(c, mqtt.Connect{}) {
			t.Errorf("ParseConnect(%s) = %v, %v (clause %s); want nothing and clause %s", hex, c, err, got, want)
		}
	}
	proto := field("MQTT") + "04"

	check("-", "")
	check("-", field("MQTT"))
	check("-", proto)
	check("-", proto+"00 00")
	check("-", proto+"00 0000")
	check("-", proto+"00 0000 0002 61")
	check("-", proto+"00 0000"+field("d")+"00")
	check("-", proto+"80 0000"+field("d"))
	check("-", proto+"c0 0000"+field("d")+field("u"))
	check("-", proto+"04 0000"+field("d")+field("w"))
	check("3.1.2-1", field("mqtt")+"04 00 0000"+field("d"))
	check("1.5.3-1", field("MQT\xff")+"03")
	check("3.1.2-3", proto+"01 0000"+field("d"))
	check("3.1.2-14", proto+"1c 0000"+field("d")+field("w")+field(""))
	check("3.1.2-13", proto+"08 0000"+field("d"))
	check("3.1.2-15", proto+"20 0000"+field("d"))
	check("3.1.2-22", proto+"40 0000"+field("d")+field("p"))
	check("3.1.3-4", proto+"00 0000"+field("\xff"))
	check("1.5.3-2", proto+"00 0000"+field("d\x00"))
	check("3.1.3-10", proto+"04 0000"+field("d")+field("\xc0\x80")+field(""))
	check("4.7.1-1", proto+"04 0000"+field("d")+field("w/#")+field(""))
	check("4.7.3-1", proto+"04 0000"+field("d")+field("")+field(""))
	check("3.1.3-11", proto+"80 0000"+field("d")+field("\xed\xa0\x80"))
}

func TestAppendConnectRefuses(t *testing.T) {
	long := make([]byte, 1<<16)
	check := func(want string, c mqtt.Connect) {
		t.Helper()
		got, err := mqtt.AppendConnect([]byte("before"), c)
		if clause := clause(t, err); clause != want || string(got) != "before" {
			t.Errorf("AppendConnect(%v) = %q, %v (clause %s); want nothing appended and clause %s", c, got, err, clause, want)
		}
	}

	check("3.1.2-1", mqtt.Connect{Protocol: []byte("MQIsdp")})
	check("3.1.2-2", mqtt.Connect{Level: 5})
	check("3.1.2-11", mqtt.Connect{WillTopic: []byte("w")})
	check("3.1.2-13", mqtt.Connect{WillQoS: 1})
	check("3.1.2-14", mqtt.Connect{HasWill: true, WillQoS: 7})
	check("3.1.2-15", mqtt.Connect{WillRetain: true})
	check("3.1.2-18", mqtt.Connect{Username: []byte("u")})
	check("3.1.2-20", mqtt.Connect{HasUsername: true, Password: []byte("p")})
	check("3.1.2-22", mqtt.Connect{HasPassword: true})
	check("3.1.3-4", mqtt.Connect{ClientID: []byte("\xff")})
	check("3.1.3-11", mqtt.Connect{HasUsername: true, Username: []byte("\xff")})
	check("4.7.3-1", mqtt.Connect{HasWill: true})
	check("-", mqtt.Connect{ClientID: long})
	check("-", mqtt.Connect{HasUsername: true, Username: long})
	check("-", mqtt.Connect{HasUsername: true, HasPassword: true, Password: long})
	check("-", mqtt.Connect{HasWill: true, WillTopic: []byte("w"), WillPayload: long})
	check("-", mqtt.Connect{HasWill: true, WillTopic: bytes.Repeat([]byte("w"), 1<<16)})
}

// TestConnectHidesPassword prints a CONNECT in every way a log might.
func TestConnectHidesPassword(t *testing.T) {
	c := mqtt.Connect{ClientID: []byte("d"), HasPassword: true, Password: []byte("secret"), WillPayload: []byte("secret")}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("connect", "packet", c)
	slog.New(slog.NewTextHandler(&log, nil)).Info("connect", "packet", c)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		fmt.Fprintf(&log, verb+"\n", c)
	}
	for _, leak := range []string{"secret", fmt.Sprint([]byte("secret")), "0x73", "c2VjcmV0"} {
		if strings.Contains(log.String(), leak) {
			t.Errorf("output holds the password as %q:\n%s", leak, &log)
		}
	}
	if want := `CONNECT "d" level 0`; c.String() != want {
		t.Errorf("String() = %s, want %s", c, want)
	}
}

func TestConnack(t *testing.T) {
	check := func(session bool, code byte, hex string, want mqtt.Connack) {
		t.Helper()
		packet := mqtt.AppendConnack(nil, session, code)
		if got := fmt.Sprintf("%x", packet); got != hex {
			t.Errorf("AppendConnack(%t, %d) = %s, want %s", session, code, got, hex)
		}
		if got, err := mqtt.ParseConnack(packet[2:]); got != want || err != nil {
			t.Errorf("ParseConnack(%s) = %v, %v; want %v", hex, got, err, want)
		}
	}
	check(false, mqtt.Accepted, "20020000", mqtt.Connack{})
	check(true, mqtt.Accepted, "20020100", mqtt.Connack{SessionPresent: true})
	check(true, mqtt.RefusedNotAuthorized, "20020005", mqtt.Connack{Code: 5})
	check(false, 200, "200200c8", mqtt.Connack{Code: 200})

	refuse := func(want, hex string) {
		t.Helper()
		if _, err := mqtt.ParseConnack(unhex(t, hex)); clause(t, err) != want {
			t.Errorf("ParseConnack(%s): %v, want clause %s", hex, err, want)
		}
	}
	refuse("-", "")
	refuse("-", "00")
	refuse("-", "000000")
	refuse("-", "0200")
	refuse("3.2.2-4", "0105")
}

func TestParsePublish(t *testing.T) {
	check := func(flags byte, hex string, want mqtt.Publish) {
		t.Helper()
		got, err := mqtt.ParsePublish(mqtt.Header{Type: mqtt.TypePublish, Flags: flags}, unhex(t, hex))
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("ParsePublish(%x, %s): %v (-want +got):\n%s", flags, hex, err, diff)
		}
	}
	check(0, field("a"), mqtt.Publish{Topic: []byte("a")})
	check(1, field("a")+"ff", mqtt.Publish{Topic: []byte("a"), Payload: []byte("\xff"), Retain: true})
	check(2, field("a")+"0001", mqtt.Publish{Topic: []byte("a"), ID: 1, QoS: 1})
	check(0xc, field("a")+"ffff 00", mqtt.Publish{Topic: []byte("a"), ID: 65535, QoS: 2, Dup: true, Payload: []byte{0}})
	check(0, field("$iothub/é \uFEFF\uFFFF\x01"), mqtt.Publish{Topic: []byte("$iothub/é \uFEFF\uFFFF\x01")})

	refuse := func(want string, flags byte, hex string) {
		t.Helper()
		p, err := mqtt.ParsePublish(mqtt.Header{Type: mqtt.TypePublish, Flags: flags}, unhex(t, hex))
		if got := clause(t, err); got != want || !cmp.Equal(p, mqtt.Publish{}) {
			t.Errorf("ParsePublish(%x, %s) = %v, %v (clause %s); want nothing and clause %s", flags, hex, p, err, got, want)
		}
	}
	refuse("3.3.1-4", 6, field("a")+"0001")
	refuse("3.3.1-2", 8, field("a"))
	refuse("2.3.1-1", 2, field("a")+"0000")
	refuse("3.3.2-1", 0, field("\xff"))
	refuse("1.5.3-2", 0, field("a\x00"))
	refuse("3.3.2-2", 0, field("a/+"))
	refuse("3.3.2-2", 0, field("#"))
	refuse("4.7.3-1", 0, field(""))
	refuse("-", 0, "")
	refuse("-", 0, "00")
	refuse("-", 0, "000261")
	refuse("-", 2, field("a")+"00")
}

func TestAppendPublishRefuses(t *testing.T) {
	check := func(want string, p mqtt.Publish) {
		t.Helper()
		got, err := mqtt.AppendPublish([]byte("before"), p)
		if clause := clause(t, err); clause != want || string(got) != "before" {
			t.Errorf("AppendPublish(%.20q …) = %q, %v (clause %s); want nothing appended and clause %s", p.Topic, got, err, clause, want)
		}
	}
	a := []byte("a")
	check("3.3.1-4", mqtt.Publish{Topic: a, QoS: 3, ID: 1})
	check("3.3.1-4", mqtt.Publish{Topic: a, QoS: 255, ID: 1})
	check("3.3.1-2", mqtt.Publish{Topic: a, Dup: true})
	check("2.3.1-1", mqtt.Publish{Topic: a, QoS: 1})
	check("2.3.1-5", mqtt.Publish{Topic: a, ID: 1})
	check("4.7.3-1", mqtt.Publish{})
	check("3.3.2-2", mqtt.Publish{Topic: []byte("+")})
	check("3.3.2-1", mqtt.Publish{Topic: []byte("\xff")})
	check("1.5.3-2", mqtt.Publish{Topic: []byte("\x00")})
	check("-", mqtt.Publish{Topic: bytes.Repeat(a, 1<<16)})
	check("too large", mqtt.Publish{Topic: a, Payload: make([]byte, mqtt.MaxPacket-5-2)})
}

func TestAcks(t *testing.T) {
	for hex, packet := range map[string][]byte{
		"4002ffff": mqtt.AppendPuback(nil, 65535),
		"b0020001": mqtt.AppendUnsuback(nil, 1),
		"c000":     mqtt.AppendPingreq(nil),
		"d000":     mqtt.AppendPingresp(nil),
		"e000":     mqtt.AppendDisconnect(nil),
	} {
		if got := fmt.Sprintf("%x", packet); got != hex {
			t.Errorf("append = %s, want %s", got, hex)
		}
	}
	if id, err := mqtt.ParseAck([]byte{1, 2}); id != 258 || err != nil {
		t.Errorf("ParseAck(0102) = %d, %v; want 258", id, err)
	}
	for hex, want := range map[string]string{"0000": "2.3.1-1", "": "-", "01": "-", "000100": "-"} {
		if id, err := mqtt.ParseAck(unhex(t, hex)); clause(t, err) != want || id != 0 {
			t.Errorf("ParseAck(%s) = %d, %v; want clause %s", hex, id, err, want)
		}
	}
}

func TestParseSubscribe(t *testing.T) {
	check := func(want, hex string) {
		t.Helper()
		body := unhex(t, hex)
		var got, bare strings.Builder
		s, err := mqtt.ParseSubscribe(body)
		if err != nil {
			t.Errorf("ParseSubscribe(%s): %v", hex, err)
		}
		fmt.Fprint(&got, s.ID)
		for f := range s.Filters() {
			fmt.Fprintf(&got, " %s:%d", f.Topic, f.QoS)
		}
		for f := range s.Filters() {
			fmt.Fprintf(&bare, "%s", f.Topic)
			break
		}
		if got.String() != want {
			t.Errorf("ParseSubscribe(%s) = %s, want %s", hex, &got, want)
		}
		if first, _, _ := strings.Cut(strings.Fields(want)[1], ":"); bare.String() != first {
			t.Errorf("leaving the loop: %s, want %s", &bare, first)
		}
	}
	check("1 a:0", "0001"+field("a")+"00")
	check("7 a/+/b:1 #:2 +:0 /+:0 +/#:0", "0007"+field("a/+/b")+"01"+field("#")+"02"+field("+")+"00"+field("/+")+"00"+field("+/#")+"00")

	refuse := func(want, hex string) {
		t.Helper()
		if _, err := mqtt.ParseSubscribe(unhex(t, hex)); clause(t, err) != want {
			t.Errorf("ParseSubscribe(%s): %v, want clause %s", hex, err, want)
		}
	}
	refuse("-", "")
	refuse("2.3.1-1", "0000"+field("a")+"00")
	refuse("3.8.3-3", "0001")
	refuse("-", "0001"+field("a"))
	refuse("-", "0001"+field("a")+"00 00")
	refuse("3.8.3-4", "0001"+field("a")+"03")
	refuse("3.8.3-4", "0001"+field("a")+"04")
	refuse("3.8.3-4", "0001"+field("a")+"00"+field("b")+"81")
	refuse("3.8.3-1", "0001"+field("\xff")+"00")
	refuse("1.5.3-2", "0001"+field("a\x00")+"00")
	refuse("4.7.3-1", "0001"+field("")+"00")
	for _, filter := range []string{"a#", "#/a", "a/#/b", "##", "#a", "/a#"} {
		refuse("4.7.1-2", "0001"+field(filter)+"00")
	}
	for _, filter := range []string{"a+", "+a", "a/+b", "a/b+/c", "++", "+#", "+a/#"} {
		refuse("4.7.1-3", "0001"+field(filter)+"00")
	}
}

func TestParseUnsubscribe(t *testing.T) {
	u, err := mqtt.ParseUnsubscribe(unhex(t, "0007"+field("a")+field("b/#")))
	var got []string
	for f := range u.Filters() {
		got = append(got, string(f))
	}
	if diff := cmp.Diff([]string{"a", "b/#"}, got); diff != "" || u.ID != 7 || err != nil {
		t.Errorf("ParseUnsubscribe: id %d, %v (-want +got):\n%s", u.ID, err, diff)
	}

	refuse := func(want, hex string) {
		t.Helper()
		if _, err := mqtt.ParseUnsubscribe(unhex(t, hex)); clause(t, err) != want {
			t.Errorf("ParseUnsubscribe(%s): %v, want clause %s", hex, err, want)
		}
	}
	refuse("-", "00")
	refuse("2.3.1-1", "0000"+field("a"))
	refuse("3.10.3-2", "0001")
	refuse("3.10.3-1", "0001"+field("\xff"))
	refuse("4.7.3-1", "0001"+field(""))
	refuse("4.7.1-2", "0001"+field("a")+field("#/"))
	refuse("-", "0001"+field("a")+"00")
}

func TestParseSuback(t *testing.T) {
	packet := mqtt.AppendSuback(nil, 7, 0, 1, 2, mqtt.SubackFailure)
	got, err := mqtt.ParseSuback(packet[2:])
	if want := (mqtt.Suback{ID: 7, Codes: []byte{0, 1, 2, 0x80}}); !cmp.Equal(got, want) || err != nil {
		t.Errorf("ParseSuback = %v, %v; want %v", got, err, want)
	}
	for hex, want := range map[string]string{"": "-", "0000 00": "2.3.1-1", "0001": "3.8.4-5", "0001 03": "3.9.3-2", "0001 0081": "3.9.3-2"} {
		if _, err := mqtt.ParseSuback(unhex(t, hex)); clause(t, err) != want {
			t.Errorf("ParseSuback(%s): %v, want clause %s", hex, err, want)
		}
	}
}

func TestAppendSubscribeRefuses(t *testing.T) {
	check := func(want string, id uint16, filters ...mqtt.Filter) {
		t.Helper()
		got, err := mqtt.AppendSubscribe([]byte("before"), id, filters...)
		if clause := clause(t, err); clause != want || string(got) != "before" {
			t.Errorf("AppendSubscribe(%d, %.20v) = %q, %v; want clause %s", id, filters, got, err, want)
		}
	}
	a := mqtt.Filter{Topic: []byte("a")}
	check("3.8.3-3", 1)
	check("2.3.1-1", 0, a)
	check("4.7.3-1", 1, a, mqtt.Filter{})
	check("3.8.3-1", 1, a, mqtt.Filter{Topic: []byte("\xff")})
	check("3.8.3-4", 1, a, mqtt.Filter{Topic: []byte("a"), QoS: 3})
	check("-", 1, mqtt.Filter{Topic: bytes.Repeat([]byte("a"), 1<<16)})
}

func TestAppendUnsubscribeRefuses(t *testing.T) {
	check := func(want string, id uint16, filters ...string) {
		t.Helper()
		topics := make([][]byte, len(filters))
		for i, f := range filters {
			topics[i] = []byte(f)
		}
		got, err := mqtt.AppendUnsubscribe([]byte("before"), id, topics...)
		if clause := clause(t, err); clause != want || string(got) != "before" {
			t.Errorf("AppendUnsubscribe(%d, %.20q) = %q, %v; want clause %s", id, filters, got, err, want)
		}
	}
	check("3.10.3-2", 1)
	check("2.3.1-1", 0, "a")
	check("4.7.3-1", 1, "a", "")
	check("3.10.3-1", 1, "a", "\xff")
	check("4.7.1-3", 1, "a+")
	check("-", 1, strings.Repeat("a", 1<<16))
}

func TestPanics(t *testing.T) {
	check := func(want string, f func()) {
		t.Helper()
		defer func() {
			if got := recover(); got != want {
				t.Errorf("panic %v, want %s", got, want)
			}
		}()
		f()
	}
	check("mqtt: packet identifier is 0 [MQTT-2.3.1-1]", func() { mqtt.AppendPuback(nil, 0) })
	check("mqtt: packet identifier is 0 [MQTT-2.3.1-1]", func() { mqtt.AppendUnsuback(nil, 0) })
	check("mqtt: packet identifier is 0 [MQTT-2.3.1-1]", func() { mqtt.AppendSuback(nil, 0, 1) })
	check("mqtt: SUBACK: no return code [MQTT-3.8.4-5]", func() { mqtt.AppendSuback(nil, 1) })
	check("mqtt: SUBACK: return code is reserved [MQTT-3.9.3-2]", func() { mqtt.AppendSuback(nil, 1, 3) })
}

func TestTypeString(t *testing.T) {
	for typ, want := range map[mqtt.Type]string{0: "reserved", mqtt.TypeConnect: "CONNECT", mqtt.TypeDisconnect: "DISCONNECT", 15: "reserved"} {
		if got := typ.String(); got != want {
			t.Errorf("Type(%d) = %s, want %s", typ, got, want)
		}
	}
}
