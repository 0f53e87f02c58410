package hub_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
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

// TestAnswerBehindReadersCounts has a device answer, disconnect and connect anew before its connection has its turn to be read.
// The answer counts, and the will does not.
func TestAnswerBehindReadersCounts(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		b := dial(t, s)
		b.connack(mqtt.Connect{CleanSession: true, HasWill: true, WillTopic: []byte("devices/dev1/messages/events/")}, valid(s, "dev1"))
		b.subscribe(iothub.FilterMethods)
		c := invoke(t, s, "dev1", `{"methodName":"m"}`)
		release := hub.HoldReaders(s.Hub)
		b.answerMethod("m", "null", 200, `1`)
		b.write(mqtt.AppendDisconnect(nil))
		_ = b.conn.Close()
		newer := dialTLS(t, s) // whose CONNECT does not wait for the readers
		newer.connect(valid(s, "dev1"), true, 60)
		release()
		c.wants(t, http.StatusOK, `{"status":200,"payload":1}`, 0)
		newer.alive()
		if got := s.Stats(); got.Connections != 1 || got.TakenOver != 1 || got.Telemetry != 0 {
			t.Errorf("stats %+v, want 1 connection, 1 taken over, and no telemetry", got)
		}
	})
}

// TestAnswerBeforeCloseCounts has a device answer and go away before its connection has its turn to be read, and a write find that
// out first.
func TestAnswerBeforeCloseCounts(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		c := invoke(t, s, "dev1", `{"methodName":"m"}`)
		release := hub.HoldReaders(s.Hub)
		b.answerMethod("m", "null", 200, `1`)
		_ = b.conn.Close()
		late := invoke(t, s, "dev1", `{"methodName":"late"}`)
		release()
		c.wants(t, http.StatusOK, `{"status":200,"payload":1}`, 0)
		late.refused(t, iothub.CodeGatewayTimeout, 30*time.Second)
	})
}

// TestConnectBehindReadersCounts has a CONNECT come in time, and be read only when that is over.
func TestConnectBehindReadersCounts(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		release := hub.HoldReaders(s.Hub)
		b := dial(t, s)
		time.Sleep(9 * time.Second)
		time.AfterFunc(2*time.Second, release)
		if code := b.connect(valid(s, "dev1"), true, 60); code != mqtt.Accepted {
			t.Errorf("CONNACK %d, want %d", code, mqtt.Accepted)
		}
		b.alive()
	})
}

// TestPingBehindReadersCounts has a device ping in time, and its connection be read only when that is over.
func TestPingBehindReadersCounts(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1") // with a keep-alive of 60 s: it ends after 90 s
		release := hub.HoldReaders(s.Hub)
		time.Sleep(80 * time.Second)
		b.write(mqtt.AppendPingreq(nil))
		time.Sleep(20 * time.Second)
		release()
		b.expect(mqtt.TypePingresp)
		if quiet := b.closed(); quiet != 90*time.Second {
			t.Errorf("closed %s after it was read, want 90 s", quiet)
		}
	})
}
