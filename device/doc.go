// Package device is one device of an IoT hub, real or embedded: it connects as
// its connection string says, answers direct methods, follows its twin, and
// stays online.
//
// It is for a program that is a device, such as muster device; a simulated
// fleet of thousands is package fleet. Both use the same drivers.
//
// # The life of a device
//
// A device subscribes to methods, twin responses and desired properties and
// reads its twin; then it is online. A change of the desired properties is
// handed to its user and reported back as it came. Notifications may overtake
// each other or be missed; where a version is missing the device reads the twin
// and hands on all of it. Before the SAS token expires the device closes the
// connection and opens another with a new token, in the same session of the
// hub, so that its subscriptions go on. After a loss it comes back with full
// jitter.
//
// # Concurrency
//
// Run may be called once, and returns when no connection, handler or timer of
// the device is left. Handlers of messages run in goroutines of the driver,
// one each.
package device
