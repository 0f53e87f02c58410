package hub

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"muster/iothub"
)

// fault makes one of the service's errors.
func fault(code iothub.ErrorCode, message string) *iothub.Error {
	now := time.Now()
	return &iothub.Error{
		StatusCode: code.StatusCode(),
		Code:       code,
		Name:       code.Name(),
		Message:    message,
		TrackingID: trackingID(now),
		Timestamp:  iothub.Time{Time: now},
	}
}

// trackingID returns an id in the form by which the service finds an error in its logs.
func trackingID(now time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:]) + "-G:0-TimeStamp:" + now.UTC().Format("01/02/2006 15:04:05")
}

func errArgument(message string) *iothub.Error { return fault(iothub.CodeArgumentInvalid, message) }

func errBadRequest(message string) *iothub.Error { return fault(iothub.CodeGenericBadRequest, message) }

func errUnsupported(what string) *iothub.Error { return errBadRequest(what + " is not supported.") }

func errJobID() *iothub.Error {
	return errArgument("The job id is not valid: 1 to 64 letters, digits or -.")
}

func errVersion() *iothub.Error {
	return fault(iothub.CodeInvalidProtocolVersion, "The parameter api-version is missing.")
}

func errUnauthorized() *iothub.Error {
	return fault(iothub.CodeIotHubUnauthorizedAccess, "Unauthorized")
}

func errDeviceNotFound(id string) *iothub.Error {
	return fault(iothub.CodeDeviceNotFound, "No device with ID '"+id+"' is registered.")
}

func errDeviceExists(id string) *iothub.Error {
	return fault(iothub.CodeDeviceAlreadyExists, "A device with ID '"+id+"' is already registered.")
}

func errModuleNotFound(id, module string) *iothub.Error {
	return fault(iothub.CodeModuleNotFound, "No module with ID '"+module+"' is registered on device '"+id+"'.")
}

func errModuleExists(id, module string) *iothub.Error {
	return fault(iothub.CodeModuleAlreadyExistsOnDevice, "A module with ID '"+module+"' is already registered on device '"+id+"'.")
}

func errTooManyModules() *iothub.Error {
	return fault(iothub.CodeTooManyModulesOnDevice, fmt.Sprintf("A device may have at most %d modules.", iothub.MaxModules))
}

func errQueueFull() *iothub.Error {
	return fault(iothub.CodeDeviceMaximumQueueDepthExceeded,
		fmt.Sprintf("%d messages wait for the device, which is all that may.", maxQueued))
}

func errTooManyDevices() *iothub.Error {
	return fault(iothub.CodeTooManyDevices, fmt.Sprintf("A request may hold at most %d devices.", iothub.MaxBulk))
}

func errPrecondition(id string) *iothub.Error {
	return fault(iothub.CodePreconditionFailed, "The etag of device '"+id+"' is another one.")
}

// errNotOnline says that a device could not be reached within a connect timeout.
func errNotOnline(timeout time.Duration) *iothub.Error {
	err := fault(iothub.CodeDeviceNotOnline, "Timed out waiting for device to connect.")
	err.Info = timeoutInfo(timeout)
	return err
}

// errNoResponse says that a device did not answer a method in time.
func errNoResponse(timeout time.Duration) *iothub.Error {
	err := fault(iothub.CodeGatewayTimeout, "Timed out waiting for the response from device.")
	err.Info = timeoutInfo(timeout)
	return err
}

func timeoutInfo(d time.Duration) json.RawMessage {
	s := int(d / time.Second)
	return fmt.Appendf(nil, `{"timeout":"%02d:%02d:%02d"}`, s/3600, s/60%60, s%60)
}

// errBadResponse says that a device's answer to a method cannot be passed on.
func errBadResponse(message string) *iothub.Error {
	err := fault(iothub.CodeServerError, message)
	err.StatusCode, err.Code, err.Name = http.StatusBadGateway, 502101, "InvalidResponseWhileProxying"
	return err
}

func errTooManyMethods() *iothub.Error {
	return fault(iothub.CodeDeviceMaximumInflightMethodExceeded,
		fmt.Sprintf("More than %d methods wait for the device.", maxInflight))
}

func errJobExists(id string) *iothub.Error {
	return fault(iothub.CodeJobAlreadyExists, "A job with ID '"+id+"' exists already.")
}

func errJobNotFound(id string) *iothub.Error {
	return fault(iothub.CodeJobNotFound, "There is no job with ID '"+id+"'.")
}

func errJobState(id string, status iothub.JobStatus) *iothub.Error {
	return fault(iothub.CodeOperationNotAllowedInCurrentState,
		"The job '"+id+"' cannot be cancelled, it is "+string(status)+".")
}

// errWindowOver says that a job's maxExecutionTimeInSeconds passed before an execution was dispatched.
func errWindowOver() *iothub.Error {
	return fault(iothub.CodeGenericTimeout, "The job's maximum execution time passed before it reached the device.")
}

func errTooLarge(message string) *iothub.Error { return fault(iothub.CodeMessageTooLarge, message) }

func errServer(message string) *iothub.Error { return fault(iothub.CodeServerError, message) }

func errClosed() *iothub.Error { return fault(iothub.CodeServiceUnavailable, "The hub is closed.") }
