package iothub

import (
	"encoding/json"
	"errors"
	"strconv"
)

// Twin is a device twin as the service sees it. The three sections are kept as
// raw JSON: desired and reported hold $metadata and $version too.
type Twin struct {
	DeviceID                  string          `json:"deviceId"`
	ModuleID                  string          `json:"moduleId,omitempty"`
	ETag                      string          `json:"etag"`
	DeviceETag                string          `json:"deviceEtag,omitempty"`
	Status                    string          `json:"status,omitempty"`
	StatusReason              string          `json:"statusReason"`
	StatusUpdateTime          Time            `json:"statusUpdateTime"` // statusUpdatedTime in an identity
	ConnectionState           string          `json:"connectionState"`
	LastActivityTime          Time            `json:"lastActivityTime"`
	CloudToDeviceMessageCount int             `json:"cloudToDeviceMessageCount"`
	AuthenticationType        string          `json:"authenticationType,omitempty"`
	X509Thumbprint            X509Thumbprint  `json:"x509Thumbprint"`
	ModelID                   string          `json:"modelId"`
	Version                   int64           `json:"version"`
	Tags                      json.RawMessage `json:"tags,omitempty"`
	Properties                Properties      `json:"properties"`
	Capabilities              Capabilities    `json:"capabilities"`
}

// Properties are the two halves of a twin's properties. A device reads its own
// twin in this form.
type Properties struct {
	Desired  json.RawMessage `json:"desired,omitempty"`
	Reported json.RawMessage `json:"reported,omitempty"`
}

// TwinPatch is the body of a PATCH or PUT of a twin, and the updateTwin of a
// job, where ETag must be "*". A member that is absent is left alone.
type TwinPatch struct {
	ETag       string          `json:"etag,omitempty"`
	Tags       json.RawMessage `json:"tags,omitempty"`
	Properties *Properties     `json:"properties,omitempty"`
}

// NewTwinPatch returns the body of a twin PATCH that merges tags and desired
// properties; nil leaves either out. An argument that is not JSON is put in as
// it stands, and refused by the hub.
func NewTwinPatch(tags, desired json.RawMessage) json.RawMessage {
	return appendTwinPatch(nil, tags, desired)
}

// NewJobTwinUpdate returns the updateTwin of a job, with the etag "*" that the
// service requires.
func NewJobTwinUpdate(tags, desired json.RawMessage) json.RawMessage {
	return appendTwinPatch([]byte(`"etag":"*"`), tags, desired)
}

// appendTwinPatch writes the members that are given after those in head.
func appendTwinPatch(head []byte, tags, desired json.RawMessage) json.RawMessage {
	b := make([]byte, 0, len(head)+len(tags)+len(desired)+64)
	b = append(append(b, '{'), head...)
	member := func(open string, value json.RawMessage, closing string) {
		if value == nil {
			return
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, open...), value...), closing...)
	}
	member(`"tags":`, tags, "")
	member(`"properties":{"desired":`, desired, "}")
	return append(b, '}')
}

var errNoVersion = errors.New("no desired $version in it")

// DesiredVersion returns the version of the desired properties in a twin as a
// device reads it. It does not decode the rest.
func DesiredVersion(twin []byte) (int64, error) {
	if !valid(twin) {
		return 0, errors.New("not JSON")
	}
	desired, _ := member(twin, "desired")
	version, ok := member(desired, "$version")
	if !ok {
		return 0, errNoVersion
	}
	n, err := strconv.ParseInt(string(version), 10, 64)
	if err != nil {
		return 0, errNoVersion
	}
	return n, nil
}
