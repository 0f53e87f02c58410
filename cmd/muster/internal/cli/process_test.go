package cli_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Commands of transcripts for what runs in the background. Its output goes to
// the files NAME.stdout and NAME.stderr.

// patience bounds every wait of a transcript. It decides nothing but how long
// a broken program is waited for.
const patience = 30 * time.Second

// process is a command in the background.
type process struct {
	cmd  *exec.Cmd
	done chan error // its one value is how it ended
}

// start begins a command: start NAME COMMAND ARGS...
func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME COMMAND [ARG...]")
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		path = filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], args[1])
	}
	p := &process{cmd: exec.Command(path, args[2:]...), done: make(chan error, 1)}
	p.cmd.Dir = ts.Getenv("WORK")
	for _, name := range []string{"PATH", "HOME", "IOTHUB_CONNECTION_STRING", "IOTHUB_DEVICE_CONNECTION_STRING", "MUSTER_URL", "MUSTER_FLEET_SECRET", "GATEWAY", "WSPORT", "URL"} {
		if value := ts.Getenv(name); value != "" {
			p.cmd.Env = append(p.cmd.Env, name+"="+value)
		}
	}
	out, err := os.Create(ts.MkAbs(args[0] + ".stdout"))
	ts.Check(err)
	defer out.Close()
	log, err := os.Create(ts.MkAbs(args[0] + ".stderr"))
	ts.Check(err)
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, log
	p.cmd.Env = append(p.cmd.Env, "GORACE=atexit_sleep_ms=0") // see TestMain
	ts.Check(p.cmd.Start())
	processes(ts)[args[0]] = p
	go func() { p.done <- p.cmd.Wait() }()
	ts.Defer(func() { _ = p.cmd.Process.Kill() }) // it has ended, unless the transcript failed
}

// started holds the processes of each transcript by its folder.
var started = map[string]map[string]*process{}

var startedLock = make(chan struct{}, 1)

func processes(ts *testscript.TestScript) map[string]*process {
	startedLock <- struct{}{}
	defer func() { <-startedLock }()
	work := ts.Getenv("WORK")
	if started[work] == nil {
		started[work] = map[string]*process{}
	}
	return started[work]
}

// await waits until a file holds what a pattern matches: await FILE PATTERN
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	within(ts, func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && pattern.Match(text)
	}, "%s never held what matches %s", args[0], args[1])
}

// capture sets a variable to what the group of a pattern matches in a file, or
// in stdout: capture VARIABLE FILE PATTERN
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: capture VARIABLE FILE PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	found := pattern.FindStringSubmatch(ts.ReadFile(args[1]))
	if len(found) != 2 {
		ts.Fatalf("%s holds nothing that %s matches", args[1], args[2])
	}
	ts.Setenv(args[0], found[1])
}

// download puts what a URL answers into a file: download URL FILE
func download(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: download URL FILE")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get(args[0])
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("%s answers %s: %s", args[0], resp.Status, body)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), body, 0o666))
}

// within waits until ok says so.
func within(ts *testscript.TestScript, ok func() bool, format string, args ...any) {
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf(format, args...)
		}
	}
}

// send sends a signal: signal NAME INT|KILL
func send(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "KILL": syscall.SIGKILL}
	if neg || len(args) != 2 || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal NAME INT|KILL")
	}
	ts.Check(processes(ts)[args[0]].cmd.Process.Signal(signals[args[1]]))
}

// killChild kills a child of a command, its hub unless it is told which
// subcommand: kill-child NAME [SUBCOMMAND]
func killChild(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: kill-child NAME [SUBCOMMAND]")
	}
	ts.Check(syscall.Kill(childOf(ts, args[0], append(args, "hub")[1]), syscall.SIGKILL))
}

// childOf returns a child of a command that is such a subcommand.
func childOf(ts *testscript.TestScript, name, which string) int {
	parent := processes(ts)[name].cmd.Process.Pid
	var children []int
	for pid, stat := range processTable(ts) {
		if fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:]); len(fields) > 1 && fields[1] == strconv.Itoa(parent) && subcommand(pid) == which {
			children = append(children, pid)
		}
	}
	if len(children) == 0 {
		ts.Fatalf("%s has no child that is a %s", name, which)
	}
	return children[0]
}

// subcommand returns the first argument of a process, "" if it has ended.
func subcommand(pid int) string {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if fields := strings.Split(string(line), "\x00"); err == nil && len(fields) > 1 {
		return fields[1]
	}
	return ""
}

// ends waits for a command, checks its exit status (-1 for a signal), and lets
// stdout and stderr match what it printed: ends NAME STATUS
func ends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ends NAME STATUS")
	}
	p := processes(ts)[args[0]]
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("%s does not end", args[0])
	}
	out, log := ts.ReadFile(args[0]+".stdout"), ts.ReadFile(args[0]+".stderr")
	ts.Check(ts.Exec("sh", "-c", `cat "$0"; cat "$1" >&2`, ts.MkAbs(args[0]+".stdout"), ts.MkAbs(args[0]+".stderr")))
	if got := strconv.Itoa(p.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("%s: exit status %s, want %s\n%s%s", args[0], got, args[1], out, log)
	}
}

// noProcess checks that within a second no process of this transcript's
// folder is left: no-process COMMAND
func noProcess(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: no-process COMMAND")
	}
	self := filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], args[0])
	var left []int
	for end := time.Now().Add(time.Second); ; time.Sleep(20 * time.Millisecond) {
		left = left[:0]
		for pid := range processTable(ts) {
			line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
			dir, derr := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
			if err == nil && derr == nil && bytes.HasPrefix(line, []byte(self)) && dir == ts.Getenv("WORK") {
				left = append(left, pid)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("a second after the run these processes are left: %v", left)
		}
	}
}

// processTable reads the stat line of every process of this host.
func processTable(ts *testscript.TestScript) map[int]string {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	ts.Check(err)
	table := map[int]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		pid, perr := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && perr == nil { // else it has just ended
			table[pid] = string(text)
		}
	}
	return table
}
