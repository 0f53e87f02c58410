package cli

import "syscall"

// dieWithParent has the kernel kill the child if this process dies, as by kill -9.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
