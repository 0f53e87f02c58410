package iothub_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"muster/iothub"
)

const vectorKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func mustKey(t testing.TB, s string) iothub.Key {
	t.Helper()
	key, err := iothub.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestTokensMatchTheServicesVectors(t *testing.T) {
	key, expiry := mustKey(t, vectorKey), time.Unix(1700000000, 0)
	try := func(resource, policy, want string) {
		t.Helper()
		if got := iothub.NewToken(resource, key, policy, expiry); got != want {
			t.Errorf("NewToken(%q, key, %q, %v)\n got %s\nwant %s", resource, policy, expiry.Unix(), got, want)
		}
		token, err := iothub.ParseToken(want)
		if err != nil {
			t.Fatalf("ParseToken: %v", err)
		}
		if !token.SignedBy(key) || token.Resource != resource || token.Policy != policy || !token.Expiry.Equal(expiry) {
			t.Errorf("ParseToken(%q) = %v, signed %v", want, token, token.SignedBy(key))
		}
	}
	try("myhub.azure-devices.net/devices/dev1", "", "SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdev1&sig=wosmA3uJK9T0mdB5CIYn%2BsAVA2ODflnucuvNO5S6mbM%3D&se=1700000000")
	try("myhub.azure-devices.net", "iothubowner", "SharedAccessSignature sr=myhub.azure-devices.net&sig=sJAIZTF5oG40VHrie96heZ865%2BnR4QavBvHnzxZm8rk%3D&skn=iothubowner&se=1700000000")
}

// c2026 is a time like any other.
var c2026 = time.Unix(1780000000, 0)

func TestTokensAreSignedOverTheirOwnText(t *testing.T) {
	key := mustKey(t, vectorKey)
	good := iothub.NewToken("h/devices/d!1", key, "", c2026)
	try := func(token string, signed bool) {
		t.Helper()
		got, err := iothub.ParseToken(token)
		if err != nil {
			t.Errorf("ParseToken(%q): %v", token, err)
			return
		}
		if got.SignedBy(key) != signed || got.Resource != "h/devices/d!1" {
			t.Errorf("ParseToken(%q) = %v, signed %v, want %v", token, got.Resource, !signed, signed)
		}
	}
	try(good, true)
	try(strings.Replace(good, "d%211", "d!1", 1), false)   // another spelling of the same scope
	try(strings.Replace(good, "%2F", "%2f", 1), false)     // and another
	try(strings.Replace(good, "se=1", "se=01", 1), false)  // the same expiry
	try(strings.Replace(good, "se=17", "se=18", 1), false) // a later one
	try(good+"&skn=", true)                                // empty is absent
	fields := strings.Split(strings.TrimPrefix(good, "SharedAccessSignature "), "&")
	try("SharedAccessSignature "+fields[2]+"&"+fields[1]+"&"+fields[0], true)
	if token, _ := iothub.ParseToken(good); token.SignedBy(nil) || token.SignedBy(iothub.Key("x")) || (iothub.Token{}).SignedBy(nil) {
		t.Error("a token is signed by the wrong key")
	}
}

func TestKeysSignAsHMACDoes(t *testing.T) {
	try := func(keyBytes int, message string) {
		t.Helper()
		key := iothub.Key(strings.Repeat("k", keyBytes))
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(message))
		if got, want := key.Sign([]byte(message)), mac.Sum(nil); !bytes.Equal(got[:], want) {
			t.Errorf("Key of %d bytes: Sign(%q) = %x, want %x", keyBytes, message, got, want)
		}
	}
	try(0, "")
	try(1, "h\n1")
	try(32, "h/devices/d\n1700000000")
	try(63, strings.Repeat("m", 63))
	try(64, strings.Repeat("m", 64))
	try(65, strings.Repeat("m", 65)) // a key of more than a block is hashed
	try(200, strings.Repeat("m", 1000))
}

// TestTokensAllocateLittle wants of a token that a device makes nothing but its
// text on the heap, and of one that a hub checks nothing but its scope: both is
// done for each of many devices that connect at once.
func TestTokensAllocateLittle(t *testing.T) {
	key, resource := mustKey(t, vectorKey), iothub.DeviceResource("myhub.azure-devices.net", "door-00001")
	text := iothub.NewToken(resource, key, "", c2026)
	if got := testing.AllocsPerRun(100, func() { _ = iothub.NewToken(resource, key, "", c2026) }); got > 1 {
		t.Errorf("NewToken(%q, key, \"\", %v) allocates %.0f times, want 1", resource, c2026.Unix(), got)
	}
	check := func() {
		if token, err := iothub.ParseToken(text); err != nil || !token.SignedBy(key) {
			t.Errorf("ParseToken(%q) = %v, %v, not signed", text, token, err)
		}
	}
	if got := testing.AllocsPerRun(100, check); got > 1 {
		t.Errorf("ParseToken and SignedBy allocate %.0f times, want 1", got)
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	sig := "wosmA3uJK9T0mdB5CIYn%2BsAVA2ODflnucuvNO5S6mbM%3D"
	for _, s := range []string{
		"",
		"Bearer abc",
		"SharedAccessSignature ",
		"SharedAccessSignature sr=a&sig=" + sig,
		"SharedAccessSignature sr=a&se=1",
		"SharedAccessSignature sig=" + sig + "&se=1",
		"SharedAccessSignature sr=&sig=" + sig + "&se=1",
		"SharedAccessSignature sr=a&sig=" + sig + "&se=",
		"SharedAccessSignature sr=a&sig=" + sig + "&se=1.5",
		"SharedAccessSignature sr=a&sig=" + sig + "&se=-1",
		"SharedAccessSignature sr=a&sig=" + sig + "&se=+1",
		"SharedAccessSignature sr=a&sig=" + sig + "&se=253402300800",
		"SharedAccessSignature sr=a&sig=YWJj&se=1",
		"SharedAccessSignature sr=a&sig=*&se=1",
		"SharedAccessSignature sr=%zz&sig=" + sig + "&se=1",
		"SharedAccessSignature sr=a&sig=%&se=1",
		"SharedAccessSignature sr=a&sig=" + sig[:len(sig)-1] + "&se=1",
		"SharedAccessSignature sr=a&sig=" + sig[:len(sig)-1] + "G&se=1",
		"SharedAccessSignature sr=a&sig=" + sig + "&se=1&skn=%",
		"SharedAccessSignature sr=a&sig=" + sig + "&se=1&se=2",
		"SharedAccessSignature sr=a&sig=" + sig + "&se=1&x=2",
		"SharedAccessSignature sr=a&sig=" + sig + "&se=1&skn",
	} {
		if token, err := iothub.ParseToken(s); err == nil {
			t.Errorf("ParseToken(%q) = %v, want an error", s, token)
		} else if strings.Contains(err.Error(), sig) {
			t.Errorf("ParseToken(%q): %v quotes the signature", s, err)
		}
	}
}

func TestScopesCoverWholeSegments(t *testing.T) {
	try := func(scope, resource string, want bool) {
		t.Helper()
		if got := (iothub.Token{Resource: scope}).Covers(resource); got != want {
			t.Errorf("Token{%q}.Covers(%q) = %v, want %v", scope, resource, got, want)
		}
	}
	try("h/devices/d", "h/devices/d", true)
	try("h/devices/d", "h/devices/d/modules/m", true)
	try("h/devices", "h/devices/d", true)
	try("h/devices/", "h/devices/d", true)
	try("h", "h/devices/d", true)
	try("h/", "h", true)
	try("H.Example", "h.example/devices/d", true)
	try("h", "h", true)
	try("h:8884/devices/d", "h:8884/devices/d", true)
	try("h/devices/d", "h/devices/d1", false)
	try("h/devices/D", "h/devices/d", false)
	try("h/Devices", "h/devices/d", false)
	try("h/devices/d", "h/devices", false)
	try("h/devices/d", "h", false)
	try("h2", "h", false)
	try("", "h", false)
	try("", "", false)
	try("/devices", "/devices/d", false)
}

func TestUserNamesAreReadInAllSpellings(t *testing.T) {
	try := func(s, host, device, module string, ok bool) {
		t.Helper()
		h, d, m, got := iothub.ParseUsername(s)
		if h != host || d != device || m != module || got != ok {
			t.Errorf("ParseUsername(%q) = %q, %q, %q, %v, want %q, %q, %q, %v", s, h, d, m, got, host, device, module, ok)
		}
	}
	try(iothub.Username("h", "d"), "h", "d", "", true)
	try("h/d/?api-version=2021-04-12&DeviceClientType=a%2Fb/c", "h", "d", "", true)
	try("h/d/api-version=2020-09-30", "h", "d", "", true)
	try("h/d", "h", "d", "", true)
	try("h/d/", "h", "d", "", true)
	try("h:8884/d=?/m/?api-version=1", "h:8884", "d=?", "m", true)
	try("h/d/m", "h", "d", "m", true)
	try("h/d/m/api-version=1", "h", "d", "m", true)
	try("h/d/m/x", "", "", "", false)
	try("h", "", "", "", false)
	try("", "", "", "", false)
	try("/d", "", "", "", false)
	try("h//?api-version=1", "", "", "", false)
	try("h/d d", "", "", "", false)
	try(iothub.ModuleUsername("h", "d", "m"), "h", "d", "m", true)
	if got, want := iothub.ModuleClientID("d", "m")+" "+iothub.ModuleResource("h", "d", "m"), "d/m h/devices/d/modules/m"; got != want {
		t.Errorf("client id and resource of a module are %q, want %q", got, want)
	}
	if got, want := iothub.Username("h", "d"), "h/d/?api-version=2021-04-12"; got != want {
		t.Errorf("Username() = %q, want %q", got, want)
	}
}

func TestIDsKeepToTheirCharacters(t *testing.T) {
	try := func(id string, device, job bool) {
		t.Helper()
		if d, j := iothub.ValidDeviceID(id), iothub.ValidJobID(id); d != device || j != job {
			t.Errorf("%q: device %v, job %v, want %v, %v", id, d, j, device, job)
		}
	}
	try(".", false, false)
	try("..", false, false)
	try("...", true, false)
	try("a-Z09", true, true)
	try("-.+%_#*?!(),:;=@$'", true, false)
	try("", false, false)
	try("a/b", false, false)
	try("a b", false, false)
	try("é", false, false)
	try("a\x00", false, false)
	try(strings.Repeat("a", 64), true, true)
	try(strings.Repeat("a", 65), true, false)
	try(strings.Repeat("a", 128), true, false)
	try(strings.Repeat("a", 129), false, false)
}
