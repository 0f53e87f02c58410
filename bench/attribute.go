package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// stack is what a profile saw of one stack of calls.
type stack struct {
	frames []string // the innermost first
	time   time.Duration
}

// parseTraces reads what go tool pprof -traces writes.
func parseTraces(r io.Reader) ([]stack, error) {
	var all []stack
	lines := bufio.NewScanner(r)
	head := true // until the first rule
	begins := false
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "----") {
			head, begins = false, true
			continue
		}
		if head {
			continue
		}
		frame := strings.TrimSuffix(strings.TrimSpace(line), " (inline)")
		if begins {
			value, innermost, _ := strings.Cut(frame, " ")
			d, err := time.ParseDuration(value)
			if err != nil {
				return nil, fmt.Errorf("read a profile: %q is no time: %w", value, err)
			}
			all = append(all, stack{time: d})
			frame, begins = strings.TrimSuffix(strings.TrimSpace(innermost), " (inline)"), false
		}
		last := &all[len(all)-1]
		last.frames = append(last.frames, frame)
	}
	return all, lines.Err()
}

// share is a part of a process's work: what a stack is of if a frame begins
// with one of the texts.
type share struct {
	name   string
	frames []string
}

// beside are what a process does before and after the broadcasts.
var beside = share{"", []string{
	"muster/fleet.(*Fleet).connect", "muster/fleet.(*Fleet).Register", "muster/fleet.(*Fleet).Identity", "muster/fleet.(*pool).Close",
	"muster/fleet/lean.(*conn).Close", "muster/fleet/paho.(*conn).Close", "muster/harness.(*run).build", "muster/harness.(*run).finish",
	"muster/harness.(*collector).collect", // while nothing is due
	"muster/hub.(*conn).connect", "muster/hub.(*conn).subscribe", "muster/hub.(*Hub).leave", "muster/hub.(*conn).finish",
	"muster/hub.(*Hub).accept", "muster/hub.(*Hub).ServeMQTT", "muster/hub.(*Hub).bulk", "muster/hub.(*conn).twin",
	"runtime.doInit", "crypto/tls.(*Conn).HandshakeContext", "crypto/tls.(*Conn).handshake",
}}

// whole are what a stack is of wherever one of the frames is in it.
var whole = []share{
	{"system calls: write", []string{"syscall.write", "syscall.Write", "syscall.writev", "golang.org/x/sys/unix.Write"}},
	{"system calls: read", []string{"syscall.read", "syscall.Read", "golang.org/x/sys/unix.Read"}},
	{"runtime: garbage", []string{"runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart"}},
}

// inner are what a stack is of whose innermost frame of any of them is theirs.
var inner = []share{
	{"codec", []string{
		"muster/internal/mqtt.", "github.com/eclipse/paho.mqtt.golang/packets.", "muster/iothub.ParseTopic",
		"muster/iothub.(*Topic)", "muster/iothub.Method", "muster/iothub.TwinGetTopic",
	}},
	{"sockets", []string{"muster/internal/socket."}},
	{"fleet and driver", []string{"muster/fleet", "github.com/eclipse/paho.mqtt.golang."}},
	{"samples", []string{"muster/internal/sample.", "muster/harness.(*recorder)", "muster/report.", "github.com/HdrHistogram"}},
	{"scheduler", []string{"muster/scheduler.", "muster/harness.(*relay)"}},
	{"canary and accounts", []string{
		"muster/harness.timerWakes", "muster/harness.socketWakes", "muster/harness.(*wakeTimer)", "muster/harness.readExpiries",
		"muster/harness.canary", "muster/harness.(*health)",
	}},
	{"rows and calls over HTTP", []string{
		"muster/iothub.", "net/http.", "encoding/json", "muster/harness.", "muster/hub.(*Hub).ServeHTTP", "muster/hub.(*Hub).routes",
		"muster/hub.(*exchange)", "muster/hub.(*request)", "muster/hub.reply", "muster/hub.(*Hub).runQuery", "muster/hub.(*Hub).deviceJobs",
		"muster/hub.(*jobRow)", "muster/hub.(*job).appendRows", "muster/hub.append",
	}},
	{"hub: jobs and calls", []string{
		"muster/hub.(*job)", "muster/hub.(*call)", "muster/hub.(*Hub).invoke", "muster/hub.(*Hub).answer", "muster/hub.readAnswer",
		"muster/hub.(*timers)", "muster/hub.(*Hub).try",
	}},
	{"hub: connections", []string{"muster/hub."}},
}

// rest is what has none of the frames: the scheduling of goroutines and the
// poller, but for what a few stacks are cut off from.
const rest = "runtime: goroutines and poller"

// attribute adds the stacks up by what they are of, in the order of the
// lists, and leaves out what is beside the broadcasts.
func attribute(all []stack) (names []string, spent map[string]time.Duration) {
	spent = map[string]time.Duration{}
	for _, s := range all {
		if !s.has(beside) {
			spent[s.of()] += s.time
		}
	}
	for _, group := range [][]share{whole, inner, {{name: rest}}} {
		for _, sh := range group {
			if spent[sh.name] > 0 {
				names = append(names, sh.name)
			}
		}
	}
	return names, spent
}

func (s stack) has(sh share) bool { return slices.ContainsFunc(s.frames, sh.begins) }

func (sh share) begins(frame string) bool {
	return slices.ContainsFunc(sh.frames, func(text string) bool { return strings.HasPrefix(frame, text) })
}

// of returns what a stack is of.
func (s stack) of() string {
	for _, sh := range whole {
		if s.has(sh) {
			return sh.name
		}
	}
	for _, frame := range s.frames {
		for _, sh := range inner {
			if sh.begins(frame) {
				return sh.name
			}
		}
	}
	return rest
}
