package hub_test

import (
	"bytes"
	"testing"

	"muster/hub"
)

// TestFlushersLetAllHaveTheirTurn has a connection that something is pending for again and again, and wants another one to
// be written to all the same.
func TestFlushersLetAllHaveTheirTurn(t *testing.T) {
	h := hub.New(nil)
	defer h.Close()
	flush := hub.FlushHere(h)
	var got bytes.Buffer // by the busy one
	others := 0          // bytes of the busy one when the other was written to; 0: it was not
	var busy hub.Flushed
	busy = hub.NewFlushed(h, func(b []byte) {
		if got.Write(b); others == 0 && got.Len() < 10_000 {
			busy.Send(byte(got.Len()))
		}
	})
	other := hub.NewFlushed(h, func([]byte) { others = got.Len() })
	busy.Send(0)
	other.Send(0)
	flush()
	if others == 0 || others > 100 {
		t.Errorf("the other connection was written to after %d packets of the busy one (0: never), of %d", others, got.Len())
	}
	for i, b := range got.Bytes() {
		if b != byte(i) {
			t.Fatalf("the busy connection got %d as byte %d", b, i)
		}
	}
}

// TestFlushersQueueIsBounded wants a queue that is never empty to be as large as what waits in it, not as what ever did.
func TestFlushersQueueIsBounded(t *testing.T) {
	if room := hub.FlushQueue(100, 100_000); room > 1000 {
		t.Errorf("100 connections that wait have room for %d", room)
	}
}

// TestReadersLetAllHaveTheirTurn has a connection that is told of more at each read, and wants its reader to be done for now.
func TestReadersLetAllHaveTheirTurn(t *testing.T) {
	h := hub.New(nil)
	defer h.Close()
	if reads, waits := hub.ReadTurn(h, 10_000); !waits || reads > 1000 {
		t.Errorf("after %d reads the connection waits for its turn: %t", reads, waits)
	}
}
