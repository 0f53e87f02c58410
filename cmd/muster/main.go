// Command muster is a fleet load-testing harness: it simulates connected
// devices, fires jobs at them through an IoT hub, and gives a verdict.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"muster/cmd/muster/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal drains; a second one kills
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
