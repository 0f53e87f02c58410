package iothub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
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
	var space [384]byte // enough for a device's
	b := append(space[:0], tokenPrefix+"sr="...)
	from := len(b)
	b = appendEscaped(b, resource)
	end := len(b)
	b = strconv.AppendInt(append(b, '\n'), expiry.Unix(), 10)
	sum := key.Sign(b[from:]) // of both fields exactly as they stand in the token
	var sig [64]byte          // enough for the base64 of 32 bytes
	b = appendEscaped(append(b[:end], "&sig="...), base64.StdEncoding.AppendEncode(sig[:0], sum[:]))
	if policy != "" {
		b = appendEscaped(append(b, "&skn="...), policy)
	}
	return string(strconv.AppendInt(append(b, "&se="...), expiry.Unix(), 10))
}

// Token is a SAS token as it was received. Its signature is never printed.
type Token struct {
	RawResource string    // sr as it stands in the token, which is what was signed
	Resource    string    // sr decoded
	Policy      string    // skn decoded; empty if absent or empty
	Expiry      time.Time // se, in UTC

	rawExpiry string
	signature [sha256.Size]byte
	isSigned  bool // there is a signature
}

// ParseToken takes a SAS token apart. It verifies nothing: see SignedBy,
// Covers and Expiry. Its errors do not quote the token.
func ParseToken(s string) (Token, error) {
	fields, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return Token{}, errors.New("parse SAS token: not a SharedAccessSignature")
	}
	var t Token
	seen := make([]string, 0, 4) // there are no other fields
	for more := true; more; {
		var field string
		field, fields, more = strings.Cut(fields, "&")
		name, value, ok := strings.Cut(field, "=")
		if !ok || slices.Contains(seen, name) {
			return Token{}, errors.New("parse SAS token: a field is repeated or has no value")
		}
		seen = append(seen, name)
		if err := t.set(name, value); err != nil {
			return Token{}, fmt.Errorf("parse SAS token: %w", err)
		}
	}
	if t.RawResource == "" || !t.isSigned || t.rawExpiry == "" {
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
		return t.setSignature(value)
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

func (t *Token) setSignature(value string) error {
	var escaped, decoded [64]byte // enough for what is right
	text, ok := appendUnescaped(escaped[:0], value)
	if !ok {
		return errors.New("sig is not percent-encoded")
	}
	signature, err := base64.StdEncoding.AppendDecode(decoded[:0], text)
	if err != nil || len(signature) != len(t.signature) {
		return errors.New("sig is not the base64 of 32 bytes")
	}
	t.isSigned = true
	copy(t.signature[:], signature)
	return nil
}

// SignedBy reports whether key made the signature. It takes the same time
// whatever the answer.
func (t Token) SignedBy(key Key) bool {
	var space [256]byte // enough for a device's
	b := append(append(append(space[:0], t.RawResource...), '\n'), t.rawExpiry...)
	sum := key.Sign(b)
	return t.isSigned && hmac.Equal(t.signature[:], sum[:])
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
