package iothub

import "net/http"

// ErrorCode is the service's own number of a fault. Its first three digits are
// mostly the HTTP status.
type ErrorCode int

// The codes of the service.
const (
	CodeGenericBadRequest                   ErrorCode = 400000
	CodeInvalidProtocolVersion              ErrorCode = 400001
	CodeArgumentInvalid                     ErrorCode = 400004
	CodeArgumentNull                        ErrorCode = 400005
	CodeIotHubFormatError                   ErrorCode = 400006
	CodeDeviceDefinedMultipleTimes          ErrorCode = 400011
	CodeBulkRegistryOperationFailure        ErrorCode = 400013
	CodeConnectionForcefullyClosedOnNew     ErrorCode = 400027 // only in the service's log
	CodeIotHubUnauthorizedAccess            ErrorCode = 401002
	CodeIotHubUnauthorized                  ErrorCode = 401003
	CodeIotHubQuotaExceeded                 ErrorCode = 403002
	CodeJobQuotaExceeded                    ErrorCode = 403003
	CodeDeviceMaximumQueueDepthExceeded     ErrorCode = 403004
	CodeOperationNotAllowedForTier          ErrorCode = 403010
	CodeDeviceDisabled                      ErrorCode = 403012
	CodeDeviceMaximumInflightMethodExceeded ErrorCode = 403800
	CodeDeviceNotFound                      ErrorCode = 404001
	CodeJobNotFound                         ErrorCode = 404002
	CodeModuleNotFound                      ErrorCode = 404010
	CodeDeviceNotOnline                     ErrorCode = 404103 // a method's target is not connected, or not subscribed
	CodeDeviceConnectionClosedRemotely      ErrorCode = 404104 // only in the service's log
	CodeOperationNotAllowedInCurrentState   ErrorCode = 405102
	CodeDeviceAlreadyExists                 ErrorCode = 409001
	CodeLinkCreationConflict                ErrorCode = 409002 // only in the service's log
	CodeDeviceJobAlreadyExists              ErrorCode = 409103
	CodeJobAlreadyExists                    ErrorCode = 409104
	CodeModuleAlreadyExistsOnDevice         ErrorCode = 409301
	CodePreconditionFailed                  ErrorCode = 412001
	CodeJobRunPreconditionFailed            ErrorCode = 412003
	CodeMessageTooLarge                     ErrorCode = 413001
	CodeTooManyDevices                      ErrorCode = 413002
	CodeTooManyModulesOnDevice              ErrorCode = 413003
	CodeGenericTooManyRequests              ErrorCode = 429000
	CodeThrottlingException                 ErrorCode = 429001
	CodeThrottleBacklogLimitExceeded        ErrorCode = 429002
	CodeThrottlingBacklogTimeout            ErrorCode = 429003
	CodeThrottlingMaxActiveJobCountExceeded ErrorCode = 429004
	CodeDeviceThrottlingLimitExceeded       ErrorCode = 429005
	CodeServerError                         ErrorCode = 500001
	CodeGenericTimeout                      ErrorCode = 500008
	CodeServiceUnavailable                  ErrorCode = 503001
	CodeServerBusy                          ErrorCode = 503005
	CodeDeviceUnavailable                   ErrorCode = 503102
	CodeGatewayTimeout                      ErrorCode = 504101 // a connected device did not answer a method in time
)

// codes names each code. It is never written to.
var codes = [...]struct {
	code ErrorCode
	name string
}{
	{CodeGenericBadRequest, "GenericBadRequest"},
	{CodeInvalidProtocolVersion, "InvalidProtocolVersion"},
	{CodeArgumentInvalid, "ArgumentInvalid"},
	{CodeArgumentNull, "ArgumentNull"},
	{CodeIotHubFormatError, "IotHubFormatError"},
	{CodeDeviceDefinedMultipleTimes, "DeviceDefinedMultipleTimes"},
	{CodeBulkRegistryOperationFailure, "BulkRegistryOperationFailure"},
	{CodeConnectionForcefullyClosedOnNew, "ConnectionForcefullyClosedOnNewConnection"},
	{CodeIotHubUnauthorizedAccess, "IotHubUnauthorizedAccess"},
	{CodeIotHubUnauthorized, "IotHubUnauthorized"},
	{CodeIotHubQuotaExceeded, "IotHubQuotaExceeded"},
	{CodeJobQuotaExceeded, "JobQuotaExceeded"},
	{CodeDeviceMaximumQueueDepthExceeded, "DeviceMaximumQueueDepthExceeded"},
	{CodeOperationNotAllowedForTier, "OperationNotAllowedForTier"},
	{CodeDeviceDisabled, "DeviceDisabled"},
	{CodeDeviceMaximumInflightMethodExceeded, "DeviceMaximumInflightMethodExceeded"},
	{CodeDeviceNotFound, "DeviceNotFound"},
	{CodeJobNotFound, "JobNotFound"},
	{CodeModuleNotFound, "ModuleNotFound"},
	{CodeDeviceNotOnline, "DeviceNotOnline"},
	{CodeDeviceConnectionClosedRemotely, "DeviceConnectionClosedRemotely"},
	{CodeOperationNotAllowedInCurrentState, "OperationNotAllowedInCurrentState"},
	{CodeDeviceAlreadyExists, "DeviceAlreadyExists"},
	{CodeLinkCreationConflict, "LinkCreationConflict"},
	{CodeDeviceJobAlreadyExists, "DeviceJobAlreadyExists"},
	{CodeJobAlreadyExists, "JobAlreadyExists"},
	{CodeModuleAlreadyExistsOnDevice, "ModuleAlreadyExistsOnDevice"},
	{CodePreconditionFailed, "PreconditionFailed"},
	{CodeJobRunPreconditionFailed, "JobRunPreconditionFailed"},
	{CodeMessageTooLarge, "MessageTooLarge"},
	{CodeTooManyDevices, "TooManyDevices"},
	{CodeTooManyModulesOnDevice, "TooManyModulesOnDevice"},
	{CodeGenericTooManyRequests, "GenericTooManyRequests"},
	{CodeThrottlingException, "ThrottlingException"},
	{CodeThrottleBacklogLimitExceeded, "ThrottleBacklogLimitExceeded"},
	{CodeThrottlingBacklogTimeout, "ThrottlingBacklogTimeout"},
	{CodeThrottlingMaxActiveJobCountExceeded, "ThrottlingMaxActiveJobCountExceeded"},
	{CodeDeviceThrottlingLimitExceeded, "DeviceThrottlingLimitExceeded"},
	{CodeServerError, "ServerError"},
	{CodeGenericTimeout, "GenericTimeout"},
	{CodeServiceUnavailable, "ServiceUnavailable"},
	{CodeServerBusy, "ServerBusy"},
	{CodeDeviceUnavailable, "DeviceUnavailable"},
	{CodeGatewayTimeout, "GatewayTimeout"},
}

// Name returns the code's name, as error bodies, device job rows and the header
// iothub-errorcode hold it. It is empty for a code that is not known.
func (c ErrorCode) Name() string {
	for i := range codes {
		if codes[i].code == c {
			return codes[i].name
		}
	}
	return ""
}

// StatusCode returns the HTTP status that goes with the code.
func (c ErrorCode) StatusCode() int {
	if status := int(c) / 1000; http.StatusText(status) != "" && status >= 400 {
		return status
	}
	return http.StatusInternalServerError
}

// CodeByName returns the code of a name, 0 if it is not known.
func CodeByName(name string) ErrorCode {
	for i := range codes {
		if codes[i].name == name {
			return codes[i].code
		}
	}
	return 0
}
