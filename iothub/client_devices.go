package iothub

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// into returns a reader of answers that decodes JSON into v.
func into(v any) func(http.Header, []byte) error {
	return func(_ http.Header, body []byte) error { return json.Unmarshal(body, v) }
}

// unwatched returns a context for the calls that a call makes besides itself.
func unwatched(ctx context.Context) context.Context { return WithTrace(ctx, nil) }

// CreateDevice creates an identity and returns it as the hub keeps it, with
// the keys that the hub made if none were given.
//
// A create is repeated after a 500, a 503 or a broken connection only if the
// device brings its own credentials: both keys, or a type of certificates. If
// the hub then says that the device exists, and it has these credentials, that
// is success. Without credentials it is repeated after a 429 alone, for
// nothing would tell a repeated create from somebody else's.
func (c *Client) CreateDevice(ctx context.Context, d Device) (Device, error) {
	var created Device
	k := call{doing: "create device " + d.DeviceID, method: http.MethodPut, body: marshal(d), read: into(&created)}
	if ownCredentials(d.Authentication) {
		k.repeat = always
	}
	repeated, err := c.do(ctx, k.on("/devices/", d.DeviceID, ""))
	if repeated && conflict(err) && c.hasCredentials(ctx, d.DeviceID, d.Authentication, &created) {
		return created, nil
	}
	return created, err
}

// conflict reports whether err is a refusal because something exists.
func conflict(err error) bool { return hasStatus(err, http.StatusConflict) }

// ownCredentials reports whether nothing is left for the hub to make.
func ownCredentials(a *Authentication) bool {
	if a == nil {
		return false
	}
	keys := len(a.SymmetricKey.Primary) > 0 && len(a.SymmetricKey.Secondary) > 0
	return keys || a.Type != "" && a.Type != AuthenticationSAS
}

// hasCredentials reads a device and reports whether it has the credentials.
func (c *Client) hasCredentials(ctx context.Context, id string, a *Authentication, found *Device) bool {
	d, err := c.Device(unwatched(ctx), id)
	if err != nil || d.Authentication == nil {
		return false
	}
	*found = d
	b := d.Authentication
	return bytes.Equal(a.SymmetricKey.Primary, b.SymmetricKey.Primary) &&
		bytes.Equal(a.SymmetricKey.Secondary, b.SymmetricKey.Secondary) &&
		sameText(a.X509Thumbprint.Primary, b.X509Thumbprint.Primary) &&
		sameText(a.X509Thumbprint.Secondary, b.X509Thumbprint.Secondary)
}

func sameText(a, b *string) bool {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	return strings.EqualFold(text(a), text(b))
}

// UpdateDevice changes an identity whose etag is given; "" and "*" stand for
// any. Only with any etag is it repeated after more than a 429.
func (c *Client) UpdateDevice(ctx context.Context, d Device, etag string) (Device, error) {
	var updated Device
	k := call{doing: "update device " + d.DeviceID, method: http.MethodPut, body: marshal(d), read: into(&updated)}
	_, err := c.do(ctx, k.matching(etag).on("/devices/", d.DeviceID, ""))
	return updated, err
}

// matching sets the etag of a change and whether it may be repeated: with any
// etag, twice does the same as once.
func (k call) matching(etag string) call {
	if etag == "" {
		etag = "*"
	}
	k.ifMatch = etag
	if etag == "*" {
		k.repeat = always
	}
	return k
}

// Device reads an identity.
func (c *Client) Device(ctx context.Context, id string) (Device, error) {
	var d Device
	k := call{doing: "read device " + id, method: http.MethodGet, repeat: always, read: into(&d)}
	_, err := c.do(ctx, k.on("/devices/", id, ""))
	return d, err
}

// DeleteDevice deletes an identity whose etag is given; "" and "*" stand for
// any. A device that is gone when the request was repeated has been deleted by
// it.
func (c *Client) DeleteDevice(ctx context.Context, id, etag string) error {
	k := call{doing: "delete device " + id, method: http.MethodDelete}
	repeated, err := c.do(ctx, k.matching(etag).on("/devices/", id, ""))
	if repeated && hasStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// Devices lists identities, in no order: at most top of them, 1 to 1000, which
// is also what 0 stands for. For more, or for some of them, use Query.
func (c *Client) Devices(ctx context.Context, top int) ([]Device, error) {
	var devices []Device
	k := call{doing: "list devices", method: http.MethodGet, path: "/devices", repeat: always, read: into(&devices)}
	if top > 0 {
		k.query = "&top=" + strconv.Itoa(top)
	}
	_, err := c.do(ctx, k)
	return devices, err
}

// DeviceStatistics counts the hub's identities.
func (c *Client) DeviceStatistics(ctx context.Context) (DeviceStatistics, error) {
	var s DeviceStatistics
	_, err := c.do(ctx, call{doing: "read device statistics", method: http.MethodGet, path: "/statistics/devices", repeat: always, read: into(&s)})
	return s, err
}

// ServiceStatistics counts the hub's connections.
func (c *Client) ServiceStatistics(ctx context.Context) (ServiceStatistics, error) {
	var s ServiceStatistics
	_, err := c.do(ctx, call{doing: "read service statistics", method: http.MethodGet, path: "/statistics/service", repeat: always, read: into(&s)})
	return s, err
}

// Bulk makes up to MaxBulk changes to the identity registry. Entries that the
// hub refuses are in the result, which is then not successful; the error is
// nil.
//
// The call is repeated after more than a 429 only if each of its entries may
// be: updates and deletes with any etag, creates that bring their credentials.
// What a repeated call finds done already (a device that exists with these
// credentials, one to delete that is gone) is not an error of its result.
func (c *Client) Bulk(ctx context.Context, entries []BulkEntry) (BulkResult, error) {
	var result BulkResult
	if len(entries) == 0 || len(entries) > MaxBulk {
		return result, fmt.Errorf("change devices: %d entries, not from 1 to %d", len(entries), MaxBulk)
	}
	k := call{doing: "change " + strconv.Itoa(len(entries)) + " devices", method: http.MethodPost, path: "/devices", repeat: always}
	for i := range entries {
		if !entries[i].repeatable() {
			k.repeat = onThrottle
		}
	}
	k.body = marshal(entries)
	k.accepts = isBulkResult
	k.read = into(&result)
	repeated, err := c.do(ctx, k)
	if err == nil && repeated && !result.IsSuccessful {
		c.forgive(ctx, entries, &result)
	}
	return result, err
}

// isBulkResult reports whether a 400 holds a result, not an error.
func isBulkResult(status int, body []byte) bool {
	var shape struct {
		IsSuccessful *bool `json:"isSuccessful"`
	}
	return status == http.StatusBadRequest && json.Unmarshal(body, &shape) == nil && shape.IsSuccessful != nil
}

// repeatable reports whether making the entry twice does the same as once.
func (e *BulkEntry) repeatable() bool {
	switch strings.ToLower(e.ImportMode) {
	case "update", "updatetwin", "delete":
		return true
	case "create", "createorupdate":
		return e.ModuleID == "" && ownCredentials(e.Authentication)
	}
	return false
}

// forgive drops the errors of a repeated call that its own earlier attempt
// explains.
func (c *Client) forgive(ctx context.Context, entries []BulkEntry, result *BulkResult) {
	byName := make(map[string]*BulkEntry, len(entries))
	for i := range entries {
		byName[moduleName(entries[i].ID, entries[i].ModuleID)] = &entries[i]
	}
	kept := result.Errors[:0]
	for _, fault := range result.Errors {
		module := ""
		if fault.ModuleID != nil {
			module = *fault.ModuleID
		}
		if e := byName[moduleName(fault.DeviceID, module)]; e == nil || !c.done(ctx, e, fault.ErrorCode) {
			kept = append(kept, fault)
		}
	}
	result.Errors = kept
	result.IsSuccessful = len(kept) == 0
}

// done reports whether an entry was refused because it had been carried out.
func (c *Client) done(ctx context.Context, e *BulkEntry, code string) bool {
	var found Device
	switch strings.ToLower(e.ImportMode) {
	case "create":
		return code == CodeDeviceAlreadyExists.Name() && c.hasCredentials(ctx, e.ID, e.Authentication, &found)
	case "delete":
		return code == CodeDeviceNotFound.Name() || code == CodeModuleNotFound.Name()
	}
	return false
}
