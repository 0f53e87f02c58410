package hub

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"muster/internal/query"
	"muster/iothub"
)

// What a device can subscribe to, as bits of device.subs. Two devices never share a topic, so that is all there is.
const (
	subMethods uint8 = 1 << iota
	subTwin
	subDesired
	subDeviceBound
	subAcknowledged // subDeviceBound was granted QoS 1
	subInputs       // of a module; there is nothing to send
)

// device is one identity with its twin, its MQTT session and the direct methods on their way to it: that of a device, or
// of a module (module.go).
type device struct {
	// What a query about tags reads comes first, in one cache line (TestQueriesReadOneLine); what one about connections reads
	// beside the identity in the second.
	gone   atomic.Bool // deleted; set under mu
	mu     sync.Mutex  // guards what changes below, but active; a conn's or the timers' lock may be taken inside
	parent *device     // of a module: its device; nil for a device
	tags   []byte      // a JSON object, replaced and never changed
	id     string      // of a module: its client id

	seq       uint64       // order of registration, set by registry.add
	created   int64        // Unix time in ns
	active    atomic.Int64 // when the device last did something, Unix time in ns
	telemetry atomic.Pointer[telemetry]
	version   int64  // of tags and desired together; the twin's etag is made of it
	conn      *conn  // nil = offline
	inbox     *inbox // nil until a message was sent to the device
	subs      uint8
	session   bool   // subs outlive the connection
	rid       uint32 // of the last method request; goes on over connections, so that late answers find nothing

	identity identity
	desired  section
	reported section

	pending callList   // sent, unanswered
	waiting callList   // for the device to connect and subscribe, or for room on its connection
	modules *[]*device // in order of registration; nil = none

	_ [32]byte // the next device begins with a cache line of its own
}

// identity is what the registry keeps about a device beside its twin.
type identity struct {
	etag               uint64
	disabled           bool
	reason             string
	auth               string     // how the device proves itself: iothub.AuthenticationSAS, SelfSigned or CA
	primary, secondary iothub.Key // with SAS
	certificates       *[2]string // self-signed: their thumbprints; never changed in place
	statusAt, connAt   int64      // when status and connection state changed, Unix time in ns; 0 = never
}

func (d *device) isGone() bool { return d.gone.Load() }

// reachableLocked says whether a method request can be sent.
func (d *device) reachableLocked() bool { return d.conn != nil && d.subs&subMethods != 0 }

func connectionState(connected bool) string {
	if connected {
		return iothub.Connected
	}
	return iothub.Disconnected
}

func (i *identity) status() string {
	if i.disabled {
		return iothub.StatusDisabled
	}
	return iothub.StatusEnabled
}

// thumbprints returns those of the device's own certificates in hexadecimal, as they were given; "" = none.
func (i *identity) thumbprints() [2]string {
	if i.certificates == nil {
		return [2]string{}
	}
	return *i.certificates
}

// setThumbprints keeps nothing for the many devices that have none.
func (i *identity) setThumbprints(t [2]string) {
	if i.certificates = nil; t != [2]string{} {
		i.certificates = &t
	}
}

// tag returns the identity's etag without quotes: a number in base64.
func (i *identity) tag() string {
	return base64.StdEncoding.EncodeToString(strconv.AppendUint(nil, i.etag, 10))
}

// generation identifies this incarnation of the device id: 100 ns ticks since the year 1, as the service writes it.
func (d *device) generation() string {
	const ticksTo1970 = 621355968000000000
	return strconv.FormatInt(d.created/100+ticksTo1970, 10)
}

// twinETag returns the etag of a twin's version without quotes: eight bytes of a counter.
func twinETag(version int64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(version)))
}

// appendTwinLocked appends the twin as its device sees it.
func (d *device) appendTwinLocked(dst []byte) []byte {
	dst = d.desired.appendDevice(append(dst, `{"desired":`...))
	dst = d.reported.appendDevice(append(dst, `,"reported":`...))
	return append(dst, '}')
}

// snapshot is a device at one moment, or parts of it: the row of "devices" that it is. Nothing in it changes, so it needs no
// lock.
type snapshot struct {
	id, module        string // module is empty for a device
	tags              []byte
	desired, reported section
	version           int64
	identity          identity
	active            int64
	connected         bool
	messages          int // cloud-to-device, that wait for it
}

// parts are what a snapshot has beside the ids. A query that reads all twins takes no more of each than it asks about.
type parts uint8

const (
	partTags parts = 1 << iota
	partDesired
	partReported
	partRest

	allParts = partTags | partDesired | partReported | partRest
)

// partsOf returns what Value needs for these paths.
func partsOf(paths [][]string) (p parts) {
	for _, path := range paths {
		p |= partOf(path)
	}
	return p
}

func partOf(path []string) parts {
	switch path[0] {
	case "deviceId", "moduleId":
		return 0
	case "tags":
		return partTags
	case "properties":
		if len(path) == 1 {
			return 0
		}
		switch path[1] {
		case "desired":
			return partDesired
		case "reported":
			return partReported
		}
		return 0
	case "x509Thumbprint", "modelId":
		return allParts // looked up in the whole twin
	}
	return partRest
}

// snapshot takes one into v, which may be used again and again. Parts that are not asked for are not to be looked at.
func (d *device) snapshot(v *snapshot, p parts) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.snapshotLocked(v, p)
}

func (d *device) snapshotLocked(v *snapshot, p parts) {
	// One by one: a literal would be made and then copied, for each row of a query.
	v.id, v.module = d.deviceID(), d.moduleID()
	if p&partTags != 0 {
		v.tags = d.tags
	}
	if p&partDesired != 0 {
		v.desired = d.desired
	}
	if p&partReported != 0 {
		v.reported = d.reported
	}
	if p&partRest == 0 {
		return
	}
	v.version, v.identity, v.active, v.connected, v.messages = d.version, d.identity, d.active.Load(), d.conn != nil, 0
	if d.inbox != nil {
		v.messages = d.inbox.count(time.Now())
	}
}

// appendTwin appends the twin as the service shows it.
func (v *snapshot) appendTwin(dst []byte) []byte {
	dst = append(append(dst, `{"deviceId":"`...), v.id...) // an id has nothing to escape
	if v.module != "" {
		dst = append(append(dst, `","moduleId":"`...), v.module...)
	}
	dst = append(dst, `","etag":"`...)
	dst = append(append(append(dst, twinETag(v.version)...), `","deviceEtag":"`...), v.identity.tag()...)
	dst = append(append(append(dst, `","status":"`...), v.identity.status()...), `","statusReason":`...)
	dst = appendString(dst, v.identity.reason)
	dst = appendNanos(append(dst, `,"statusUpdateTime":`...), v.identity.statusAt)
	dst = append(append(append(dst, `,"connectionState":"`...), connectionState(v.connected)...), `","lastActivityTime":`...)
	dst = appendNanos(dst, v.active)
	dst = strconv.AppendInt(append(dst, `,"cloudToDeviceMessageCount":`...), int64(v.messages), 10)
	dst = append(append(dst, `,"authenticationType":"`...), v.identity.auth...)
	dst = appendThumbprint(append(dst, `","x509Thumbprint":{"primaryThumbprint":`...), v.identity.thumbprints()[0])
	dst = appendThumbprint(append(dst, `,"secondaryThumbprint":`...), v.identity.thumbprints()[1])
	dst = append(dst, `},"modelId":"","version":`...)
	dst = append(strconv.AppendInt(dst, v.version, 10), `,"tags":`...)
	dst = append(append(dst, v.tags...), `,"properties":{"desired":`...)
	dst = append(v.desired.appendService(dst), `,"reported":`...)
	return append(v.reported.appendService(dst), `},"capabilities":{"iotEdge":false}}`...)
}

// Value returns the attribute of that path, the same as appendTwin shows.
func (v *snapshot) Value(path []string) query.Value {
	if len(path) == 0 {
		return query.Value{}
	}
	if len(path) > 1 {
		return v.nested(path)
	}
	switch path[0] {
	case "deviceId":
		return query.String(v.id)
	case "moduleId":
		if v.module == "" {
			return query.Value{}
		}
		return query.String(v.module)
	case "status":
		return query.String(v.identity.status())
	case "statusReason":
		return query.String(v.identity.reason)
	case "connectionState":
		return query.String(connectionState(v.connected))
	case "authenticationType":
		return query.String(v.identity.auth)
	case "etag":
		return query.String(twinETag(v.version))
	case "deviceEtag":
		return query.String(v.identity.tag())
	case "version":
		return query.Number(float64(v.version))
	case "lastActivityTime":
		return timeValue(v.active)
	case "statusUpdateTime":
		return timeValue(v.identity.statusAt)
	case "cloudToDeviceMessageCount":
		return query.Number(float64(v.messages))
	case "tags", "properties", "capabilities":
		return query.Object()
	case "modelId", "x509Thumbprint":
		return query.Lookup(v.appendTwin(nil), path)
	}
	return query.Value{}
}

func (v *snapshot) nested(path []string) query.Value {
	switch path[0] {
	case "tags":
		return query.Lookup(v.tags, path[1:])
	case "x509Thumbprint":
		return query.Lookup(v.appendTwin(nil), path)
	case "properties":
		switch path[1] {
		case "desired":
			return v.desired.value(path[2:])
		case "reported":
			return v.reported.value(path[2:])
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
		return s.metadata(path[1:])
	}
	return query.Lookup(s.doc, path)
}

// metadata returns what a path finds in $metadata, which is not made for it.
func (s *section) metadata(path []string) query.Value {
	node, rest, doc := &s.stamps, stamp{}, s.doc
	for i, name := range path {
		own := rest
		if node != nil {
			own = node.own
		}
		switch last := i == len(path)-1; {
		case last && name == "$lastUpdated":
			return timeValue(own.at)
		case last && name == "$lastUpdatedVersion" && own.version > 0:
			return query.Number(float64(own.version))
		}
		if doc = member(doc, name); doc == nil {
			return query.Value{}
		}
		if node != nil {
			rest, node = node.rest, node.kids[name]
		}
	}
	return query.Object()
}

func timeValue(ns int64) query.Value {
	quoted := appendNanos(nil, ns)
	return query.String(string(quoted[1 : len(quoted)-1]))
}
