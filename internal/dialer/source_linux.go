package dialer

import (
	"syscall"

	"muster/internal/socket"
)

// choosePortLate is a net.Dialer's Control, which is called before the socket
// is bound. bind would choose a port that nothing else of this address has.
func choosePortLate(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = socket.ChoosePortLate(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}
