//go:build !unix

package lean

import "syscall"

const canReadSocket = false

func readSocket(int, []byte) (int, error) { return 0, syscall.EINVAL }
