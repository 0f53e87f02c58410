package iothub

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Limits and defaults of a direct method call.
const (
	DefaultResponseTimeout = 30 * time.Second
	MinResponseTimeout     = 5 * time.Second
	MaxMethodTimeout       = 300 * time.Second // of response and of connect
	MaxMethodPayload       = 128 << 10         // bytes, in each direction
)

// Method is a call of a direct method.
type Method struct {
	MethodName               string          `json:"methodName"`
	Payload                  json.RawMessage `json:"payload,omitempty"`                  // any JSON; absent or null for none
	ResponseTimeoutInSeconds *int            `json:"responseTimeoutInSeconds,omitempty"` // 5 to 300; nil is 30
	ConnectTimeoutInSeconds  *int            `json:"connectTimeoutInSeconds,omitempty"`  // 0 to 300; nil is 0
}

// ResponseTimeout returns how long the hub waits for the device's answer.
func (m Method) ResponseTimeout() time.Duration {
	if m.ResponseTimeoutInSeconds == nil {
		return DefaultResponseTimeout
	}
	return time.Duration(*m.ResponseTimeoutInSeconds) * time.Second
}

// ConnectTimeout returns how long the hub waits for an offline device to
// connect.
func (m Method) ConnectTimeout() time.Duration {
	if m.ConnectTimeoutInSeconds == nil {
		return 0
	}
	return time.Duration(*m.ConnectTimeoutInSeconds) * time.Second
}

// Validate reports every fault for which a hub refuses the call. The client
// does not ask it: what to refuse is the hub's to say.
func (m Method) Validate() error {
	var errs []error
	if m.MethodName == "" {
		errs = append(errs, errors.New("methodName is missing"))
	}
	if t := m.ResponseTimeout(); t < MinResponseTimeout || t > MaxMethodTimeout {
		errs = append(errs, fmt.Errorf("responseTimeoutInSeconds is %d, not from 5 to 300", *m.ResponseTimeoutInSeconds))
	}
	if t := m.ConnectTimeout(); t < 0 || t > MaxMethodTimeout {
		errs = append(errs, fmt.Errorf("connectTimeoutInSeconds is %d, not from 0 to 300", *m.ConnectTimeoutInSeconds))
	}
	if len(m.Payload) > MaxMethodPayload {
		errs = append(errs, fmt.Errorf("payload has %d bytes, more than %d", len(m.Payload), MaxMethodPayload))
	}
	return errors.Join(errs...)
}

// MethodResult is a device's answer to a method. The status is the device's
// own and says nothing of the call; the payload is any JSON.
type MethodResult struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}
