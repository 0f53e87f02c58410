package iothub

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
)

// mask is what is printed in place of a secret.
const mask = "***"

// Key is a shared access key, decoded. It is masked by every way of printing
// it, JSON and slog included; Base64 reveals it.
type Key []byte

// errKey says nothing of the text that was not a key.
var errKey = errors.New("shared access key is not base64")

// ParseKey decodes a key from standard base64 with padding. Its error does
// not quote the text.
func ParseKey(s string) (Key, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, errKey
	}
	return b, nil
}

// Base64 reveals the key as it stands in a connection string.
func (k Key) Base64() string { return base64.StdEncoding.EncodeToString(k) }

// Sign returns the HMAC-SHA256 of a message. It keeps nothing on the heap, which
// counts where each of many devices signs with a key of its own.
func (k Key) Sign(message []byte) (sum [sha256.Size]byte) {
	var pad [sha256.BlockSize]byte // RFC 2104
	if len(k) > len(pad) {
		short := sha256.Sum256(k)
		k = short[:]
	}
	copy(pad[:], k)
	h := sha256.New()
	h.Write(maskBlock(&pad, 0x36))
	h.Write(message)
	h.Sum(sum[:0])
	h.Reset()
	h.Write(maskBlock(&pad, 0x36^0x5c))
	h.Write(sum[:])
	h.Sum(sum[:0])
	return sum
}

// maskBlock changes each byte of a block by the bits of b.
func maskBlock(block *[sha256.BlockSize]byte, b byte) []byte {
	for i := range block {
		block[i] ^= b
	}
	return block[:]
}

// String masks the key. An empty key is the empty string.
func (k Key) String() string {
	if len(k) == 0 {
		return ""
	}
	return mask
}

// Format masks the key whatever the verb.
func (k Key) Format(f fmt.State, verb rune) { formatMasked(f, verb, k.String()) }

// MarshalJSON masks the key. SymmetricKey is the form with which keys travel.
func (k Key) MarshalJSON() ([]byte, error) { return strconv.AppendQuote(nil, k.String()), nil }

// LogValue masks the key.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Secret is a text that must not be printed, such as a SAS token. It is masked
// like a Key.
type Secret string

// Reveal returns the text.
func (s Secret) Reveal() string { return string(s) }

// String masks the text. An empty secret is the empty string.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// Format masks the text whatever the verb.
func (s Secret) Format(f fmt.State, verb rune) { formatMasked(f, verb, s.String()) }

// MarshalJSON masks the text.
func (s Secret) MarshalJSON() ([]byte, error) { return strconv.AppendQuote(nil, s.String()), nil }

// LogValue masks the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// formatMasked prints text that is already masked, quoted for %q and %#v.
func formatMasked(f fmt.State, verb rune, text string) {
	if verb == 'q' || (verb == 'v' && f.Flag('#')) {
		text = strconv.Quote(text)
	}
	_, _ = f.Write([]byte(text)) // a fmt.State does not fail
}
