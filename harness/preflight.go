package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Limits are the limits of this host and process that decide how large a
// fleet can be. Zero means not known, and not checked.
type Limits struct {
	Descriptors int // open files a process may have
	Ports       int // local ports for one source and destination address
}

// spareDescriptors is what a process needs beside its devices' connections:
// REST connections, files, the canary, the runtime's own.
const spareDescriptors = 200

// widenPorts gives a host the mostPorts ports that there can be.
const (
	widenPorts = `sysctl -w net.ipv4.ip_local_port_range="1024 65535"`
	mostPorts  = 65535 - 1024 + 1
)

// raiseDescriptors raises both limits of the shell that it is typed in.
func raiseDescriptors(need int) string {
	return fmt.Sprintf("sudo prlimit --pid $$ --nofile=%d:%d", need, need)
}

// HostLimits reads the limits of this process. Go has raised the soft limit
// on open files to the hard one before main began.
func HostLimits() Limits {
	var l Limits
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		l.Descriptors = int(min(files.Cur, 1<<31-1))
	}
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		l.Ports = portCount(string(text))
	}
	return l
}

func portCount(text string) int {
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return 0
	}
	low, err1 := strconv.Atoi(fields[0])
	high, err2 := strconv.Atoi(fields[1])
	if err1 != nil || err2 != nil || high < low {
		return 0
	}
	return high - low + 1
}

// Preflight reports what of the limits l would end a run of devices over TCP
// before it began, and how to raise it. hubInside says that the hub shares
// this process, and so its descriptors.
func Preflight(l Limits, devices int, hubInside bool) error {
	return checkLimits(l, devices, hubInside, true)
}

// checkLimits is Preflight, which advises to do without sockets only where the
// hub can.
func checkLimits(l Limits, devices int, hubInside, memory bool) error {
	each := 1
	if hubInside {
		each = 2 // both ends of every connection
	}
	or := func(what string) string {
		if !memory {
			return ""
		}
		return fmt.Sprintf(", or run without %s (--set target.embedded.transport=memory)", what)
	}
	need := each*devices + spareDescriptors
	if l.Descriptors > 0 && need > l.Descriptors {
		return fmt.Errorf("check limits: %d devices over tcp need %d open files in this process, and its limit is %d; "+
			"raise it (`%s` in this shell, or LimitNOFILE=%d in a systemd unit), use fewer devices (--devices %d)%s",
			devices, need, l.Descriptors, raiseDescriptors(need), need, max(1, (l.Descriptors-spareDescriptors)/each), or("descriptors"))
	}
	if l.Ports > 0 && devices > l.Ports {
		return fmt.Errorf("check limits: %d devices over tcp need as many local ports, and this host gives %d; "+
			"widen the range (`%s`), use fewer devices%s", devices, l.Ports, widenPorts, or("ports"))
	}
	return nil
}
