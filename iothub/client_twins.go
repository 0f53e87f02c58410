package iothub

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// hasStatus reports whether err is a refusal with an HTTP status.
func hasStatus(err error, status int) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.StatusCode == status
}

// Twin reads a device's twin.
func (c *Client) Twin(ctx context.Context, id string) (Twin, error) {
	return c.twin(ctx, call{doing: "read twin " + id, method: http.MethodGet, repeat: always}, id)
}

// PatchTwin merges a patch into a twin whose etag is given; "" and "*" stand
// for any. NewTwinPatch makes patches. Only with any etag is it repeated after
// more than a 429.
func (c *Client) PatchTwin(ctx context.Context, id string, patch json.RawMessage, etag string) (Twin, error) {
	k := call{doing: "patch twin " + id, method: http.MethodPatch, body: patch}
	return c.twin(ctx, k.matching(etag), id)
}

// ReplaceTwin replaces the tags and the desired properties of a twin by those
// that are given. The etag and the retries are those of PatchTwin.
func (c *Client) ReplaceTwin(ctx context.Context, id string, twin json.RawMessage, etag string) (Twin, error) {
	k := call{doing: "replace twin " + id, method: http.MethodPut, body: twin}
	return c.twin(ctx, k.matching(etag), id)
}

func (c *Client) twin(ctx context.Context, k call, id string) (Twin, error) {
	return c.sendTwin(ctx, k.on("/twins/", id, ""))
}

// sendTwin makes a call that is answered with a twin.
func (c *Client) sendTwin(ctx context.Context, k call) (Twin, error) {
	var t Twin
	k.read = into(&t)
	_, err := c.do(ctx, k)
	return t, err
}

// InvokeMethod calls a direct method and waits for the device's answer. It is
// repeated after a 429 alone, which the hub sends in place of calling the
// device: after anything else the device may have done what it was told. That
// the device answered is success, whatever status it answered with.
func (c *Client) InvokeMethod(ctx context.Context, id string, m Method) (MethodResult, error) {
	k := call{doing: "invoke method on " + id}
	return c.invoke(ctx, k.on("/twins/", id, "/methods"), m)
}

// invoke calls a method by a call that says on whom.
func (c *Client) invoke(ctx context.Context, k call, m Method) (MethodResult, error) {
	var result MethodResult
	body, err := m.appendJSON(make([]byte, 0, 128+len(m.MethodName)+len(m.Payload)))
	if err != nil {
		return result, err
	}
	k.method, k.body, k.repeat = http.MethodPost, body, onThrottle
	k.longer = m.ResponseTimeout() + m.ConnectTimeout()
	k.read = func(_ http.Header, body []byte) error { return result.read(body) }
	_, err = c.do(ctx, k)
	return result, err
}

var errPayload = errors.New("invoke method: payload is not JSON")

// appendJSON writes the call as encoding/json would, in a fraction of the time.
func (m *Method) appendJSON(dst []byte) ([]byte, error) {
	dst = append(appendText(append(dst, `{"methodName":`...), m.MethodName), `,"payload":`...)
	switch {
	case len(m.Payload) == 0:
		dst = append(dst, "null"...)
	case !valid(m.Payload):
		return nil, errPayload
	default:
		dst = append(dst, m.Payload...)
	}
	dst = append(dst, `,"responseTimeoutInSeconds":`...)
	dst = strconv.AppendInt(dst, int64(m.ResponseTimeout().Seconds()), 10)
	dst = append(dst, `,"connectTimeoutInSeconds":`...)
	dst = strconv.AppendInt(dst, int64(m.ConnectTimeout().Seconds()), 10)
	return append(dst, '}'), nil
}

// appendText appends a JSON string.
func appendText(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if b := s[i]; b < ' ' || b == '"' || b == '\\' || b >= 0x7f {
			return append(dst, marshal(s)...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

var errResult = errors.New("not a method's result")

// read decodes an answer without reflection; the payload is a copy.
func (r *MethodResult) read(body []byte) error {
	if !valid(body) || !isObject(body) {
		return errResult
	}
	for m := membersOf(body); ; {
		key, value, ok := m.next()
		if !ok {
			return nil
		}
		switch string(text(key)) {
		case "status":
			status, err := strconv.ParseInt(string(value), 10, 64)
			if err != nil {
				return errResult
			}
			r.Status = int(status)
		case "payload":
			r.Payload = append(json.RawMessage(nil), value...)
		}
	}
}
