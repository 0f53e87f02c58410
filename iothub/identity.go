package iothub

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// Values of Device.Status and Twin.Status.
const (
	StatusEnabled  = "enabled"
	StatusDisabled = "disabled"
)

// Values of ConnectionState.
const (
	Connected    = "Connected"
	Disconnected = "Disconnected"
)

// Values of Authentication.Type and Twin.AuthenticationType.
const (
	AuthenticationSAS        = "sas"
	AuthenticationSelfSigned = "selfSigned"
	AuthenticationCA         = "certificateAuthority"
	AuthenticationNone       = "none"
)

// Device is the identity of a device in the hub's registry.
type Device struct {
	DeviceID                   string          `json:"deviceId"`
	GenerationID               string          `json:"generationId,omitempty"`
	ETag                       string          `json:"etag,omitempty"`
	ConnectionState            string          `json:"connectionState,omitempty"`
	Status                     string          `json:"status,omitempty"`
	StatusReason               *string         `json:"statusReason"`
	ConnectionStateUpdatedTime Time            `json:"connectionStateUpdatedTime"`
	StatusUpdatedTime          Time            `json:"statusUpdatedTime"` // statusUpdateTime in a twin
	LastActivityTime           Time            `json:"lastActivityTime"`
	CloudToDeviceMessageCount  int             `json:"cloudToDeviceMessageCount"`
	Authentication             *Authentication `json:"authentication,omitempty"` // nil asks the hub to make keys
	Capabilities               Capabilities    `json:"capabilities"`
	DeviceScope                *string         `json:"deviceScope"`
	ParentScopes               []string        `json:"parentScopes,omitzero"` // nil is left out
}

// LogValue names the device, without its keys.
func (d Device) LogValue() slog.Value {
	return slog.GroupValue(slog.String("device_id", d.DeviceID), slog.String("status", d.Status))
}

// Module is the identity of a module of a device. It has no status of its own:
// the device's is its own too.
type Module struct {
	ModuleID                   string          `json:"moduleId"`
	ManagedBy                  *string         `json:"managedBy"`
	DeviceID                   string          `json:"deviceId"`
	GenerationID               string          `json:"generationId,omitempty"`
	ETag                       string          `json:"etag,omitempty"`
	ConnectionState            string          `json:"connectionState,omitempty"`
	ConnectionStateUpdatedTime Time            `json:"connectionStateUpdatedTime"`
	LastActivityTime           Time            `json:"lastActivityTime"`
	CloudToDeviceMessageCount  int             `json:"cloudToDeviceMessageCount"` // always 0: modules get none
	Authentication             *Authentication `json:"authentication,omitempty"`  // nil asks the hub to make keys
}

// LogValue names the module, without its keys.
func (m Module) LogValue() slog.Value {
	return slog.GroupValue(slog.String("device_id", m.DeviceID), slog.String("module_id", m.ModuleID))
}

func (m Module) name() string { return moduleName(m.DeviceID, m.ModuleID) }

// moduleName names a module where a device's id would name a device.
func moduleName(deviceID, moduleID string) string { return deviceID + "/" + moduleID }

// PurgeResult is the answer to a purge of cloud-to-device messages.
type PurgeResult struct {
	TotalMessagesPurged int     `json:"totalMessagesPurged"`
	DeviceID            string  `json:"deviceId"`
	ModuleID            *string `json:"moduleId"`
}

// Authentication is how a device proves its identity.
type Authentication struct {
	SymmetricKey   SymmetricKey   `json:"symmetricKey"`
	X509Thumbprint X509Thumbprint `json:"x509Thumbprint"`
	Type           string         `json:"type,omitempty"`
}

// String names the type, without the keys.
func (a Authentication) String() string { return "authentication " + a.Type }

// Format masks like String, whatever the verb.
func (a Authentication) Format(f fmt.State, verb rune) { formatMasked(f, verb, a.String()) }

// SymmetricKey holds the two keys of a device, either of which is good. Its
// JSON is the wire's and reveals them; printing it does not.
type SymmetricKey struct {
	Primary   Key
	Secondary Key
}

// String masks the keys.
func (s SymmetricKey) String() string {
	return "keys " + s.Primary.String() + " " + s.Secondary.String()
}

// Format masks like String, whatever the verb.
func (s SymmetricKey) Format(f fmt.State, verb rune) { formatMasked(f, verb, s.String()) }

// wireSymmetricKey is how keys travel; absent keys are null.
type wireSymmetricKey struct {
	Primary   *string `json:"primaryKey"`
	Secondary *string `json:"secondaryKey"`
}

// MarshalJSON writes the keys in base64, absent ones as null.
func (s SymmetricKey) MarshalJSON() ([]byte, error) {
	var w wireSymmetricKey
	if len(s.Primary) > 0 {
		w.Primary = new(s.Primary.Base64())
	}
	if len(s.Secondary) > 0 {
		w.Secondary = new(s.Secondary.Base64())
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads keys in base64; null and the empty string are absent.
func (s *SymmetricKey) UnmarshalJSON(b []byte) error {
	var w wireSymmetricKey
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("read symmetricKey: %w", err)
	}
	*s = SymmetricKey{}
	for _, k := range []struct {
		text *string
		to   *Key
	}{{w.Primary, &s.Primary}, {w.Secondary, &s.Secondary}} {
		if k.text == nil || *k.text == "" {
			continue
		}
		key, err := ParseKey(*k.text)
		if err != nil {
			return fmt.Errorf("read symmetricKey: %w", err)
		}
		*k.to = key
	}
	return nil
}

// X509Thumbprint holds the thumbprints of a device's own certificates.
type X509Thumbprint struct {
	Primary   *string `json:"primaryThumbprint"`
	Secondary *string `json:"secondaryThumbprint"`
}

// Capabilities of a device.
type Capabilities struct {
	IoTEdge bool `json:"iotEdge"`
}

// Import modes of a BulkEntry. The service compares them without case.
const (
	ImportCreate             = "create"
	ImportUpdate             = "update"
	ImportUpdateIfMatch      = "updateIfMatchETag"
	ImportDelete             = "delete"
	ImportDeleteIfMatch      = "deleteIfMatchETag"
	ImportUpdateTwin         = "updateTwin"
	ImportUpdateTwinIfMatch  = "updateTwinIfMatchETag"
	ImportCreateOrUpdate     = "createOrUpdate"
	ImportCreateOrUpdateETag = "createOrUpdateIfMatchETag"
)

// MaxModules is how many modules one device may have.
const MaxModules = 50

// MaxBulk is how many entries one bulk call may hold.
const MaxBulk = 100

// BulkEntry is one change of a bulk call on the identity registry.
type BulkEntry struct {
	ID             string          `json:"id"`
	ModuleID       string          `json:"moduleId,omitempty"`
	ETag           string          `json:"eTag,omitempty"`
	ImportMode     string          `json:"importMode"`
	Status         string          `json:"status,omitempty"`
	StatusReason   *string         `json:"statusReason,omitempty"`
	Authentication *Authentication `json:"authentication,omitempty"`
	TwinETag       string          `json:"twinETag,omitempty"`
	Tags           json.RawMessage `json:"tags,omitempty"`
	Properties     *Properties     `json:"properties,omitempty"`
	Capabilities   *Capabilities   `json:"capabilities,omitempty"`
	DeviceScope    *string         `json:"deviceScope,omitempty"`
}

// LogValue names the entry, without its keys.
func (e BulkEntry) LogValue() slog.Value {
	return slog.GroupValue(slog.String("device_id", e.ID), slog.String("module_id", e.ModuleID),
		slog.String("import_mode", e.ImportMode))
}

// BulkResult is the answer to a bulk call.
type BulkResult struct {
	IsSuccessful bool          `json:"isSuccessful"`
	Errors       []BulkError   `json:"errors"`
	Warnings     []BulkWarning `json:"warnings"`
}

// BulkError tells of an entry that was refused. ErrorCode is a name of the
// table of codes, such as DeviceAlreadyExists.
type BulkError struct {
	DeviceID    string  `json:"deviceId"`
	ModuleID    *string `json:"moduleId"`
	ErrorCode   string  `json:"errorCode"`
	ErrorStatus string  `json:"errorStatus"`
	Operation   string  `json:"operation,omitempty"`
}

// BulkWarning tells of an entry that was accepted with a doubt.
type BulkWarning struct {
	DeviceID      string `json:"deviceId"`
	WarningCode   string `json:"warningCode"`
	WarningStatus string `json:"warningStatus"`
}

// DeviceStatistics counts the identities of a hub.
type DeviceStatistics struct {
	Total    int `json:"totalDeviceCount"`
	Enabled  int `json:"enabledDeviceCount"`
	Disabled int `json:"disabledDeviceCount"`
}

// ServiceStatistics counts the connections of a hub.
type ServiceStatistics struct {
	Connected int `json:"connectedDeviceCount"`
}
