package goheap_test

import (
	"runtime"
	"runtime/debug"
	"testing"

	"muster/internal/goheap"
)

var held [][]byte

func TestRead(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(3 << 30))
	runtime.GC()
	before := goheap.Read()
	if before.Limit != 3<<30 {
		t.Errorf("Read().Limit = %d, want %d", before.Limit, int64(3<<30))
	}
	for range 64 {
		held = append(held, make([]byte, 1<<20))
	}
	runtime.GC()
	after := goheap.Read()
	if grown := after.Need - before.Need; grown < 60<<20 || grown > 80<<20 {
		t.Errorf("64 MiB more are live, and Need grew by %d MiB", grown>>20)
	}
	if after.GC <= before.GC || after.CPU <= before.CPU || after.GC > after.CPU {
		t.Errorf("after a collection: %+v, before it %+v", after, before)
	}
	held = nil
	for range 10 {
		_ = make([]byte, 1<<20) // garbage is nothing that is needed
	}
	runtime.GC()
	if last := goheap.Read(); last.Need > before.Need+10<<20 {
		t.Errorf("with nothing held Need is %d MiB, want about %d", last.Need>>20, before.Need>>20)
	}
}

func TestReadWithoutALimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1<<63 - 1))
	if got := goheap.Read().Limit; got != 0 {
		t.Errorf("Read().Limit = %d without GOMEMLIMIT, want 0", got)
	}
}
