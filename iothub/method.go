package iothub

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
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

// ParseMethod reads a call as encoding/json does, in a fraction of the time: a
// hub reads one for each device that is called. The payload is a part of doc.
func ParseMethod(doc []byte) (Method, error) {
	if valid(doc) && isObject(doc) {
		if m, ok := readMethod(doc); ok {
			return m, nil
		}
	}
	var m Method
	if err := json.Unmarshal(doc, &m); err != nil {
		return Method{}, fmt.Errorf("parse method: %w", err)
	}
	return m, nil
}

// readMethod reports whether an object has nothing but what a call usually has.
func readMethod(object []byte) (m Method, ok bool) {
	for all := membersOf(object); ; {
		key, value, more := all.next()
		if !more {
			return m, true
		}
		switch string(key) {
		case `"methodName"`:
			ok = readText(&m.MethodName, "", value)
		case `"payload"`:
			m.Payload, ok = value[:len(value):len(value)], true
		case `"responseTimeoutInSeconds"`:
			m.ResponseTimeoutInSeconds, ok = readSeconds(value)
		case `"connectTimeoutInSeconds"`:
			m.ConnectTimeoutInSeconds, ok = readSeconds(value)
		default:
			ok = false
		}
		if !ok {
			return m, false
		}
	}
}

func readSeconds(value []byte) (*int, bool) {
	n, err := strconv.Atoi(string(value))
	return &n, err == nil
}

// ResponseTimeout returns how long the hub waits for the device's answer. It
// is for calls that are valid, as ConnectTimeout is.
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
	const most = int(MaxMethodTimeout / time.Second)
	errs = append(errs,
		checkTimeout("responseTimeoutInSeconds", m.ResponseTimeoutInSeconds, int(MinResponseTimeout/time.Second), most),
		checkTimeout("connectTimeoutInSeconds", m.ConnectTimeoutInSeconds, 0, most))
	if len(m.Payload) > MaxMethodPayload {
		errs = append(errs, fmt.Errorf("payload has %d bytes, more than %d", len(m.Payload), MaxMethodPayload))
	}
	if !utf8.Valid(m.Payload) {
		errs = append(errs, fmt.Errorf("payload: %w", errNotUTF8))
	}
	return errors.Join(errs...)
}

// checkTimeout bounds a number of seconds, before anybody multiplies with it.
func checkTimeout(name string, seconds *int, least, most int) error {
	if seconds != nil && (*seconds < least || *seconds > most) {
		return fmt.Errorf("%s is %d, not from %d to %d", name, *seconds, least, most)
	}
	return nil
}

// MethodResult is a device's answer to a method. The status is the device's
// own and says nothing of the call; the payload is any JSON.
type MethodResult struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}
