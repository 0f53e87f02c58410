package iothub

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrorCodeHeader is the response header with the name of an error's code.
const ErrorCodeHeader = "iothub-errorcode"

// maxMessage bounds, in bytes, what is kept of a message that a server sent.
const maxMessage = 1024

// Error is a refusal by the service, as a hub sends it and a client reads it.
// Compare with HasCode.
type Error struct {
	StatusCode int             // of HTTP
	Code       ErrorCode       // 0 if the answer held none that is known
	Name       string          // of the code
	Message    string          // for people
	TrackingID string          // by which the service finds the error in its logs
	Info       json.RawMessage // details in an object; only written and read in shape (b)
	Timestamp  Time            // only written and read in shape (b); zero is written as the present
}

// Error tells the status, the code and the message.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("hub answered " + strconv.Itoa(e.StatusCode))
	if e.Name != "" {
		b.WriteString(" " + e.Name)
	}
	if e.Code != 0 {
		b.WriteString(" (" + strconv.Itoa(int(e.Code)) + ")")
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.TrackingID != "" {
		b.WriteString(" [" + e.TrackingID + "]")
	}
	return b.String()
}

// HasCode reports whether err is, or wraps, an Error with the code.
func HasCode(err error, code ErrorCode) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == code
}

// messageBody is shape (a) of an error's body, and the outside of shape (b).
type messageBody struct {
	Message          string
	ExceptionMessage string
}

// flatBody is the inside of shape (b), which also comes alone. Pointers are
// what a reader needs to tell an absent member.
type flatBody struct {
	ErrorCode  *ErrorCode      `json:"errorCode"`
	TrackingID string          `json:"trackingId"`
	Message    string          `json:"message"`
	Info       json.RawMessage `json:"info,omitempty"`
	Timestamp  Time            `json:"timestampUtc"`
}

// Body returns the JSON with which a hub answers: shape (b), a string that
// holds JSON, for a method whose device is not online or does not answer, and
// for a code without a name; else shape (a), which all official clients
// understand.
func (e *Error) Body() []byte {
	name := e.Name
	if name == "" {
		name = e.Code.Name()
	}
	if name == "" || e.Code == CodeDeviceNotOnline || e.Code == CodeGatewayTimeout {
		return marshal(messageBody{Message: string(e.FlatBody())})
	}
	m := messageBody{Message: "ErrorCode:" + name + ";" + e.Message}
	if e.TrackingID != "" {
		m.ExceptionMessage = "Tracking ID:" + e.TrackingID
	}
	return marshal(m)
}

// FlatBody returns the JSON with which a hub answers a device: the inside of
// shape (b), alone.
func (e *Error) FlatBody() []byte {
	f := flatBody{ErrorCode: &e.Code, TrackingID: e.TrackingID, Message: e.Message, Info: e.Info, Timestamp: e.Timestamp}
	if !isObject(f.Info) {
		f.Info = json.RawMessage("{}")
	}
	if f.Timestamp.IsZero() {
		f.Timestamp = Time{time.Now()}
	}
	return marshal(f)
}

// marshal encodes what cannot fail to be encoded.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("iothub: encode %T: %v", v, err)) // only from a wrong type in this package
	}
	return b
}

// ParseError reads the body of a refusal in any of the three shapes in which
// the service sends it. It always returns an Error, whose Message is the body
// itself if it has none of them. What the body lacks is filled in from the
// header and the table of codes.
func ParseError(status int, header http.Header, body []byte) *Error {
	e := &Error{StatusCode: status}
	var outer struct {
		messageBody
		flatBody
	}
	if err := json.Unmarshal(body, &outer); err != nil || !isObject(body) {
		e.Message = cleanMessage(string(body))
	} else if outer.ErrorCode != nil {
		e.fromFlat(&outer.flatBody)
	} else {
		e.fromMessage(outer.messageBody)
	}
	e.complete(header.Get(ErrorCodeHeader))
	return e
}

// fromFlat reads shape (b)'s inside.
func (e *Error) fromFlat(f *flatBody) {
	e.Code = *f.ErrorCode
	e.TrackingID, e.Message = cleanMessage(f.TrackingID), cleanMessage(f.Message)
	e.Timestamp = f.Timestamp
	if isObject(f.Info) && string(f.Info) != "{}" {
		e.Info = f.Info
	}
}

// fromMessage reads shape (a), and shape (b) from its outside.
func (e *Error) fromMessage(m messageBody) {
	var f flatBody
	if strings.HasPrefix(m.Message, "{") && json.Unmarshal([]byte(m.Message), &f) == nil && f.ErrorCode != nil {
		e.fromFlat(&f)
		return
	}
	e.Message = m.Message
	if rest, ok := strings.CutPrefix(m.Message, "ErrorCode:"); ok {
		e.Name, e.Message, _ = strings.Cut(rest, ";")
	}
	tracking, _ := strings.CutPrefix(m.ExceptionMessage, "Tracking ID:")
	e.TrackingID = cleanMessage(strings.TrimSpace(tracking))
	e.Name, e.Message = cleanMessage(strings.TrimSpace(e.Name)), cleanMessage(e.Message)
}

// complete finds the name by the code or the code by the name; the header is
// asked last.
func (e *Error) complete(header string) {
	if e.Name == "" && e.Code != 0 {
		e.Name = e.Code.Name()
	}
	if e.Name == "" {
		e.Name = cleanMessage(header)
	}
	if e.Code == 0 {
		e.Code = CodeByName(e.Name)
	}
}

// cleanMessage makes a server's text fit for one line of a log.
func cleanMessage(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage]
	}
	s = strings.ToValidUTF8(s, "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s))
}
