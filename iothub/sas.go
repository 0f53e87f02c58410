package iothub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const tokenPrefix = "SharedAccessSignature "

// maxExpiry is the last second of the year 9999.
const maxExpiry = 253402300799

// DeviceResource returns the scope of a device's own token.
func DeviceResource(host, deviceID string) string { return host + "/devices/" + deviceID }

// ModuleResource returns the scope of a module's own token.
func ModuleResource(host, deviceID, moduleID string) string {
	return DeviceResource(host, deviceID) + "/modules/" + moduleID
}

// NewToken signs a SAS token. The resource is not encoded
// ("myhub.azure-devices.net/devices/dev1", or the host alone for a service);
// policy is the shared access policy whose key it is, empty for a device's own
// key. Fractions of a second of the expiry are dropped.
func NewToken(resource string, key Key, policy string, expiry time.Time) string {
	sr := escape(resource)
	se := strconv.FormatInt(expiry.Unix(), 10)
	sig := escape(base64.StdEncoding.EncodeToString(sign(key, sr, se)))
	skn := ""
	if policy != "" {
		skn = "&skn=" + escape(policy)
	}
	return tokenPrefix + "sr=" + sr + "&sig=" + sig + skn + "&se=" + se
}

// sign makes the signature over the two fields exactly as they stand in the
// token.
func sign(key Key, sr, se string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(sr + "\n" + se))
	return mac.Sum(nil)
}

// Token is a SAS token as it was received. Its signature is never printed.
type Token struct {
	RawResource string    // sr as it stands in the token, which is what was signed
	Resource    string    // sr decoded
	Policy      string    // skn decoded; empty if absent or empty
	Expiry      time.Time // se, in UTC

	rawExpiry string
	signature []byte
}

// ParseToken takes a SAS token apart. It verifies nothing: see SignedBy,
// Covers and Expiry. Its errors do not quote the token.
func ParseToken(s string) (Token, error) {
	fields, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return Token{}, errors.New("parse SAS token: not a SharedAccessSignature")
	}
	var t Token
	seen := map[string]bool{}
	for field := range strings.SplitSeq(fields, "&") {
		name, value, ok := strings.Cut(field, "=")
		if !ok || seen[name] {
			return Token{}, errors.New("parse SAS token: a field is repeated or has no value")
		}
		seen[name] = true
		if err := t.set(name, value); err != nil {
			return Token{}, fmt.Errorf("parse SAS token: %w", err)
		}
	}
	if t.RawResource == "" || t.signature == nil || t.rawExpiry == "" {
		return Token{}, errors.New("parse SAS token: sr, sig and se are required")
	}
	return t, nil
}

// set puts one field into t.
func (t *Token) set(name, value string) (err error) {
	switch name {
	case "sr":
		t.RawResource = value
		if t.Resource, err = url.PathUnescape(value); err != nil {
			return errors.New("sr is not percent-encoded")
		}
	case "sig":
		text, err := url.PathUnescape(value)
		if err != nil {
			return errors.New("sig is not percent-encoded")
		}
		t.signature, err = base64.StdEncoding.DecodeString(text)
		if err != nil || len(t.signature) != sha256.Size {
			return errors.New("sig is not the base64 of 32 bytes")
		}
	case "se":
		t.rawExpiry = value
		seconds, err := strconv.ParseUint(value, 10, 63)
		if err != nil || seconds > maxExpiry {
			return errors.New("se is not a time in seconds")
		}
		t.Expiry = time.Unix(int64(seconds), 0).UTC()
	case "skn":
		if t.Policy, err = url.PathUnescape(value); err != nil {
			return errors.New("skn is not percent-encoded")
		}
	default:
		return errors.New("unknown field")
	}
	return nil
}

// SignedBy reports whether key made the signature. It takes the same time
// whatever the answer.
func (t Token) SignedBy(key Key) bool {
	return t.signature != nil && hmac.Equal(t.signature, sign(key, t.RawResource, t.rawExpiry))
}

// Covers reports whether the token's scope is resource or holds it, by whole
// path segments: "host/devices" covers "host/devices/dev1", "host/devices/dev"
// does not. The host is compared without case, the rest with it.
func (t Token) Covers(resource string) bool {
	scopeHost, scopePath, _ := strings.Cut(t.Resource, "/")
	host, path, _ := strings.Cut(resource, "/")
	if scopeHost == "" || !strings.EqualFold(scopeHost, host) {
		return false
	}
	scopePath = strings.TrimSuffix(scopePath, "/")
	rest, ok := strings.CutPrefix(path, scopePath)
	return ok && (scopePath == "" || rest == "" || rest[0] == '/')
}

// String names the token's scope and expiry, not its signature.
func (t Token) String() string {
	return tokenPrefix + "sr=" + t.RawResource + "&sig=" + mask + "&se=" + t.rawExpiry
}

// Format masks like String, whatever the verb.
func (t Token) Format(f fmt.State, verb rune) { formatMasked(f, verb, t.String()) }

// LogValue masks like String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }
