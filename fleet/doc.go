// Package fleet is the simulated devices of a run: who they are, how they
// behave, and the connections on which a hub finds them.
//
// Everything about a device follows from the seed and its place in the fleet:
// its id, key and twin, when it tries again after a lost connection, and how it
// answers its n-th call of a method. Two runs with one seed meet the same fleet.
//
// # The life of a device
//
// The fleet connects its devices on an open-loop ramp: attempt n is due n/rate
// after the start, whether or not the ones before it are done, and its latency
// counts from then. A connected device subscribes to methods, twin responses and
// desired properties in one packet, reads its twin and is online: a job can
// reach it. It answers direct methods as its group says, and echoes changed
// desired properties to reported ones if its group does. A method can let it
// disconnect for a while once it has answered, as a reboot does. A lost connection and a
// failed attempt are tried again after a full-jitter backoff, until the run ends.
//
// # Concurrency
//
// A Fleet is safe for concurrent use, but Run may be called once only. It
// returns when no connection, handler or timer of the fleet is left. Handlers
// run in the goroutines in which the driver delivers messages, one each; the
// Observer is called from them. A device that is online holds no goroutine of
// the fleet itself, only what its driver needs, so that large fleets are cheap.
package fleet
