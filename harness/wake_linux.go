package harness

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"muster/internal/sample"
)

// runWakes is the canary of a run whose devices connect over sockets, or in
// memory.
func runWakes(memory bool) wakeSource {
	if memory {
		return timerWakes
	}
	return socketWakes
}

// timerWakes has a timer of the kernel's, which the runtime's poller watches, and
// emits a wake for each of its expiries. When those are is known beforehand, and
// the kernel counts the ones that nobody read: so the milliseconds in which the
// process stood still are among them.
func timerWakes(ctx context.Context, clock *sample.Clock, emit func(sample.Wake)) error {
	t, err := openTimer(clock)
	if err != nil {
		return fmt.Errorf("open the wake canary's timer: %w", err)
	}
	file := os.NewFile(uintptr(t.fd), "wakes")
	defer file.Close()
	raw, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch the wake canary's timer: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = file.Close() }) // ends the read
	defer stop()
	err = raw.Read(func(uintptr) bool {
		t.emit(emit)
		return false // wait for more
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("read a wake: %w", err)
}

// socketWakes is timerWakes on the epoll that has the sockets of devices. A socket
// to which something has come waits there until those before it were told, and
// so does a wake. With devices whose sockets the runtime's poller watches there is
// nothing else on it, and a wake waits for that poller alone.
func socketWakes(ctx context.Context, clock *sample.Clock, emit func(sample.Wake)) error {
	t, err := openTimer(clock)
	if err != nil {
		return fmt.Errorf("open the wake canary's timer: %w", err)
	}
	defer unix.Close(t.fd) // nothing is lost with it
	if err := sockets.Watch(ctx, t.fd, func() { t.emit(emit) }); err != nil {
		return fmt.Errorf("watch the wake canary's timer: %w", err)
	}
	return nil
}

// wakeTimer is a timer of the kernel's that expires each wakeEvery.
type wakeTimer struct {
	fd    int
	clock *sample.Clock
	due   sample.Moment // of the first expiry that was not read
}

// emit emits a wake for each expiry since it was last called.
func (t *wakeTimer) emit(emit func(sample.Wake)) {
	expired := readExpiries(t.fd)
	now := t.clock.Now()
	for ; expired > 0; expired-- {
		emit(sample.Wake{Sent: t.due, Delay: max(0, time.Duration(now-t.due))})
		t.due += sample.Moment(wakeEvery)
	}
}

func openTimer(clock *sample.Clock) (*wakeTimer, error) {
	epoch, err := clock.Share()
	if err != nil {
		return nil, err
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	due := clock.Now().Add(wakeEvery)
	spec := unix.ItimerSpec{
		Interval: unix.NsecToTimespec(int64(wakeEvery)),
		Value:    unix.NsecToTimespec(epoch.Monotonic + int64(due)),
	}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		_ = unix.Close(fd) // nothing is in it
		return nil, os.NewSyscallError("timerfd_settime", err)
	}
	return &wakeTimer{fd, clock, due}, nil
}

// readExpiries returns how often the timer has expired since it was last read.
// The read never waits, so the scheduler is not told of it: in an idle process
// that would wake the scheduler's own watch each time, which costs more than all else
// of a wake.
func readExpiries(fd int) uint64 {
	var count [8]byte
	n, _, _ := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&count)), unsafe.Sizeof(count))
	if n != unsafe.Sizeof(count) {
		return 0 // none since
	}
	return binary.NativeEndian.Uint64(count[:])
}
