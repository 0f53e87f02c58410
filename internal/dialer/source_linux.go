package dialer

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// choosePortLate is a net.Dialer's Control, which is called before the socket
// is bound. bind would choose a port that nothing else of this address has.
func choosePortLate(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); cerr != nil {
		return cerr
	}
	if err == unix.ENOPROTOOPT { // Linux before 4.2: bind chooses
		return nil
	}
	return err
}
