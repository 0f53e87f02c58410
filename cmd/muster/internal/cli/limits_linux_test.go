package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// Conditions and commands of transcripts that take something away from a run.

// hosts are what this host may allow, as conditions of transcripts: each with a
// command that finds out.
var hosts = map[string]func() bool{
	"netns": tried("unshare", "-rn", "sh", "-c", "ip link set lo up && echo 40000 40009 > /proc/sys/net/ipv4/ip_local_port_range"),
	"mount": tried("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"),
	"memgroup": tried("sh", "-c", `
		own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
		dir=/sys/fs/cgroup/memory$own/muster-try-$$
		mkdir $dir && echo 1000000000 > $dir/memory.limit_in_bytes; tried=$?; rmdir $dir; exit $tried`),
}

// tried returns what runs a command, once, and reports whether it can.
func tried(name string, args ...string) func() bool {
	return sync.OnceValue(func() bool { return exec.Command(name, args...).Run() == nil })
}

// hostAllows is the Condition of transcripts.
func hostAllows(condition string) (bool, error) {
	allows, ok := hosts[condition]
	if !ok {
		return false, fmt.Errorf("unknown condition %s", condition)
	}
	return !(condition == "memgroup" && underRace) && allows(), nil // what it takes then is not what a run takes
}

// limit bounds how many files a running command, or a child of it, may have
// open; 0 is what it has open now: limit NAME|NAME.SUBCOMMAND FILES
func limit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: limit NAME|NAME.SUBCOMMAND FILES")
	}
	files, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	name, child, ofChild := strings.Cut(args[0], ".")
	pid := processes(ts)[name].cmd.Process.Pid
	if ofChild {
		pid = childOf(ts, name, child)
	}
	if files == 0 {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		ts.Check(err)
		files = uint64(len(open))
	}
	ts.Check(unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: files, Max: files}, nil))
}
