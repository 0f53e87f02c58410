//go:build unix

package lean

import (
	"io"
	"net"
	"os"
	"syscall"
)

const canReadSocket = true

// readSocket reads what has arrived at a descriptor. The error is EAGAIN if that
// is nothing, and else as of a net.Conn.
func readSocket(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, err
		case err != nil:
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}
