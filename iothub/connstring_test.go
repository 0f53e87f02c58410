package iothub_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/iothub"
)

func TestConnectionStringsAreReadAndWrittenBack(t *testing.T) {
	key := mustKey(t, vectorKey)
	try := func(s string, want iothub.ConnectionString) {
		t.Helper()
		got, err := iothub.ParseConnectionString(s)
		if err != nil {
			t.Errorf("ParseConnectionString(%q): %v", s, err)
			return
		}
		if diff := cmp.Diff(want, got); diff != "" || got.Reveal() != want.Reveal() {
			t.Errorf("ParseConnectionString(%q) = %q, want %q\n%s", s, got.Reveal(), want.Reveal(), diff)
		}
		again, err := iothub.ParseConnectionString(got.Reveal())
		if err != nil || again.Reveal() != got.Reveal() {
			t.Errorf("ParseConnectionString(%q) = %q, %v", got.Reveal(), again.Reveal(), err)
		}
	}
	try("HostName=h;DeviceId=d;SharedAccessKey="+vectorKey, iothub.ConnectionString{HostName: "h", DeviceID: "d", SharedAccessKey: key})
	try("HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey="+vectorKey, iothub.ConnectionString{HostName: "h", DeviceID: "d", ModuleID: "m", SharedAccessKey: key})
	try("HostName=h:8884;SharedAccessKeyName=p;SharedAccessKey="+vectorKey, iothub.ConnectionString{HostName: "h:8884", SharedAccessKeyName: "p", SharedAccessKey: key})
	try("HostName=h;DeviceId=d;x509=true", iothub.ConnectionString{HostName: "h", DeviceID: "d", X509: true})
	try("HostName=h;DeviceId=d;SharedAccessSignature=SharedAccessSignature sr=a&sig=b%3D&se=1", iothub.ConnectionString{HostName: "h", DeviceID: "d", SharedAccessSignature: "SharedAccessSignature sr=a&sig=b%3D&se=1"})
	try(";;HostName=old;HostName=h;DeviceId=d=e;Unknown=x;x509=True;GatewayHostName=localhost:8884;", iothub.ConnectionString{HostName: "h", DeviceID: "d=e", X509: true, GatewayHostName: "localhost:8884"})
}

func TestBadConnectionStringsNameEveryFaultAndNoSecret(t *testing.T) {
	try := func(s string, want ...string) {
		t.Helper()
		c, err := iothub.ParseConnectionString(s)
		if err == nil {
			t.Errorf("ParseConnectionString(%q) = %v, want an error", s, c)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("ParseConnectionString(%q): %v, want %q in it", s, err, w)
			}
		}
		if strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("ParseConnectionString(%q): %v tells the secret", s, err)
		}
	}
	try("", "HostName is missing", "SharedAccessKeyName is missing", "SharedAccessKey is missing")
	try("HostName=h", "SharedAccessKeyName", "SharedAccessKey")
	try("hostname=h;DeviceId=d;x509=true", "HostName is missing")
	try("HostName=h;DeviceId=d", "x509=true")
	try("HostName=h;DeviceId=d;x509=false", "x509=true")
	try("HostName=h;DeviceId=d/e;x509=true", "DeviceId is not valid")
	try("HostName=h/x;DeviceId=d;x509=true;GatewayHostName=a b", "HostName is not", "GatewayHostName is not")
	try("HostName=h;ModuleId=m;SharedAccessKeyName=p;SharedAccessKey="+vectorKey, "ModuleId needs a DeviceId")
	try("HostName=h;DeviceId=d;SharedAccessKey=c2VjcmV0*", "SharedAccessKey", "base64")
	try("HostName=h;c2VjcmV0", "segment 2 has no =")
	try("HostName=c2VjcmV0 ;DeviceId=c2VjcmV0/;x509=true", "HostName is not")
}

func TestSecretsAreMaskedInEveryPrint(t *testing.T) {
	raw := "HostName=h;DeviceId=d;SharedAccessKey=" + vectorKey + ";SharedAccessSignature=topsecret"
	c, err := iothub.ParseConnectionString(raw)
	if err != nil {
		t.Fatal(err)
	}
	key := c.SharedAccessKey
	token, err := iothub.ParseToken(iothub.NewToken("h", key, "p", c2026))
	if err != nil {
		t.Fatal(err)
	}
	client, err := iothub.NewClient(iothub.ConnectionString{HostName: "h", SharedAccessKeyName: "p", SharedAccessKey: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	signature := strings.Split(strings.Split(iothub.NewToken("h", key, "p", c2026), "sig=")[1], "&")[0]
	device := iothub.Device{DeviceID: "d", Authentication: &iothub.Authentication{SymmetricKey: iothub.SymmetricKey{Primary: key}}}
	bulk := iothub.BulkEntry{ID: "d", Authentication: device.Authentication}
	secrets := []string{vectorKey, "0123456789abcdef", fmt.Sprintf("%x", []byte(key)), "48 49 50", "0x30, 0x31", "topsecret", signature}
	check := func(how, text string) {
		t.Helper()
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s = %s, which tells a secret", how, text)
			}
		}
	}
	values := []any{c, &c, key, &key, c.SharedAccessSignature, token, &token, client, device, *device.Authentication, device.Authentication.SymmetricKey, bulk, []iothub.Key{key}}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			check(fmt.Sprintf("Sprintf(%q, %T)", verb, v), fmt.Sprintf(verb, v))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("text", "value", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "value", v)
		switch v.(type) {
		case iothub.Authentication, iothub.SymmetricKey: // their JSON is the wire's
		default:
			check(fmt.Sprintf("log of %T", v), log.String())
		}
	}
	for _, v := range []any{c, key, c.SharedAccessSignature, token} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Errorf("Marshal(%T): %v", v, err)
		}
		check(fmt.Sprintf("Marshal(%T)", v), string(text))
	}
	if got, want := c.String(), "HostName=h;DeviceId=d;SharedAccessKey=***;SharedAccessSignature=***"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if iothub.Key(nil).String() != "" || iothub.Secret("").String() != "" {
		t.Error("an absent secret prints as if it were there")
	}
}
