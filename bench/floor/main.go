// Command floor measures the least that a broadcast takes on this machine: two
// bare programs, or one in memory, that exchange the very bytes of muster's
// devices and hub. Beside them are pairs that use one library and nothing else.
//
//	floor pair -devices 10000 -broadcasts 20 -pair tcp
//
// starts both halves and prints what they cost. The other roles are the halves,
// which it starts itself.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"muster/bench/internal/floor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no role: want pair, or one of %v", floor.Roles())
	}
	if args[0] == "pair" {
		return pair(ctx, args[1:])
	}
	return floor.Play(ctx, args, os.Stdin, os.Stdout)
}

func pair(ctx context.Context, args []string) error {
	var c floor.Case
	f := flag.NewFlagSet("pair", flag.ContinueOnError)
	f.IntVar(&c.Devices, "devices", 10_000, "devices")
	f.IntVar(&c.Broadcasts, "broadcasts", 20, "broadcasts")
	f.StringVar((*string)(&c.Pair), "pair", "tcp", fmt.Sprintf("which pair: one of %v", floor.Pairs()))
	if err := f.Parse(args); err != nil {
		return err
	}
	if !slices.Contains(floor.Pairs(), c.Pair) || c.Devices < 1 || c.Broadcasts < 1 {
		return fmt.Errorf("pair %s of %d devices, %d broadcasts: want one of %v, a device and a broadcast at least", c.Pair, c.Devices, c.Broadcasts, floor.Pairs())
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	costs, err := floor.Run(ctx, self, c)
	if err != nil {
		return err
	}
	fmt.Printf("round trips/s %.0f, client %.2f µs and %.2f KB a device, server %.2f µs and %.2f KB, connects/s %.0f\n",
		costs.RoundTrips, costs.ClientMicros, costs.ClientKB, costs.ServerMicros, costs.ServerKB, costs.Connects)
	return nil
}
