package iothub

import (
	"context"
	"encoding/json"
	"net/http"
)

// onModule adds the path of a module, below prefix, and a fixed rest.
func (k call) onModule(prefix, deviceID, moduleID, rest string) call {
	return k.on(prefix, deviceID, "/modules").on("/", moduleID, rest)
}

// CreateModule creates the identity of a module on a device that exists, and
// returns it as the hub keeps it, with the keys that the hub made if none were
// given. It is repeated after a 429 alone.
func (c *Client) CreateModule(ctx context.Context, m Module) (Module, error) {
	var created Module
	k := call{doing: "create module " + m.name(), method: http.MethodPut, body: marshal(m), repeat: onThrottle, read: into(&created)}
	_, err := c.do(ctx, k.onModule("/devices/", m.DeviceID, m.ModuleID, ""))
	return created, err
}

// UpdateModule changes an identity whose etag is given; "" and "*" stand for
// any. Only with any etag is it repeated after more than a 429.
func (c *Client) UpdateModule(ctx context.Context, m Module, etag string) (Module, error) {
	var updated Module
	k := call{doing: "update module " + m.name(), method: http.MethodPut, body: marshal(m), read: into(&updated)}
	_, err := c.do(ctx, k.matching(etag).onModule("/devices/", m.DeviceID, m.ModuleID, ""))
	return updated, err
}

// Module reads an identity.
func (c *Client) Module(ctx context.Context, deviceID, moduleID string) (Module, error) {
	var m Module
	k := call{doing: "read module " + moduleName(deviceID, moduleID), method: http.MethodGet, repeat: always, read: into(&m)}
	_, err := c.do(ctx, k.onModule("/devices/", deviceID, moduleID, ""))
	return m, err
}

// Modules lists the identities of a device's modules.
func (c *Client) Modules(ctx context.Context, deviceID string) ([]Module, error) {
	var modules []Module
	k := call{doing: "list modules of " + deviceID, method: http.MethodGet, repeat: always, read: into(&modules)}
	_, err := c.do(ctx, k.on("/devices/", deviceID, "/modules"))
	return modules, err
}

// DeleteModule deletes an identity whose etag is given; "" and "*" stand for
// any. A module that is gone when the request was repeated has been deleted by
// it.
func (c *Client) DeleteModule(ctx context.Context, deviceID, moduleID, etag string) error {
	k := call{doing: "delete module " + moduleName(deviceID, moduleID), method: http.MethodDelete}
	repeated, err := c.do(ctx, k.matching(etag).onModule("/devices/", deviceID, moduleID, ""))
	if repeated && hasStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// ModuleTwin reads a module's twin.
func (c *Client) ModuleTwin(ctx context.Context, deviceID, moduleID string) (Twin, error) {
	k := call{doing: "read twin " + moduleName(deviceID, moduleID), method: http.MethodGet, repeat: always}
	return c.sendTwin(ctx, k.onModule("/twins/", deviceID, moduleID, ""))
}

// PatchModuleTwin is PatchTwin for a module's twin.
func (c *Client) PatchModuleTwin(ctx context.Context, deviceID, moduleID string, patch json.RawMessage, etag string) (Twin, error) {
	k := call{doing: "patch twin " + moduleName(deviceID, moduleID), method: http.MethodPatch, body: patch}
	return c.sendTwin(ctx, k.matching(etag).onModule("/twins/", deviceID, moduleID, ""))
}

// ReplaceModuleTwin is ReplaceTwin for a module's twin.
func (c *Client) ReplaceModuleTwin(ctx context.Context, deviceID, moduleID string, twin json.RawMessage, etag string) (Twin, error) {
	k := call{doing: "replace twin " + moduleName(deviceID, moduleID), method: http.MethodPut, body: twin}
	return c.sendTwin(ctx, k.matching(etag).onModule("/twins/", deviceID, moduleID, ""))
}

// InvokeModuleMethod is InvokeMethod for a method of a module.
func (c *Client) InvokeModuleMethod(ctx context.Context, deviceID, moduleID string, m Method) (MethodResult, error) {
	k := call{doing: "invoke method on " + moduleName(deviceID, moduleID)}
	return c.invoke(ctx, k.onModule("/twins/", deviceID, moduleID, "/methods"), m)
}

// PurgeMessages drops the cloud-to-device messages that wait for a device, and
// returns how many there were.
func (c *Client) PurgeMessages(ctx context.Context, deviceID string) (int, error) {
	var purged PurgeResult
	k := call{doing: "purge messages of " + deviceID, method: http.MethodDelete, repeat: onThrottle, read: into(&purged)}
	_, err := c.do(ctx, k.on("/devices/", deviceID, "/commands"))
	return purged.TotalMessagesPurged, err
}
