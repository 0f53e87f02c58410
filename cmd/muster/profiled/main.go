// Command profiled is muster with a CPU profile of each of its processes, for
// bench: muster itself has none. The profile of "profiled run" is the file
// run.pprof, and that of its hub hub.pprof, in the folder that $PROFILES names.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"

	"muster/cmd/muster/internal/cli"
)

// failed is muster's own status of the same meaning.
const failed = 1

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	status, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "profiled:", err)
		status = failed
	}
	os.Exit(status)
}

func run(ctx context.Context, args []string) (status int, err error) {
	if len(args) == 0 {
		return 0, fmt.Errorf("no command of muster")
	}
	f, err := os.Create(filepath.Join(os.Getenv("PROFILES"), args[0]+".pprof"))
	if err != nil {
		return 0, fmt.Errorf("write the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return 0, fmt.Errorf("write the profile: %w", err)
	}
	status = cli.Main(ctx, args, cli.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	pprof.StopCPUProfile()
	if err := f.Close(); err != nil {
		return 0, fmt.Errorf("write the profile: %w", err)
	}
	return status, nil
}
