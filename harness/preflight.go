package harness

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"muster/scenarios"
)

// Limits are the limits of this host and process that decide how large a
// fleet can be. Zero means not known, and not checked.
type Limits struct {
	Descriptors int // open files a process may have
	Ports       int // local ports for one source and destination address
}

// spareDescriptors is what a process needs beside its devices' connections: up
// to spareCalls REST connections, files, the canary, the runtime's own.
const (
	spareDescriptors = 200
	spareCalls       = 100
)

// spareFor returns what generator and hub each need beside the connections of
// the devices of s: a direct job has a REST connection for each call in flight.
func spareFor(s *scenarios.Scenario) int {
	calls := 0
	for i := range s.Jobs {
		switch j := &s.Jobs[i]; {
		case j.Via != scenarios.Direct || j.DeviceID != "":
		case j.InFlight == 0:
			calls += s.Devices()
		default:
			calls += min(j.InFlight, s.Devices())
		}
	}
	return spareDescriptors + max(0, calls-spareCalls)
}

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

// leastThreads is more than generator and hub start beside each other. Go ends
// a process that is refused a thread.
const leastThreads = 100

var raiseThreads = fmt.Sprintf("raise pids.max, as in systemd-run -p TasksMax=%d or docker run --pids-limit %d", 20*leastThreads, 20*leastThreads)

// preflight is Preflight for a run, which is told as well what may end it.
func (r *run) preflight(inside bool) error {
	host := ThisHost()
	host.Limits = *r.opts.Limits
	of, err := r.opts.layout(r.scenario, inside)
	if err == nil {
		err = preflightOf(r.scenario, host, of)
	}
	if err != nil {
		return err
	}
	if n := of.count(host.Limits, r.scenario); n > 1 {
		r.generators = n
	}
	r.sources = sourcesOf(r.scenario, host.Ports)
	r.bounds = boundsOf(r.scenario, host, of)
	for _, b := range r.bounds {
		if b.Then == thenEnded && r.scenario.Devices() > b.Devices {
			r.opts.Logger.Warn("the fleet may be too large for this host", "devices", r.scenario.Devices(), "limit", b.String())
		}
	}
	return nil
}

// Preflight reports what of a host would end a run of s before it began, and
// how to mend it: files, ports, addresses, threads. That memory may not suffice
// is an estimate, and for Bounds to tell. hubInside says that the hub shares
// this process, and so its descriptors.
func Preflight(s *scenarios.Scenario, host Host, hubInside bool) error {
	return preflightOf(s, host, layoutOf(s, hubInside))
}

func preflightOf(s *scenarios.Scenario, host Host, of layout) error {
	errs := []error{sourcesOf(s, host.Ports).check()}
	if host.Threads > 0 && host.Threads < leastThreads {
		errs = append(errs, fmt.Errorf("check limits: the control group's limit leaves %d threads, and generator and hub start up to %d; %s",
			host.Threads, leastThreads, raiseThreads))
	}
	for _, b := range boundsOf(s, host, of) {
		if b.refusal != "" && s.Devices() > b.Devices {
			errs = append(errs, errors.New("check limits: "+b.refusal))
		}
	}
	return errors.Join(errs...)
}
