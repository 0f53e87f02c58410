package iothub

import (
	"strings"
)

// APIVersion is the version of the service's data plane that this package
// speaks, on both sides.
const APIVersion = "2021-04-12"

const (
	maxDeviceID = 128
	maxJobID    = 64
)

// ValidDeviceID reports whether id can name a device or a module: 1 to 128
// ASCII letters, digits and - . + % _ # * ? ! ( ) , : ; = @ $ ', but not . and
// .. alone, which no path can name.
func ValidDeviceID(id string) bool {
	for i := 0; i < len(id); i++ {
		if !alphanumeric(id[i]) && strings.IndexByte("-.+%_#*?!(),:;=@$'", id[i]) < 0 {
			return false
		}
	}
	return id != "" && id != "." && id != ".." && len(id) <= maxDeviceID
}

// ValidJobID reports whether id can name a job: 1 to 64 ASCII letters, digits
// and -.
func ValidJobID(id string) bool {
	for i := 0; i < len(id); i++ {
		if !alphanumeric(id[i]) && id[i] != '-' {
			return false
		}
	}
	return id != "" && len(id) <= maxJobID
}

func alphanumeric(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// Username returns the MQTT user name of a device. Its client id is the device
// id itself.
func Username(host, deviceID string) string {
	return host + "/" + deviceID + "/?api-version=" + APIVersion
}

// ModuleUsername returns the MQTT user name of a module. Its client id is
// ModuleClientID.
func ModuleUsername(host, deviceID, moduleID string) string {
	return host + "/" + ModuleClientID(deviceID, moduleID) + "/?api-version=" + APIVersion
}

// ModuleClientID returns the MQTT client id of a module.
func ModuleClientID(deviceID, moduleID string) string { return moduleName(deviceID, moduleID) }

// ParseUsername takes an MQTT user name apart. It accepts the three spellings
// in use, {host}/{device}/?api-version=…, {host}/{device}/api-version=… and
// {host}/{device}, each also with a module after the device; moduleID is empty
// without one. It does not look at the API version.
func ParseUsername(s string) (host, deviceID, moduleID string, ok bool) {
	host, rest, _ := strings.Cut(s, "/")
	deviceID, rest, _ = strings.Cut(rest, "/")
	if rest != "" && !usernameParameters(rest) {
		moduleID, rest, _ = strings.Cut(rest, "/")
		ok = ValidDeviceID(moduleID) && (rest == "" || usernameParameters(rest))
	} else {
		ok = true
	}
	if !ok || !validHost(host) || !ValidDeviceID(deviceID) {
		return "", "", "", false
	}
	return host, deviceID, moduleID, true
}

// usernameParameters reports whether the rest of a user name holds its
// parameters rather than a module.
func usernameParameters(rest string) bool {
	return rest[0] == '?' || strings.HasPrefix(rest, "api-version=")
}

const upperHex = "0123456789ABCDEF"

// escape percent-encodes all but the unreserved characters of RFC 3986, with
// upper-case digits.
func escape(s string) string { return string(appendEscaped(nil, s)) }

// appendEscaped appends what escape returns.
func appendEscaped[T string | []byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		if unreserved(s[i]) {
			dst = append(dst, s[i])
			continue
		}
		dst = append(dst, '%', upperHex[s[i]>>4], upperHex[s[i]&15])
	}
	return dst
}

// appendUnescaped appends what url.PathUnescape returns, or reports that s is
// not percent-encoded.
func appendUnescaped(dst []byte, s string) (unescaped []byte, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			dst = append(dst, s[i])
			continue
		}
		if i+2 >= len(s) {
			return dst, false
		}
		high, low := hexDigit(s[i+1]), hexDigit(s[i+2])
		if high < 0 || low < 0 {
			return dst, false
		}
		dst = append(dst, byte(high<<4|low))
		i += 2
	}
	return dst, true
}

// hexDigit returns a digit's value, or -1.
func hexDigit(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b && b <= 'f':
		return int(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}

func unreserved(b byte) bool {
	return alphanumeric(b) || b == '-' || b == '.' || b == '_' || b == '~'
}
