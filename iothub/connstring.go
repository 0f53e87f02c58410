package iothub

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// ConnectionString names a hub and whoever speaks to it: a device, a module of
// one, or a service with a shared access policy.
type ConnectionString struct {
	HostName              string // the hub's DNS name, possibly with a port
	DeviceID              string // empty for a service
	ModuleID              string
	SharedAccessKeyName   string // the policy; required for a service
	SharedAccessKey       Key
	SharedAccessSignature Secret // a SAS token given in place of the key
	GatewayHostName       string // where to connect to, if not HostName
	X509                  bool   // a certificate stands in place of the key
}

// ParseConnectionString reads Key=Value pairs separated by semicolons. Names
// are case-sensitive, the last of a repeated name wins, unknown names and
// empty segments are ignored. It reports every fault at once, and never quotes
// the text, which may hold a key.
func ParseConnectionString(s string) (ConnectionString, error) {
	var c ConnectionString
	var errs []error
	for i, segment := range strings.Split(s, ";") {
		if segment == "" {
			continue
		}
		name, value, ok := strings.Cut(segment, "=")
		if !ok {
			errs = append(errs, fmt.Errorf("segment %d has no =", i+1))
			continue
		}
		if err := c.set(name, value); err != nil {
			errs = append(errs, err)
		}
	}
	if errs == nil {
		errs = c.faults()
	}
	if err := errors.Join(errs...); err != nil {
		return ConnectionString{}, fmt.Errorf("parse connection string: %w", err)
	}
	return c, nil
}

// set puts one pair into c. Unknown names are ignored.
func (c *ConnectionString) set(name, value string) error {
	switch name {
	case "HostName":
		c.HostName = value
	case "DeviceId":
		c.DeviceID = value
	case "ModuleId":
		c.ModuleID = value
	case "SharedAccessKeyName":
		c.SharedAccessKeyName = value
	case "SharedAccessKey":
		key, err := ParseKey(value)
		if err != nil {
			return fmt.Errorf("SharedAccessKey: %w", err)
		}
		c.SharedAccessKey = key
	case "SharedAccessSignature":
		c.SharedAccessSignature = Secret(value)
	case "GatewayHostName":
		c.GatewayHostName = value
	case "x509":
		c.X509 = strings.EqualFold(value, "true")
	}
	return nil
}

// faults returns what forbids using c, naming fields but never values.
func (c *ConnectionString) faults() []error {
	var errs []error
	fault := func(text string) { errs = append(errs, errors.New(text)) }
	switch {
	case c.HostName == "":
		fault("HostName is missing")
	case !validHost(c.HostName):
		fault("HostName is not a host name")
	}
	if c.GatewayHostName != "" && !validHost(c.GatewayHostName) {
		fault("GatewayHostName is not a host name")
	}
	if c.ModuleID != "" && c.DeviceID == "" {
		fault("ModuleId needs a DeviceId")
	}
	if c.DeviceID != "" && !ValidDeviceID(c.DeviceID) {
		fault("DeviceId is not valid")
	}
	if c.ModuleID != "" && !ValidDeviceID(c.ModuleID) {
		fault("ModuleId is not valid")
	}
	return append(errs, c.credentialFaults()...)
}

// credentialFaults tells whether c can prove who it is.
func (c *ConnectionString) credentialFaults() []error {
	if c.DeviceID != "" {
		if len(c.SharedAccessKey) == 0 && c.SharedAccessSignature == "" && !c.X509 {
			return []error{errors.New("a device needs SharedAccessKey, SharedAccessSignature or x509=true")}
		}
		return nil
	}
	var errs []error
	if c.SharedAccessKeyName == "" {
		errs = append(errs, errors.New("SharedAccessKeyName is missing"))
	}
	if len(c.SharedAccessKey) == 0 {
		errs = append(errs, errors.New("SharedAccessKey is missing"))
	}
	return errs
}

// validHost reports whether host, with or without a port, can stand in a URL
// and a user name.
func validHost(host string) bool {
	for i := 0; i < len(host); i++ {
		if b := host[i]; b <= ' ' || b >= 0x7f || strings.IndexByte(`/\?#@%"<>`, b) >= 0 {
			return false
		}
	}
	return host != ""
}

// Reveal returns the connection string with its key and token.
func (c ConnectionString) Reveal() string {
	return c.format(c.SharedAccessKey.Base64(), c.SharedAccessSignature.Reveal())
}

// String returns the connection string with its key and token masked.
func (c ConnectionString) String() string {
	return c.format(c.SharedAccessKey.String(), c.SharedAccessSignature.String())
}

// Format masks like String, whatever the verb.
func (c ConnectionString) Format(f fmt.State, verb rune) { formatMasked(f, verb, c.String()) }

// LogValue masks like String.
func (c ConnectionString) LogValue() slog.Value { return slog.StringValue(c.String()) }

// format writes the pairs that have a value, key and token as given.
func (c ConnectionString) format(key, token string) string {
	var b strings.Builder
	pair := func(name, value string) {
		if value == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteByte(';')
		}
		b.WriteString(name + "=" + value)
	}
	pair("HostName", c.HostName)
	pair("DeviceId", c.DeviceID)
	pair("ModuleId", c.ModuleID)
	pair("SharedAccessKeyName", c.SharedAccessKeyName)
	pair("SharedAccessKey", key)
	pair("SharedAccessSignature", token)
	if c.X509 {
		pair("x509", "true")
	}
	pair("GatewayHostName", c.GatewayHostName)
	return b.String()
}
