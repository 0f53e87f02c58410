package hub

import (
	"crypto/rand"
	"net"
	"strings"
	"time"

	"muster/internal/mqtt"
	"muster/iothub"
)

// permission is what a shared access policy allows, as bits.
type permission uint8

const (
	registryRead permission = 1 << iota
	registryWrite
	serviceConnect
	deviceConnect
)

// policy is a shared access policy. The service gives each two keys; tokens of either are accepted.
type policy struct {
	allows permission
	key    iothub.Key
}

// policies are the hub's policies by name: those that the service gives every hub.
type policies map[string]policy

const ownerPolicy = "iothubowner"

func newPolicies(owner iothub.Key) policies {
	return policies{
		ownerPolicy:         {registryRead | registryWrite | serviceConnect | deviceConnect, owner},
		"service":           {serviceConnect, newKey()},
		"device":            {deviceConnect, newKey()},
		"registryRead":      {registryRead, newKey()},
		"registryReadWrite": {registryRead | registryWrite, newKey()},
	}
}

// newKey returns a random key of the usual size.
func newKey() iothub.Key {
	key := make(iothub.Key, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

// ConnectionString returns the service's connection string, of the policy iothubowner, which may do everything.
func (h *Hub) ConnectionString() iothub.ConnectionString {
	cs, _ := h.PolicyConnectionString(ownerPolicy)
	return cs
}

// PolicyConnectionString returns the connection string of one of the policies iothubowner, service, device,
// registryRead and registryReadWrite.
func (h *Hub) PolicyConnectionString(name string) (cs iothub.ConnectionString, ok bool) {
	p, ok := h.policies[name]
	if !ok {
		return iothub.ConnectionString{}, false
	}
	return iothub.ConnectionString{HostName: h.host, SharedAccessKeyName: name, SharedAccessKey: p.key}, true
}

// clientID returns the client id of a device, or of its module.
func clientID(id, module string) string {
	if module == "" {
		return id
	}
	return iothub.ModuleClientID(id, module)
}

// authenticate returns the device or module that a CONNECT names and proves to be, and when the proof expires, if it does;
// or why not. Without a password the proof is the certificate that the peer showed.
func (h *Hub) authenticate(p mqtt.Connect, peer net.Conn, now time.Time) (d *device, expiry time.Time, why string) {
	host, id, module, ok := iothub.ParseUsername(lent(p.Username))
	switch {
	case !ok:
		return nil, expiry, "malformed user name"
	case string(p.ClientID) != clientID(id, module):
		return nil, expiry, "client id and user name disagree"
	case !h.isHost(host):
		return nil, expiry, "user name of another hub"
	}
	if d = h.registry.find(clientID(id, module)); d == nil {
		return nil, expiry, "unknown device"
	}
	if len(p.Password) == 0 {
		return d, expiry, h.checkCertificate(d, peer, now)
	}
	token, err := iothub.ParseToken(lent(p.Password))
	if err != nil {
		return nil, expiry, "no token as password"
	}
	if why = h.checkDeviceToken(d, token, now); why != "" {
		return nil, expiry, why
	}
	return d, token.Expiry, ""
}

// checkDeviceToken returns why a token does not prove to be this device, or nothing. A policy's token may be for more than
// a module, such as its device; the module's own may not.
func (h *Hub) checkDeviceToken(d *device, token iothub.Token, now time.Time) string {
	switch {
	case !token.Expiry.After(now):
		return "token expired"
	case !h.covers(token, d):
		return "token of another resource"
	case d.isModule() && token.Policy == "" && !names(token, d):
		return "a module's own token with a wider scope"
	}
	if token.Policy != "" {
		p, ok := h.policies[token.Policy]
		if !ok || p.allows&deviceConnect == 0 || !token.SignedBy(p.key) {
			return "token not signed by a policy that may connect devices"
		}
		return ""
	}
	d.mu.Lock()
	disabled, auth, primary, secondary := d.identity.disabled, d.identity.auth, d.identity.primary, d.identity.secondary
	d.mu.Unlock()
	switch {
	case disabled:
		return "device disabled"
	case auth != iothub.AuthenticationSAS:
		return "token of a device that has no keys"
	case !token.SignedBy(primary) && !token.SignedBy(secondary):
		return "token not signed by the device's keys"
	}
	return ""
}

// pass is what an Authorization header proves: some permissions, until it expires. What it is signed by does not change
// while the hub runs.
type pass struct {
	header string
	allows permission
	expiry time.Time
}

// proves says whether a pass is still good for what is needed.
func (p pass) proves(need permission, now time.Time) bool {
	return p.expiry.After(now) && p.allows&need == need
}

// authorize returns what a request's Authorization header proves; a bad one is a pass for nothing.
func (h *Hub) authorize(header string) (nothing pass) {
	token, err := iothub.ParseToken(header)
	if err != nil || !h.covers(token, nil) {
		return nothing
	}
	p, ok := h.policies[token.Policy]
	if !ok || !token.SignedBy(p.key) {
		return nothing
	}
	return pass{header, p.allows, token.Expiry}
}

// admit returns whether a request's Authorization header proves these permissions. A connection that has shown a good one
// shows the same with its next requests, as a rule.
func (h *Hub) admit(g *guest, header string, need permission, now time.Time) bool {
	p := g.shown
	if header != p.header {
		p = h.authorize(header)
	}
	if !p.proves(need, now) {
		return false
	}
	g.shown = p
	h.strangers.authorized(g)
	return true
}

// covers says whether a token's scope holds the hub (nil), or one device or module of it. The scope's host may carry a
// port: clients that were given one put it there.
func (h *Hub) covers(token iothub.Token, d *device) bool {
	host, _, _ := strings.Cut(token.Resource, "/")
	switch {
	case !h.isHost(host):
		return false
	case d == nil:
		return token.Covers(host)
	}
	return token.Covers(d.resource(host))
}

// names says whether a token's scope is this device or module alone, on whatever host.
func names(token iothub.Token, d *device) bool {
	host, _, _ := strings.Cut(token.Resource, "/")
	return strings.TrimSuffix(token.Resource, "/") == d.resource(host)
}

// isHost says whether a name is the hub's, whatever the port and the letters' case.
func (h *Hub) isHost(name string) bool {
	return strings.EqualFold(withoutPort(name), withoutPort(h.host))
}

func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return host[:i]
	}
	return host
}
