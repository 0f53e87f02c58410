// Package conformance holds one table of tests for a hub of the service's kind: what the service's documentation and its
// official clients say that a hub does, asked over the public protocol alone.
//
// Every case runs against the embedded hub, in memory on a fake clock and on sockets, over each of its transports. With
// IOTHUB_CONNECTION_STRING in the environment (of a policy that may do everything, such as iothubowner), every case runs,
// unchanged and one after the other, against that hub:
//
//	IOTHUB_CONNECTION_STRING='HostName=...' go test -run TestRealHub -timeout 60m -v ./hub/conformance
//
// There it makes at most some dozens of devices, all of them with names of one random prefix that it prints, addresses no
// other device, asks slowly enough for a hub of the smallest tier, and deletes what it made, also when it fails, is
// interrupted or runs out of time.
package conformance
