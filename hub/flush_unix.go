//go:build unix

package hub

import "syscall"

const canWriteOnce = true

// writeOnce writes to a socket that does not block what it takes of b.
func writeOnce(descriptor uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Write(int(descriptor), b)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}
