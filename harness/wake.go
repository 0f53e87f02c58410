package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/internal/sample"
)

// wakeSource has itself woken until ctx ends and emits how long each wake waited,
// in order, from one goroutine at a time.
type wakeSource func(ctx context.Context, clock *sample.Clock, emit func(sample.Wake)) error

// wakeEvery is how often the canary is woken. On a saturated machine requests
// wait tens of milliseconds unread while timers look healthy, so it goes
// through the poller that also wakes the devices.
const wakeEvery = time.Millisecond

// loopbackWakes sends over a TCP connection of this process to itself, as
// devices on loopback do.
func loopbackWakes(ctx context.Context, clock *sample.Clock, emit func(sample.Wake)) error {
	in, out, err := loopbackPair(ctx)
	if err != nil {
		return fmt.Errorf("open the wake canary's connection: %w", err)
	}
	return canary(ctx, clock, in, out, emit)
}

// pipeWakes sends over a pipe of the operating system: for runs that open no
// socket. The same poller serves it.
func pipeWakes(ctx context.Context, clock *sample.Clock, emit func(sample.Wake)) error {
	in, out, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("open the wake canary's pipe: %w", err)
	}
	return canary(ctx, clock, in, out, emit)
}

func loopbackPair(ctx context.Context) (in, out net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	var dialer net.Dialer
	out, err = dialer.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	in, err = l.Accept()
	if err != nil {
		return nil, nil, errors.Join(err, out.Close())
	}
	return in, out, nil
}

// messageSize is of a wake on the wire: when it was sent.
const messageSize = 8

// canary owns in and out. Its two goroutines end when ctx does: closing both
// ends them wherever they wait.
func canary(ctx context.Context, clock *sample.Clock, in io.ReadCloser, out io.WriteCloser, emit func(sample.Wake)) error {
	group, ctx := errgroup.WithContext(ctx)
	var once sync.Once
	closeBoth := func() {
		once.Do(func() {
			_ = out.Close() // nothing is lost with them
			_ = in.Close()
		})
	}
	defer closeBoth()
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()
	group.Go(func() error { return sendWakes(ctx, clock, out) })
	group.Go(func() error { return readWakes(ctx, clock, in, emit) })
	err := group.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// sendWakes sends one message for every millisecond that passed. Lateness of
// its timer within a millisecond is the timer's. Milliseconds that it missed
// altogether it makes up for, with messages that count from when they should
// have been sent: the process stood still, and a stall weighs as much as it
// lasted.
func sendWakes(ctx context.Context, clock *sample.Clock, out io.Writer) error {
	timer := time.NewTimer(wakeEvery)
	defer timer.Stop()
	due := clock.Now().Add(wakeEvery)
	var buf []byte
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		now := clock.Now()
		buf = buf[:0]
		for ; due <= now && len(buf) < 1<<12; due += sample.Moment(wakeEvery) {
			sent := due
			if now-due < sample.Moment(wakeEvery) {
				sent = now
			}
			buf = binary.LittleEndian.AppendUint64(buf, uint64(sent))
		}
		if _, err := out.Write(buf); err != nil {
			return fmt.Errorf("send a wake: %w", err)
		}
		timer.Reset(time.Duration(due - clock.Now()))
	}
}

func readWakes(ctx context.Context, clock *sample.Clock, in io.Reader, emit func(sample.Wake)) error {
	buf := make([]byte, 64*messageSize)
	have := 0
	for {
		n, err := in.Read(buf[have:])
		now := clock.Now()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("read a wake: %w", err)
		}
		have += n
		whole := buf[:have-have%messageSize]
		for m := range len(whole) / messageSize {
			sent := sample.Moment(binary.LittleEndian.Uint64(whole[m*messageSize:]))
			emit(sample.Wake{Sent: sent, Delay: time.Duration(now - sent)})
		}
		have = copy(buf, buf[len(whole):have])
	}
}
