// Package socket opens and accepts TCP connections that tell their reader when
// there is something to read, so that an idle one needs neither a goroutine nor
// a buffer.
//
// On Linux the sockets of a Network are in one epoll of its own, edge-triggered,
// and one goroutine waits for all of them. A read or write takes one system call,
// and a read none where it is known that nothing has come. Elsewhere connections
// are those of package net, which tell nothing. As there, a peer that vanished
// without a word is found out by the system; but none on this host is asked.
//
// # Concurrency
//
// A Network and its connections are safe for concurrent use. Its goroutine runs
// while there are connections, or files that it watches: the first starts it, and
// the end of the last stops and joins it. It calls what TellRead and Watch were
// given, which must not block and must not close a connection.
package socket
