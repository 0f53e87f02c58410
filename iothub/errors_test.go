package iothub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/iothub"
)

func TestErrorBodiesAreReadInAllShapes(t *testing.T) {
	try := func(status int, header, body string, want iothub.Error) {
		t.Helper()
		h := http.Header{}
		if header != "" {
			h.Set("iothub-errorcode", header)
		}
		want.StatusCode = status
		if diff := cmp.Diff(&want, iothub.ParseError(status, h, []byte(body))); diff != "" {
			t.Errorf("ParseError(%d, %q, %s):\n%s", status, header, body, diff)
		}
	}
	try(409, "", `{"Message":"ErrorCode:DeviceAlreadyExists;A device with ID 'dev1' is already registered.","ExceptionMessage":"Tracking ID:0123-G:11-TimeStamp:07/16/2016 00:12:41"}`,
		iothub.Error{Code: iothub.CodeDeviceAlreadyExists, Name: "DeviceAlreadyExists", Message: "A device with ID 'dev1' is already registered.", TrackingID: "0123-G:11-TimeStamp:07/16/2016 00:12:41"})
	stamp := iothub.Time{Time: time.Date(2024, 1, 2, 3, 4, 5, 123456700, time.UTC)}
	try(404, "DeviceNotOnline", `{"Message":"{\"errorCode\":404103,\"trackingId\":\"t-G:0\",\"message\":\"Timed out waiting for device to connect.\",\"info\":{\"timeout\":\"00:00:00\"},\"timestampUtc\":\"2024-01-02T03:04:05.1234567Z\"}","ExceptionMessage":""}`,
		iothub.Error{Code: iothub.CodeDeviceNotOnline, Name: "DeviceNotOnline", Message: "Timed out waiting for device to connect.", TrackingID: "t-G:0", Info: json.RawMessage(`{"timeout":"00:00:00"}`), Timestamp: stamp})
	try(404, "", `{"errorCode":404103,"trackingId":"t","message":"Device not online.","info":{},"timestampUtc":"2024-01-02T03:04:05.1234567Z"}`,
		iothub.Error{Code: iothub.CodeDeviceNotOnline, Name: "DeviceNotOnline", Message: "Device not online.", TrackingID: "t", Timestamp: stamp})
	try(400, "", `{"Message":"ErrorCode:GenericBadRequest;BadRequest"}`, iothub.Error{Code: iothub.CodeGenericBadRequest, Name: "GenericBadRequest", Message: "BadRequest"})
	try(429, "ThrottlingException", `{"Message":"slow down"}`, iothub.Error{Code: iothub.CodeThrottlingException, Name: "ThrottlingException", Message: "slow down"})
	try(400, "", `{"Message":"ErrorCode:SomethingNew;x"}`, iothub.Error{Name: "SomethingNew", Message: "x"})
	try(400, "", `{"errorCode":400999,"message":"m","timestampUtc":null}`, iothub.Error{Code: 400999, Message: "m"})
	try(400, "", `{"Message":"{not json"}`, iothub.Error{Message: "{not json"})
	try(400, "", `{"Message":"ErrorCode:"}`, iothub.Error{})
	try(503, "", "<html>\n\x1b[31mgone</html>", iothub.Error{Message: "<html>  [31mgone</html>"})
	try(503, "ServerBusy", "", iothub.Error{Code: iothub.CodeServerBusy, Name: "ServerBusy"})
	try(500, "", "null", iothub.Error{Message: "null"})
	try(500, "", `["x"]`, iothub.Error{Message: `["x"]`})
	try(500, "", strings.Repeat("é", 1000), iothub.Error{Message: strings.Repeat("é", 512)})
	try(500, "", `{"errorCode":"404103"}`, iothub.Error{Message: `{"errorCode":"404103"}`})
}

func TestErrorBodiesAreWrittenInTheShapeThatClientsRead(t *testing.T) {
	stamp := iothub.Time{Time: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)}
	try := func(e iothub.Error, want string) {
		t.Helper()
		e.StatusCode, e.Name = e.Code.StatusCode(), e.Code.Name()
		if got := string(e.Body()); got != want {
			t.Errorf("Body of %v\n got %s\nwant %s", &e, got, want)
		}
		got := iothub.ParseError(e.StatusCode, http.Header{}, e.Body())
		if got.Code != e.Code || got.Name != e.Name || got.Message != e.Message || got.TrackingID != e.TrackingID {
			t.Errorf("ParseError(Body of %v) = %v", &e, got)
		}
	}
	try(iothub.Error{Code: iothub.CodeDeviceNotFound, Message: "no; such \"device\"", TrackingID: "t"}, `{"Message":"ErrorCode:DeviceNotFound;no; such \"device\"","ExceptionMessage":"Tracking ID:t"}`)
	try(iothub.Error{Code: iothub.CodePreconditionFailed, Message: "m"}, `{"Message":"ErrorCode:PreconditionFailed;m","ExceptionMessage":""}`)
	try(iothub.Error{Code: iothub.CodeGatewayTimeout, Message: "m", TrackingID: "t", Timestamp: stamp}, `{"Message":"{\"errorCode\":504101,\"trackingId\":\"t\",\"message\":\"m\",\"info\":{},\"timestampUtc\":\"2024-01-02T03:04:05.0000000Z\"}","ExceptionMessage":""}`)
	try(iothub.Error{Code: iothub.CodeDeviceNotOnline, Message: "m", Info: json.RawMessage(`{"timeout":"00:00:00"}`), Timestamp: stamp}, `{"Message":"{\"errorCode\":404103,\"trackingId\":\"\",\"message\":\"m\",\"info\":{\"timeout\":\"00:00:00\"},\"timestampUtc\":\"2024-01-02T03:04:05.0000000Z\"}","ExceptionMessage":""}`)
	flat := (&iothub.Error{Code: iothub.CodeArgumentInvalid, Message: "m", Timestamp: stamp}).FlatBody()
	if want := `{"errorCode":400004,"trackingId":"","message":"m","info":{},"timestampUtc":"2024-01-02T03:04:05.0000000Z"}`; string(flat) != want {
		t.Errorf("FlatBody() = %s, want %s", flat, want)
	}
	if now := (&iothub.Error{Code: iothub.CodeGatewayTimeout}).FlatBody(); strings.Contains(string(now), "0001-01-01") {
		t.Errorf("FlatBody() = %s, which was never", now)
	}
}

func TestCodesHaveNamesAndStatuses(t *testing.T) {
	try := func(code iothub.ErrorCode, name string, status int) {
		t.Helper()
		if code.Name() != name || code.StatusCode() != status {
			t.Errorf("%d is %q, %d, want %q, %d", code, code.Name(), code.StatusCode(), name, status)
		}
		if name != "" && iothub.CodeByName(name) != code {
			t.Errorf("CodeByName(%q) = %d, want %d", name, iothub.CodeByName(name), code)
		}
	}
	try(iothub.CodeDeviceNotOnline, "DeviceNotOnline", 404)
	try(iothub.CodeGatewayTimeout, "GatewayTimeout", 504)
	try(iothub.CodeIotHubUnauthorizedAccess, "IotHubUnauthorizedAccess", 401)
	try(iothub.CodeConnectionForcefullyClosedOnNew, "ConnectionForcefullyClosedOnNewConnection", 400)
	try(iothub.CodeThrottlingMaxActiveJobCountExceeded, "ThrottlingMaxActiveJobCountExceeded", 429)
	try(iothub.ErrorCode(1), "", 500)
	try(iothub.ErrorCode(200000), "", 500)
	if got := iothub.CodeByName("Nothing"); got != 0 {
		t.Errorf("CodeByName(Nothing) = %d, want 0", got)
	}
}

func TestErrorsAreRecognisedByCode(t *testing.T) {
	e := &iothub.Error{StatusCode: 404, Code: iothub.CodeDeviceNotOnline, Name: "DeviceNotOnline", Message: "m", TrackingID: "t"}
	wrapped := fmt.Errorf("call: %w", e)
	if !iothub.HasCode(wrapped, iothub.CodeDeviceNotOnline) || iothub.HasCode(wrapped, iothub.CodeDeviceNotFound) || iothub.HasCode(nil, 0) || iothub.HasCode(errors.New("x"), 0) {
		t.Error("HasCode does not tell codes apart")
	}
	if got, want := e.Error(), "hub answered 404 DeviceNotOnline (404103): m [t]"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
