package scenarios

// meaning is what an editor shows of a key.
type meaning struct {
	text     string
	examples []any
}

type object = map[string]any

// meanings holds what each key means, for the schema. A path is that of the
// decoder with [] for the items of a list and * for the members of a map. A
// test fails on a key without a meaning and on a meaning without a key.
var meanings = map[string]meaning{
	"name":   {"Names the results folder.", []any{"lockdoor-10k"}},
	"seed":   {"What everything random derives from: the same seed gives the same devices, keys, twins and faults.", []any{42}},
	"target": {"The system under test: one of the keys below. Without it, the embedded hub.", []any{object{"embedded": nil}}},

	"target.embedded":           {"The hub that comes with muster, without quotas unless it has a tier.", nil},
	"target.embedded.transport": {"tcp: loopback sockets, and the hub is a child process. tls: the same, and the devices connect over TLS. memory: no sockets, and the hub is in the process of the run.", nil},
	"target.embedded.jobRate":   {"Executions that the hub dispatches, all hub jobs together. Without it as fast as it can.", []any{"4000/s"}},
	"target.embedded.tier":      {"The hub keeps the quotas of this tier. Without it there are none.", nil},
	"target.embedded.units":     {"Units of the tier: 1 with F1, at most 200 with the others.", []any{2}},

	"target.iothub":                     {"An IoT hub that is not muster's own. Its fleet is made by muster fleet provision.", nil},
	"target.iothub.connectionString":    {"The hub's service connection string, from the environment alone; ${IOTHUB_CONNECTION_STRING} unless given.", []any{"${IOTHUB_CONNECTION_STRING}"}},
	"target.iothub.transport":           {"What carries the devices' connections: MQTT over TLS, or a WebSocket; auto takes the latter where the former cannot be reached.", nil},
	"target.iothub.ca":                  {"PEM file of the authorities to trust. Without it, the system's.", []any{"hub-ca.pem"}},
	"target.iothub.gateway":             {"HOST or HOST:PORT that devices connect to. Without it, the hub's host name and 8883.", []any{"gateway.example.com:8883"}},
	"target.iothub.webSocketPort":       {"The port of WebSockets at the gateway.", nil},
	"target.iothub.url":                 {"Where the REST side is: https://HOST:PORT, or http:// on this host. Without it, https:// and the hub's host name.", []any{"https://127.0.0.1:8443"}},
	"target.iothub.tier":                {"Muster keeps to what a hub of this tier takes. Without it the tier is not known.", nil},
	"target.iothub.units":               {"Units of the tier: 1 with F1, at most 200 with the others.", []any{2}},
	"target.iothub.allowForeignDevices": {"Let jobs reach devices that are not of the fleet.", nil},

	"fleet":               {"Groups of devices.", nil},
	"fleet[]":             {"Devices that are alike but for what their templates say.", nil},
	"fleet[].group":       {"The group's name.", []any{"doors"}},
	"fleet[].devices":     {"How many.", []any{10000}},
	"fleet[].id":          {"Template of a device's id, which differs for each device of the fleet.", []any{"door-{index:05d}"}},
	"fleet[].tags":        {"The tags of a twin when it is made, with templates in its texts; at most 8 KB.", []any{object{"site": "north", "floor": "{index % 10}"}}},
	"fleet[].desired":     {"Its desired properties, with templates in its texts; at most 32 KB.", []any{object{"interval": 60}}},
	"fleet[].reported":    {"Its reported properties, with templates in its texts; at most 32 KB.", []any{object{"firmware": "{pick('1.0', '1.1')}"}}},
	"fleet[].methods":     {"How devices answer direct methods, by the method's name. A call of another method is answered with 404.", []any{object{"lockDoor": object{"latency": "2ms"}}}},
	"fleet[].echoDesired": {"Report each change of desired properties back.", nil},
	"fleet[].driver":      {"The MQTT client under the devices. paho: the one that most programs use. lean: muster's own, at a tenth of the memory, for large fleets.", nil},

	"fleet[].methods.*":                          {"How devices answer this method. With nothing after its name, with 200 at once.", nil},
	"fleet[].methods.*.status":                   {"What a device answers; an execution has succeeded with 200 to 299.", nil},
	"fleet[].methods.*.response":                 {"The payload of the answer; no templates.", []any{object{"locked": true}}},
	"fleet[].methods.*.latency":                  {"From the call to the answer: a duration, or one named distribution.", []any{"2ms", object{"lognormal": object{"median": "5ms", "sigma": 0.5}}}},
	"fleet[].methods.*.latency.constant":         {"Always this duration.", []any{"2ms"}},
	"fleet[].methods.*.latency.lognormal":        {"Many near the median, few much longer.", nil},
	"fleet[].methods.*.latency.lognormal.median": {"As many take longer as take less.", []any{"5ms"}},
	"fleet[].methods.*.latency.lognormal.sigma":  {"The standard deviation of the latency's natural logarithm: with 0.5 one in a hundred takes more than 3.2 times the median.", []any{0.5}},
	"fleet[].methods.*.failureRate":              {"The share of calls that are answered with failureStatus and no payload.", []any{0.05}},
	"fleet[].methods.*.failureStatus":            {"What those are answered with.", []any{503}},
	"fleet[].methods.*.silenceRate":              {"The share of calls that are never answered, so that they time out.", []any{0.01}},
	"fleet[].methods.*.then":                     {"What a device does once it has answered with status.", []any{object{"disconnect": "3s"}}},
	"fleet[].methods.*.then.disconnect":          {"It disconnects for that long and comes back, as one that reboots.", []any{"3s"}},

	"connect":              {"How the fleet connects and stays connected.", []any{object{"rate": "2000/s"}}},
	"connect.rate":         {"First connects begun a second, whether or not those before have ended.", []any{"2000/s"}},
	"connect.inFlight":     {"Connections being opened at once; what is due beyond waits.", nil},
	"connect.timeout":      {"For one connect with its subscriptions and the first look at the twin.", nil},
	"connect.keepAlive":    {"The interval of MQTT pings in whole seconds; 0 is none.", []any{"60s"}},
	"connect.backoff":      {"Between attempts of one device: exponential, with full jitter.", nil},
	"connect.backoff.base": {"A device that failed waits a random time below this, doubled with each failure in a row.", nil},
	"connect.backoff.cap":  {"Where the doubling ends.", nil},

	"connect.sourceAddresses":   {"IP addresses of this host that devices' connections come from, in turn: each has local ports of its own. Without it, for the embedded hub over TCP as many loopback addresses as its fleet needs, else what the system chooses.", []any{[]any{"127.0.0.2", "127.0.0.3"}}},
	"connect.sourceAddresses[]": {"An address, without a port.", nil},

	"jobs":                             {"Actions, each on the devices that a query matches.", nil},
	"jobs[]":                           {"One action on the devices that a query matches, from a start time, once or repeated.", nil},
	"jobs[].name":                      {"What thresholds and the report call it.", []any{"lock"}},
	"jobs[].type":                      {"What the job does, by the IoT hub's own names: invoke a direct method, or update the twin.", nil},
	"jobs[].cloudToDeviceMethod":       {"The direct method of a scheduleDeviceMethod job.", []any{object{"methodName": "lockDoor", "payload": object{"lockTime": "10m"}}}},
	"jobs[].updateTwin":                {"The twin patch of a scheduleUpdateTwin job: tags, properties or both.", []any{object{"properties": object{"desired": object{"interval": 60}}}}},
	"jobs[].queryCondition":            {"Whom: what stands after WHERE in a twin query, or \"*\" for every device.", []any{"tags.site = 'north'", "*"}},
	"jobs[].deviceId":                  {"The one device of the job, instead of a condition; via direct only.", []any{"door-00001"}},
	"jobs[].startTime":                 {"Counted from when the fleet is ready, as in +5s, or a time of day as in RFC 3339.", []any{"+5s", "2030-01-02T03:04:05Z"}},
	"jobs[].repeat":                    {"How often the job runs. Without it, once.", []any{object{"times": 5, "every": "4s"}}},
	"jobs[].repeat.times":              {"How many repetitions.", []any{5}},
	"jobs[].repeat.every":              {"From one start to the next; required if times is above 1.", []any{"4s"}},
	"jobs[].maxExecutionTimeInSeconds": {"How long one repetition may take from its start.", nil},
	"jobs[].via":                       {"Who fans the job out: the hub, or muster, which queries and then calls each device.", nil},
	"jobs[].rate":                      {"Calls due a second; via direct only. Without it all are due at once.", []any{"100/s"}},
	"jobs[].inFlight":                  {"Calls open at once, 100 unless given; 0 is no cap. Via direct only.", []any{128}},
	"jobs[].mark":                      {"Put the repetition's id into the payload as musterId, so that repetitions may overlap.", nil},
	"jobs[].settle":                    {"How long the hub may take to end a job after its maximum time, and then to show its rows; 60s unless given. Via hub only.", nil},

	"jobs[].cloudToDeviceMethod.methodName":               {"The method to call.", []any{"lockDoor"}},
	"jobs[].cloudToDeviceMethod.payload":                  {"The same for every device, at most 128 KB; no templates.", []any{object{"lockTime": "10m"}}},
	"jobs[].cloudToDeviceMethod.responseTimeoutInSeconds": {"How long a device may take to answer.", nil},
	"jobs[].cloudToDeviceMethod.connectTimeoutInSeconds":  {"How long to wait for a device that is not connected.", nil},

	"jobs[].updateTwin.etag":               {"Whatever the twin's version; nothing else is possible.", nil},
	"jobs[].updateTwin.tags":               {"Patch of the tags, at most 8 KB; devices never see it. A null removes a tag.", []any{object{"placed": true}}},
	"jobs[].updateTwin.properties":         {"Holds the patch of the desired properties.", nil},
	"jobs[].updateTwin.properties.desired": {"Patch of the desired properties, at most 32 KB; devices are told. A null removes a property.", []any{object{"interval": 60}}},

	"faults":                {"What the embedded hub does wrong on purpose, and when.", nil},
	"faults[]":              {"One thing that goes wrong.", []any{object{"kind": "errors", "at": "+2s", "for": "3s", "code": 429001, "operations": []any{"methods"}}}},
	"faults[].kind":         {"What goes wrong: things come later, connections are cut, requests are answered with errors, connects are refused, nothing is answered, the hub restarts.", nil},
	"faults[].at":           {"When it begins: as in +2s counted from when the fleet is ready, or start, before it connects.", []any{"+2s", "start"}},
	"faults[].for":          {"How long it lasts. Without it until the run ends; a drop strikes once. A restart needs it.", []any{"3s"}},
	"faults[].count":        {"It is over when it has struck so often.", []any{5}},
	"faults[].share":        {"Of what could be struck, above 0 to 1.", []any{0.5}},
	"faults[].part":         {"What of the hub is struck: its REST side, connects, method requests on their way to devices, or twins.", nil},
	"faults[].operations":   {"The REST requests that may be struck; of part rest only. Without it, all.", []any{[]any{"methods", "query"}}},
	"faults[].devices":      {"The ids of the devices that may be struck. Without it, all.", []any{[]any{"door-00001"}}},
	"faults[].devicePrefix": {"Devices whose id begins with it may be struck.", []any{"door-"}},
	"faults[].delay":        {"Of latency: how much later things come, a duration or the range that it is drawn from, at most 10m.", []any{"250ms", object{"from": "50ms", "to": "200ms"}}},
	"faults[].delay.from":   {"At least.", []any{"50ms"}},
	"faults[].delay.to":     {"At most.", []any{"200ms"}},
	"faults[].code":         {"Of errors: the service's number of the error.", []any{429001, 500001, 503001}},
	"faults[].answer":       {"Of refuse: CONNACK 3, CONNACK 5, or none; unavailable unless given.", nil},

	"faults[].operations[]": {"A group of REST requests.", nil},
	"faults[].devices[]":    {"An id.", nil},

	"thresholds": {"What must hold for the run to pass.", []any{[]any{"jobs.lock.total.p99 < 2s", "jobs.lock.succeeded == 100%"}}},
	"thresholds[]": {"A path, a comparison and a bound, or a mapping that says more.", []any{
		"jobs.lock.total.p99 < 2s", "jobs.lock.succeeded == 100%", object{"expression": "jobs.lock.total.p99 < 5s over every 10s", "abortOnFail": true, "grace": "10s"},
	}},
	"thresholds[].expression":  {"A path, a comparison and a bound.", []any{"jobs.lock.total.p99 < 2s"}},
	"thresholds[].abortOnFail": {"End the run once it does not hold.", nil},
	"thresholds[].grace":       {"How long it need not hold; with abortOnFail only.", []any{"10s"}},
}
