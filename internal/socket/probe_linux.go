package socket

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// probe has the system ask a silent peer whether it is still there, as often as
// package net does. Of a peer on this host the end is always heard.
func probe(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	for _, option := range [...]struct{ name, value int }{
		{unix.TCP_KEEPIDLE, 15}, {unix.TCP_KEEPINTVL, 15}, {unix.TCP_KEEPCNT, 9}, // seconds, but the last
	} {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option.name, option.value))
	}
	return os.NewSyscallError("setsockopt", err)
}
