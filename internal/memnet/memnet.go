// Package memnet is a network in memory: listeners, dialers and connections that
// behave as TCP's do and use no descriptors.
//
// A connection buffers up to 64 KiB in each direction, then a Write blocks, so
// back-pressure works as on a socket. It has deadlines, half-close and TCP's
// errors: io.EOF once what the peer wrote before its Close has been read, EPIPE
// on a Write to a closed peer, net.ErrClosed after an own Close. It starts no
// goroutine, and while it is idle it holds no buffer; a deadline has a timer only
// while a call waits for it. Its TryRead and TellRead let a reader do without a
// goroutine as well.
//
// # Concurrency
//
// All methods may be called from many goroutines at once; concurrent Writes are
// not interleaved. In a testing/synctest bubble a blocked call is durably blocked
// and deadlines are on the bubble's clock, as long as both ends (and the listener)
// are made and used inside of it.
package memnet

import "net"

const network = "memory"

// address is that of both ends of a connection.
type address string

func (a address) Network() string { return network }
func (a address) String() string  { return network + ":" + string(a) }

// Pipe returns the two ends of a new connection. Like those of a Listener, both
// have a method CloseWrite() error, as *net.TCPConn has, and TryRead and TellRead.
func Pipe() (a, b net.Conn) {
	p := newPipe(address("pipe"))
	return &p.ends[0], &p.ends[1]
}

// A pipe is a connection with both its ends, in one allocation.
type pipe struct {
	addr   net.Addr
	ends   [2]conn
	halves [2]half // halves[i] carries what ends[i] writes
}

func newPipe(addr net.Addr) *pipe {
	p := &pipe{addr: addr}
	for i := range p.ends {
		p.ends[i] = conn{pipe: p, end: i}
	}
	return p
}
