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

// runWakes is the canary of a run, whatever its devices connect over.
func runWakes(bool) wakeSource { return timerWakes }

// timerWakes has a timer of the kernel's, which the poller watches as it does
// the devices' sockets, and emits a wake for each of its expiries. When those
// are is known beforehand, and the kernel counts the ones that nobody read: so
// the milliseconds in which the process stood still are among them.
func timerWakes(ctx context.Context, clock *sample.Clock, emit func(sample.Wake)) error {
	timer, due, err := openTimer(clock)
	if err != nil {
		return fmt.Errorf("open the wake canary's timer: %w", err)
	}
	defer timer.Close()
	raw, err := timer.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch the wake canary's timer: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = timer.Close() }) // ends the read
	defer stop()
	err = raw.Read(func(fd uintptr) bool {
		expired := readExpiries(fd)
		now := clock.Now()
		for ; expired > 0; expired-- {
			emit(sample.Wake{Sent: due, Delay: max(0, time.Duration(now-due))})
			due += sample.Moment(wakeEvery)
		}
		return false // wait for more
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("read a wake: %w", err)
}

// openTimer returns a timer that expires each wakeEvery, and when it does first.
func openTimer(clock *sample.Clock) (timer *os.File, due sample.Moment, err error) {
	epoch, err := clock.Share()
	if err != nil {
		return nil, 0, err
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, 0, os.NewSyscallError("timerfd_create", err)
	}
	due = clock.Now().Add(wakeEvery)
	spec := unix.ItimerSpec{
		Interval: unix.NsecToTimespec(int64(wakeEvery)),
		Value:    unix.NsecToTimespec(epoch.Monotonic + int64(due)),
	}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		_ = unix.Close(fd) // nothing is in it
		return nil, 0, os.NewSyscallError("timerfd_settime", err)
	}
	return os.NewFile(uintptr(fd), "wakes"), due, nil
}

// readExpiries returns how often the timer has expired since it was last read.
// The read never waits, so the scheduler is not told of it: in an idle process
// that would wake the scheduler's own watch each time, which costs more than all else
// of a wake.
func readExpiries(fd uintptr) uint64 {
	var count [8]byte
	n, _, _ := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&count)), unsafe.Sizeof(count))
	if n != unsafe.Sizeof(count) {
		return 0 // none since
	}
	return binary.NativeEndian.Uint64(count[:])
}
