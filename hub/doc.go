// Package hub is an IoT hub to test against: devices connect to it by MQTT, services drive it by REST, and it runs jobs
// over the devices that a query matches, with the protocol, the errors and the limits of Azure IoT Hub.
//
// Devices are connections of MQTT 3.1.1, on any net.Listener: as they are (Hub.ServeMQTT), over TLS (Hub.ServeMQTTS) or over
// WebSocket and TLS (Hub.ServeWebSocket). They prove themselves by a SAS token, or over TLS by a certificate. They read their
// twin, report properties, hear of desired ones, answer direct methods, get cloud-to-device messages and send telemetry, of
// which the latest message is kept. Modules of devices do the same on connections of their own, but get no messages.
// Services (Hub.ServeREST, Hub.ServeRESTS over TLS, or Hub as an http.Handler) manage identities, read and change twins,
// query, call methods, send messages, and create, follow and cancel jobs. Twins, jobs, messages and sessions live in memory and
// end with the hub, unless it has a Store, which keeps all but messages in a folder; its certificate authority (CA) can be kept too
// (OpenCA).
//
// Queries and jobs go through the devices, or the modules, in the order of their registration. Where there are many, tags
// that most of them have, or that are asked for by their value, are indexed, which changes nothing but the time that it takes. Time stamps are the wall
// clock's at the moment that they name: a job's row begins when its request is handed to the connection, or its twin is
// changed.
//
// # Concurrency
//
// All methods may be called from many goroutines at once. Connections in memory and sockets, with TLS once
// CONNECT was accepted, are read by a few goroutines as there is something to read; a WebSocket has one of its own, as has what is
// neither. Who reads a packet writes its answer; what else is to be written is queued, and written by a few for all
// connections that write what a connection takes at once; for one that does not take it, or is over TLS or a WebSocket,
// there is one of its own meanwhile. Nobody ever waits for a device: one that does not read is disconnected, and counted
// in Stats.SlowClosed, when a write takes 5 seconds, when another message comes
// while 64 KB wait and a write has taken half a second, and once 2 MB wait.
// A broadcast of a job to any number of devices runs on one goroutine, and its calls wait in tables. No lock is held
// across a read, a write or a callback.
//
// Close ends every connection, request, job and listener and returns when no goroutine of the hub is left. In a
// testing/synctest bubble with in-memory listeners (package hubtest) all of the hub's time is the bubble's.
//
// # Hostile peers
//
// What a peer may hold before it has proved who it is, and for how long, is bounded (Options.MaxStrangers, 10 seconds to
// CONNECT, 64 KB of a request's header), and a device reaches no more than what is its own. docs/hub.md lists the bounds and
// what counts them in Stats.
//
// # Quotas
//
// A hub with a Tier does no more than the service does for such a hub: requests, connects and twin operations pass in a
// burst, then wait for their turn, and are refused when too many wait; jobs dispatch at the tier's rate and may not be more
// than it allows. docs/quotas.md has the limits. Without a tier nothing is metered.
//
// # Faults
//
// Hub.Inject makes a hub do something wrong on purpose, as do its endpoints below /muster/faults: latency, cut connections,
// errors, refusals, silence and a restart. Without a fault a hub pays for them with one atomic load wherever one could
// strike. A delay keeps no goroutine but those that a request, or a connection before its CONNACK, has anyway.
//
// # Not supported
//
// Message routing and file upload, feedback on cloud-to-device messages, import and export jobs, configurations, device
// streams, digital twins, edge capabilities; AMQP; the daily quota of messages. Such requests are answered with
// the service's own error shape (400 GenericBadRequest, or ArgumentInvalid for a query), such topics and filters close the
// connection, as the service does. docs/hub.md lists this with the decisions that the service's documentation leaves open.
package hub
