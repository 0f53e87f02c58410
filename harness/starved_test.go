package harness_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"muster/harness"
	"muster/internal/goheap"
)

const mib = 1 << 20

func TestIsShort(t *testing.T) {
	check := func(most, used, before, least int64, short bool) {
		t.Helper()
		if got := harness.IsShort(most*mib, used*mib, before*mib, least*mib); got != short {
			t.Errorf("of %d MiB %d are used and %d were, with %d kept back: short is %v, want %v", most, used, before, least, got, short)
		}
	}
	check(0, 100, 0, 8, false) // no limit
	check(1000, 900, 900, 50, false)
	check(1000, 950, 950, 50, false) // near and steady
	check(1000, 951, 951, 50, true)
	check(1000, 951, 990, 50, true) // it shrinks, and is still too much
	check(1000, 1200, 1200, 50, true)
	check(1000, 930, 919, 50, true) // twice what came in between would not fit
	check(1000, 930, 921, 50, false)
	check(1000, 500, 100, 50, false) // a burst while there is room
	check(1000, 740, 0, 50, false)   // a burst counts up to a tenth
	check(1000, 751, 0, 50, true)
	check(100_000, 99_400, 0, 50, false) // and up to 256 MiB
}

// What came in between was more where the look before was long ago, and says as
// much less of what will come until the next.
func TestWhereLittleIsLeftItIsLookedAtClosely(t *testing.T) {
	next := func(host, group [2]int64, want time.Duration) {
		t.Helper()
		r := harness.ReadingOf([2]int64{host[0] * mib, host[1] * mib}, [2]int64{group[0] * mib, group[1] * mib}, [2]int64{}, goheap.State{})
		if got := harness.NextLook(r); got != want {
			t.Errorf("of a host's %d MiB and a group's %d the next look is in %v, want %v", host, group, got, want)
		}
	}
	next([2]int64{8000, 1000}, [2]int64{}, 250*time.Millisecond)
	next([2]int64{8000, 7488}, [2]int64{2000, 1488}, 250*time.Millisecond)
	next([2]int64{8000, 7489}, [2]int64{}, 20*time.Millisecond)
	next([2]int64{8000, 1000}, [2]int64{2000, 1489}, 20*time.Millisecond)
	next([2]int64{}, [2]int64{128, 1}, 20*time.Millisecond)
	short := func(most, used, before int64, want bool) {
		t.Helper()
		if got := harness.IsShortLately(most*mib, used*mib, before*mib); got != want {
			t.Errorf("of %d MiB %d are used and %d were: short is %v, want %v", most, used, before, got, want)
		}
	}
	short(190, 166, 159, false) // 9.5 are kept back, and 14 for what comes until the next look
	short(190, 167, 159, true)
	short(2000, 1700, 1480, false) // from far: 220 in a quarter of a second are 18 until the next look
	short(2000, 1865, 1480, true)  // but what is left is not enough for these
	short(2000, 1700, 1490, true)  // and that much in no time is another matter
}

func TestReserves(t *testing.T) {
	check := func(reserve func(int64) int64, most, want int64) {
		t.Helper()
		if got := reserve(most*mib) / mib; got != want {
			t.Errorf("of %d MiB %d are kept back, want %d", most, got, want)
		}
	}
	check(harness.GroupReserve, 64, 8)
	check(harness.GroupReserve, 1000, 50)
	check(harness.GroupReserve, 100_000, 256)
	check(harness.HostReserve, 512, 16)
	check(harness.HostReserve, 4000, 80)
	check(harness.HostReserve, 100_000, 256)
}

// TestThrashes holds the states of a process with three seconds between them
// on each line: what it needs of a limit of 100, and the part that the collector
// took of all processors.
func TestThrashes(t *testing.T) {
	check := func(limit, before, now int64, part float64, thrashes bool) {
		t.Helper()
		a := goheap.State{Limit: limit, Need: before, GC: time.Minute, CPU: time.Hour}
		b := goheap.State{Limit: limit, Need: now, GC: a.GC + time.Duration(part*float64(6*time.Second)), CPU: a.CPU + 6*time.Second}
		if part < 0 { // there was no collection
			b.GC, b.CPU = a.GC, a.CPU
		}
		if got := harness.Thrashes(a, b); got != thrashes {
			t.Errorf("limit %d, need %d then %d, collector %.2f: thrashes is %v, want %v", limit, before, now, part, got, thrashes)
		}
	}
	check(0, 500, 500, 1, false)      // no limit
	check(100, 99, 99, 0.05, false)   // healthy, and as near as can be
	check(100, 95, 95, 0.25, false)   // as a broadcast beside a full heap
	check(100, 60, 89, 0.50, false)   // a ramp: much is collected, and little needed
	check(100, 85, 99, 0.50, false)   // not yet for three seconds
	check(100, 90, 91, 0.50, true)    // it does little else
	check(100, 99, 101, 0.10, false)  // just above
	check(100, 101, 101, 0.10, true)  // it cannot keep to it at all
	check(100, 101, 101, -1, true)    // not even collected any more
	check(100, 95, 95, -1, false)     // idle
	check(100, 130, 99, 0.20, false)  // it came down
	check(100, 100, 100, 0.00, true)  // no room for garbage
	check(100, 92, 200, 0.40, true)   // growing beyond
	check(100, 40, 200, 0.40, false)  // a step of which the next second tells
	check(1<<40, 1, 1<<39, 1, false)  // half of a large one
	check(100, 94, 94, 0.3333, false) // a third is still enough to work with
}

func TestLasting(t *testing.T) {
	check := func(want time.Duration, is ...bool) {
		t.Helper()
		if got := harness.Lasted(is...); got != want {
			t.Errorf("%v lasted %v, want %v", is, got, want)
		}
	}
	check(0, true)
	check(time.Second, true, true)
	check(2*time.Second, false, true, true, true)
	check(0, true, true, true, false)
	check(time.Second, true, true, false, true, true)
}

func TestAHubThatCannotAcceptEndsTheRunAfterFiveSeconds(t *testing.T) {
	check := func(want int, unaccepted ...int64) {
		t.Helper()
		got := harness.HubRefuses(unaccepted...)
		first := -1
		for i, ends := range got {
			if ends && first < 0 {
				first = i
			}
		}
		if first != want {
			t.Errorf("accounts %v: the run ends at %d (%v), want %d", unaccepted, first, got, want)
		}
	}
	check(-1, 0, 0, 0, 0, 0, 0, 0, 0)
	check(-1, 0, 5, 5, 5, 5, 5, 5, 5, 5)             // once
	check(6, 0, 5, 6, 7, 8, 9, 10, 11)               // again and again
	check(7, 0, 0, 1, 2, 2, 3, 3, 4, 5)              // at most one account without
	check(-1, 0, 1, 2, 3, 3, 3, 4, 5, 6, 6, 6, 7, 8) // it passes, twice
}

// killed is how a process ends that gets the signal.
func killed(t *testing.T, signal string) error {
	t.Helper()
	err := exec.Command("sh", "-c", "kill -"+signal+" $$").Run()
	if err == nil {
		t.Fatal("a killed process has ended well")
	}
	return err
}

func TestHowAProcessDied(t *testing.T) {
	check := func(ended error, kills int64, want string) {
		t.Helper()
		got := harness.Killed(ended, 120*mib, kills)
		if !errors.Is(got, harness.ErrHubDied) || got.Error() != want {
			t.Errorf("a hub that ended with %v is worded\n%v, want\n%s", ended, got, want)
		}
	}
	const died = "the hub ended in the middle of the run"
	check(nil, 0, died)
	check(errors.New("exit status 2"), 3, died+": exit status 2")
	check(killed(t, "TERM"), 3, died+": signal: terminated")
	check(killed(t, "KILL"), 0, died+": signal: killed; it had 120 MiB of memory, and the kernel counts nobody that it killed for want of it")
	check(killed(t, "KILL"), 1, died+": signal: killed; the kernel has killed for want of memory meanwhile, and it had 120 MiB of memory: use fewer devices, or raise the limit (dmesg names it)")
	generator := func(ended error, kills int64, want string) {
		t.Helper()
		got := harness.GeneratorKilled(ended, kills)
		if !errors.Is(got, harness.ErrGeneratorDied) || got.Error() != "generator 1 of 2 (devices 0 to 19) ended in the middle of the run"+want {
			t.Errorf("a generator that ended with %v is worded\n%v, want\n…%s", ended, got, want)
		}
	}
	generator(nil, 1, "")
	generator(killed(t, "TERM"), 1, ": signal: terminated")
	generator(killed(t, "KILL"), 0, ": signal: killed")
	generator(killed(t, "KILL"), 1, ": signal: killed; the kernel has killed for want of memory meanwhile: use fewer devices, or raise the limit (dmesg names it)")
	root := fstest.MapFS{"proc/vmstat": {Data: []byte("pgfault 7\noom_kill 12\nnr_x 1\n")}}
	if got := harness.OOMKills(root); got != 12 {
		t.Errorf("OOMKills() = %d, want 12", got)
	}
	if got := harness.OOMKills(fstest.MapFS{}); got != 0 {
		t.Errorf("OOMKills() without the file = %d, want 0", got)
	}
}

func TestReadingsOfFiles(t *testing.T) {
	root := well()
	root["proc/meminfo"] = &fstest.MapFile{Data: []byte("MemTotal:       4096 kB\nMemFree:   5 kB\nMemAvailable:    1024 kB\n")}
	root["sys/fs/cgroup/user.slice/run.scope/memory.stat"] = &fstest.MapFile{Data: []byte("anon 1\ninactive_file 73741824\n")}
	version1("memory", "memory.limit_in_bytes", "1000", "memory.usage_in_bytes", "900", "memory.stat", "inactive_file 7\ntotal_inactive_file 200\ntotal_active_file 100\n")(nil, root)
	host, groups := harness.ReadHostFiles(root)
	got := fmt.Sprint(host, groups)
	if want := "[4194304 3145728] [[8589934592 1000000000] [1000 600]]"; got != want {
		t.Errorf("readings %s, want %s", got, want)
	}
	if !strings.Contains(fmt.Sprint(harness.ReadHostFiles(fstest.MapFS{})), "[0 0]") {
		t.Error("a host without files has readings")
	}
}
