package hub

import (
	"sync/atomic"

	"muster/internal/goheap"
)

// Stats is what a hub has counted since it was made, and how many connections it has now.
type Stats struct {
	Connections     int64 `json:"connections"`     // connected devices and modules
	Accepted        int64 `json:"accepted"`        // CONNECTs accepted
	Unaccepted      int64 `json:"unaccepted"`      // times that no connection could be accepted, as without a free descriptor: it tries again
	Refused         int64 `json:"refused"`         // CONNECTs answered with a refusal
	HandshakeFailed int64 `json:"handshakeFailed"` // connections closed since there was no TLS, such as for want of trust
	TakenOver       int64 `json:"takenOver"`       // connections closed since their device connected anew
	SlowClosed      int64 `json:"slowClosed"`      // connections closed since their device did not read
	KeepAliveClosed int64 `json:"keepAliveClosed"` // connections closed since nothing was heard, CONNECT included
	TokenExpired    int64 `json:"tokenExpired"`    // connections closed since their token expired
	ProtocolErrors  int64 `json:"protocolErrors"`  // connections closed since their device broke the protocol
	FaultClosed     int64 `json:"faultClosed"`     // connections closed by a fault on purpose
	Telemetry       int64 `json:"telemetry"`       // messages from devices, wills of vanished ones included
	MethodRequests  int64 `json:"methodRequests"`  // handed to connections
	MethodResponses int64 `json:"methodResponses"` // that ended a request
	StrayResponses  int64 `json:"strayResponses"`  // late, duplicate or of no request
	MethodTimeouts  int64 `json:"methodTimeouts"`  // requests without a response in time
	TwinReads       int64 `json:"twinReads"`       // by devices
	TwinPatches     int64 `json:"twinPatches"`     // of reported properties, refused ones included
	Notifications   int64 `json:"notifications"`   // of desired properties, handed to connections
	Messages        int64 `json:"messages"`        // to devices, accepted from services
	Deliveries      int64 `json:"deliveries"`      // of such messages, handed to connections, repeated ones included
	Completions     int64 `json:"completions"`     // messages that reached their device, as far as its QoS tells
	Requests        int64 `json:"requests"`        // on the REST side
	Jobs            int64 `json:"jobs"`            // accepted
	Executions      int64 `json:"executions"`      // dispatched by jobs
	Delayed         int64 `json:"delayed"`         // connects and requests that the tier's meters let wait
	Throttled       int64 `json:"throttled"`       // connects and requests that they refused
	Strangers       int64 `json:"strangers"`       // connections of devices and services that have not proved yet who they are
	Unproven        int64 `json:"unproven"`        // connections that ended before they did, for whatever reason but this:
	Crowded         int64 `json:"crowded"`         // connections closed since too many had not proved who they are
	Unauthorized    int64 `json:"unauthorized"`    // requests without a good token
	BadBodies       int64 `json:"badBodies"`       // requests whose body was too large or did not come in time
	LostAnswers     int64 `json:"lostAnswers"`     // answers that their client did not take
}

// counters are the live form of Stats.
type counters struct {
	connections, accepted, refused                                  atomic.Int64
	modules                                                         atomic.Int64 // among connections
	endings                                                         [len(endingNames)]atomic.Int64
	telemetry, twinReads, twinPatches, notifications                atomic.Int64
	methodRequests, methodResponses, strayResponses, methodTimeouts atomic.Int64
	messages, deliveries, completions                               atomic.Int64
	requests, jobs, executions, delayed, throttled                  atomic.Int64
	unauthorized, badBodies, lostAnswers, unaccepted                atomic.Int64
}

// connected counts a connection that comes (1) or goes (-1).
func (c *counters) connected(d *device, n int64) {
	c.connections.Add(n)
	if d.isModule() {
		c.modules.Add(n)
	}
}

// Stats returns the hub's counters as they are now.
func (h *Hub) Stats() Stats {
	c := &h.counters
	return Stats{
		Connections:     c.connections.Load(),
		Accepted:        c.accepted.Load(),
		Unaccepted:      c.unaccepted.Load(),
		Refused:         c.refused.Load(),
		HandshakeFailed: c.endings[endHandshake].Load(),
		TakenOver:       c.endings[endTakeover].Load(),
		SlowClosed:      c.endings[endSlow].Load(),
		KeepAliveClosed: c.endings[endKeepAlive].Load(),
		TokenExpired:    c.endings[endExpired].Load(),
		ProtocolErrors:  c.endings[endProtocol].Load(),
		FaultClosed:     c.endings[endFault].Load(),
		Telemetry:       c.telemetry.Load(),
		MethodRequests:  c.methodRequests.Load(),
		MethodResponses: c.methodResponses.Load(),
		StrayResponses:  c.strayResponses.Load(),
		MethodTimeouts:  c.methodTimeouts.Load(),
		TwinReads:       c.twinReads.Load(),
		TwinPatches:     c.twinPatches.Load(),
		Notifications:   c.notifications.Load(),
		Messages:        c.messages.Load(),
		Deliveries:      c.deliveries.Load(),
		Completions:     c.completions.Load(),
		Requests:        c.requests.Load(),
		Jobs:            c.jobs.Load(),
		Executions:      c.executions.Load(),
		Delayed:         c.delayed.Load(),
		Throttled:       c.throttled.Load(),
		Strangers:       h.strangers.count(),
		Unproven:        h.strangers.unproven.Load(),
		Crowded:         h.strangers.crowded.Load(),
		Unauthorized:    c.unauthorized.Load(),
		BadBodies:       c.badBodies.Load(),
		LostAnswers:     c.lostAnswers.Load(),
	}
}

// processStats is what the process that runs the hub has used.
type processStats struct {
	CPUSeconds  float64 `json:"cpuSeconds"`
	RSSBytes    int64   `json:"rssBytes"`
	MaxRSSBytes int64   `json:"maxRSSBytes"`
}

// statsDocument is the answer to GET /muster/stats.
type statsDocument struct {
	Stats
	processStats
	Heap goheap.State `json:"heap"` // of the process that runs the hub
}
