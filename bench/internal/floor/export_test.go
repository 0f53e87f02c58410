package floor

import (
	"net/http"
	"time"

	"muster/iothub"
)

// The exchange's parts, for tests that hold them to what muster says.
const (
	Method     = method
	Request    = request
	Response   = response
	CallBody   = callBody
	CallResult = callResult
	CallQuery  = callQuery
)

// CallPath and DeviceID are those of calls and connections.
var (
	CallPath = callPath
	DeviceID = deviceID
)

// CallHeader is the header of a Caller's requests.
func CallHeader() http.Header { return NewCaller("", 0, nil).header }

// NewExchangeOf is NewExchange with a token of a device's own.
func NewExchangeOf(key iothub.Key, expires time.Time) (*Exchange, error) {
	return newExchange(iothub.NewToken(iothub.DeviceResource(hostName, deviceID(0)), key, "", expires))
}
