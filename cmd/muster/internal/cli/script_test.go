package cli_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"muster/cmd/muster/internal/cli"
)

var update = flag.Bool("update", false, "write what the commands print now into the transcripts")

func TestMain(m *testing.M) {
	// The race detector lets a process sleep for a second before it exits, which is not muster's.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	// In a transcript, muster is this test binary under another name, and so
	// is the hub that it starts as a child.
	testscript.Main(leakChecked{m}, map[string]func(){
		"muster": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			context.AfterFunc(ctx, stop)
			os.Exit(cli.Main(ctx, os.Args[1:], cli.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	status := l.m.Run()
	if status != 0 {
		return status
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestTranscripts runs the command lines of testdata/script and compares what
// they print and how they exit.
func TestTranscripts(t *testing.T) {
	shipped, err := filepath.Abs("../../../../scenarios")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("SCENARIOS", shipped)
			return nil
		},
		Condition: hostAllows,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":      exits,
			"start":      start,
			"await":      await,
			"capture":    capture,
			"download":   download,
			"signal":     send,
			"kill-child": killChild,
			"limit":      limit,
			"ends":       ends,
			"no-process": noProcess,
			"record":     record,
		},
	})
}

// exits runs a command line and checks its exit status: exits STATUS COMMAND ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS[|STATUS...] COMMAND [ARG...]")
	}
	want := strings.Split(args[0], "|")
	if got := strconv.Itoa(status(ts, args[1:])); !slices.Contains(want, got) {
		ts.Fatalf("%v: exit status %s, want %s", args[1:], got, args[0])
	}
}

func status(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v: %v", args, err)
	}
	if err != nil {
		return exit.ExitCode()
	}
	return 0
}
