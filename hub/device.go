package hub

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"sync"
	"sync/atomic"

	"muster/internal/query"
	"muster/iothub"
)

// What a device can subscribe to, as bits of device.subs. Two devices never share a topic, so that is all there is.
const (
	subMethods uint8 = 1 << iota
	subTwin
	subDesired
	subDeviceBound
)

// device is one identity with its twin, its MQTT session and the direct methods on their way to it.
type device struct {
	id      string
	seq     uint64 // order of registration, set by registry.add
	created int64  // Unix time in ns

	gone   atomic.Bool  // deleted; set under mu
	active atomic.Int64 // when the device last did something, Unix time in ns

	mu       sync.Mutex // guards the fields below; a conn's or the timers' lock may be taken inside
	identity identity
	tags     []byte // a JSON object, replaced and never changed
	desired  section
	reported section
	version  int64 // of tags and desired together; the twin's etag is made of it

	conn    *conn // nil = offline
	subs    uint8
	session bool // subs outlive the connection

	rid     uint32  // of the last method request; goes on over connections, so that late answers find nothing
	pending []*call // sent, unanswered
	waiting []*call // for the device to connect and subscribe, or for room on its connection
}

// identity is what the registry keeps about a device beside its twin.
type identity struct {
	etag               uint64
	disabled           bool
	reason             string
	primary, secondary iothub.Key
	statusAt, connAt   int64 // when status and connection state changed, Unix time in ns; 0 = never
}

func (d *device) isGone() bool { return d.gone.Load() }

// reachableLocked says whether a method request can be sent.
func (d *device) reachableLocked() bool { return d.conn != nil && d.subs&subMethods != 0 }

func (d *device) connectionStateLocked() string {
	if d.conn != nil {
		return "Connected"
	}
	return "Disconnected"
}

func (d *device) statusLocked() string {
	if d.identity.disabled {
		return "disabled"
	}
	return "enabled"
}

// generation identifies this incarnation of the device id: 100 ns ticks since the year 1, as the service writes it.
func (d *device) generation() string {
	const ticksTo1970 = 621355968000000000
	return strconv.FormatInt(d.created/100+ticksTo1970, 10)
}

// twinETag returns the twin's etag without quotes: eight bytes of a counter.
func (d *device) twinETagLocked() string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(d.version)))
}

// deviceETag returns the identity's etag without quotes: a number in base64.
func (d *device) deviceETagLocked() string {
	return base64.StdEncoding.EncodeToString(strconv.AppendUint(nil, d.identity.etag, 10))
}

// appendTwinLocked appends the twin as its device sees it.
func (d *device) appendTwinLocked(dst []byte) []byte {
	dst = d.desired.appendDevice(append(dst, `{"desired":`...))
	dst = d.reported.appendDevice(append(dst, `,"reported":`...))
	return append(dst, '}')
}

// appendServiceTwin appends the twin as the service shows it.
func (d *device) appendServiceTwin(dst []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	dst = append(append(append(dst, `{"deviceId":"`...), d.id...), // an id has nothing to escape
		`","etag":"`...)
	dst = append(append(append(dst, d.twinETagLocked()...), `","deviceEtag":"`...), d.deviceETagLocked()...)
	dst = append(append(append(dst, `","status":"`...), d.statusLocked()...), `","statusReason":`...)
	dst = appendString(dst, d.identity.reason)
	dst = appendNanos(append(dst, `,"statusUpdateTime":`...), d.identity.statusAt)
	dst = append(append(append(dst, `,"connectionState":"`...), d.connectionStateLocked()...), `","lastActivityTime":`...)
	dst = appendNanos(dst, d.active.Load())
	dst = append(dst, `,"cloudToDeviceMessageCount":0,"authenticationType":"sas",`+
		`"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"modelId":"","version":`...)
	dst = append(strconv.AppendInt(dst, d.version, 10), `,"tags":`...)
	dst = append(append(dst, d.tags...), `,"properties":{"desired":`...)
	dst = append(d.desired.appendService(dst), `,"reported":`...)
	return append(d.reported.appendService(dst), `},"capabilities":{"iotEdge":false}}`...)
}

// twinRow is a device as a row of "devices", to be used under the device's lock.
type twinRow device

// Value returns the attribute of that path.
func (r *twinRow) Value(path []string) query.Value {
	d := (*device)(r)
	if len(path) == 0 {
		return query.Value{}
	}
	if len(path) > 1 {
		return d.nestedLocked(path)
	}
	switch path[0] {
	case "deviceId":
		return query.String(d.id)
	case "status":
		return query.String(d.statusLocked())
	case "statusReason":
		return query.String(d.identity.reason)
	case "connectionState":
		return query.String(d.connectionStateLocked())
	case "authenticationType":
		return query.String("sas")
	case "etag":
		return query.String(d.twinETagLocked())
	case "deviceEtag":
		return query.String(d.deviceETagLocked())
	case "version":
		return query.Number(float64(d.version))
	case "lastActivityTime":
		return timeValue(d.active.Load())
	case "statusUpdateTime":
		return timeValue(d.identity.statusAt)
	case "cloudToDeviceMessageCount":
		return query.Number(0)
	case "tags", "properties", "capabilities":
		return query.Object()
	}
	return query.Value{}
}

func (d *device) nestedLocked(path []string) query.Value {
	switch path[0] {
	case "tags":
		return query.Lookup(d.tags, path[1:])
	case "properties":
		switch path[1] {
		case "desired":
			return d.desired.value(path[2:])
		case "reported":
			return d.reported.value(path[2:])
		}
	case "capabilities":
		if len(path) == 2 && path[1] == "iotEdge" {
			return query.Bool(false)
		}
	}
	return query.Value{}
}

// value returns what a query's path finds in the section, system members included.
func (s *section) value(path []string) query.Value {
	switch {
	case len(path) == 0:
		return query.Object()
	case path[0] == "$version" && len(path) == 1:
		return query.Number(float64(s.version))
	case path[0] == "$metadata":
		return query.Lookup(appendStamps(nil, s.doc, &s.stamps, stamp{}), path[1:])
	}
	return query.Lookup(s.doc, path)
}

func timeValue(ns int64) query.Value {
	quoted := appendNanos(nil, ns)
	return query.String(string(quoted[1 : len(quoted)-1]))
}
