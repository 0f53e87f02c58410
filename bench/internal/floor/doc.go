// Package floor exchanges the very bytes that muster's hub and devices do, with
// as little as a Go program can: no MQTT library, fleet, ledger or histogram.
// What it takes is what a harness could reach at best on the same machine.
//
// A Client is the devices, one goroutine a connection; a Server is their hub,
// which broadcasts a method request to all connections and waits for all answers.
// They are two processes over TCP and TLS, and one in memory. Beside them are
// pairs that use one library and nothing else: devices of bare paho, and callers
// and a server of bare net/http.
//
// Run measures a pair of processes; Serve has a process be one half.
//
// # Concurrency
//
// A Server, a Client and a Caller belong to one goroutine. Close ends what they
// have started, and joins it.
package floor
