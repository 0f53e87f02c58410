//go:build !linux

package dialer

import "syscall"

// choosePortLate leaves the choice to bind.
func choosePortLate(string, string, syscall.RawConn) error { return nil }
