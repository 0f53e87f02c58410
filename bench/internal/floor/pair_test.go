package floor_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/bench/internal/floor"
)

// played is a part that plays in a goroutine of its own.
type played struct {
	floor.Hello
	t       *testing.T
	ask     *io.PipeWriter
	answers *bufio.Reader
	group   errgroup.Group
}

func play(t *testing.T, p floor.Part) *played {
	t.Helper()
	questions, ask := io.Pipe()
	answers, say := io.Pipe()
	run := &played{t: t, ask: ask, answers: bufio.NewReader(answers)}
	run.group.Go(func() error {
		err := floor.Serve(t.Context(), p, questions, say)
		_ = say.CloseWithError(err) // never fails
		return err
	})
	run.read(&run.Hello)
	return run
}

func (p *played) read(answer any) {
	p.t.Helper()
	line, err := p.answers.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, answer)
	}
	if err != nil {
		p.t.Fatalf("read an answer: %v", err)
	}
}

func (p *played) broadcast() {
	p.t.Helper()
	var took time.Duration
	if _, err := io.WriteString(p.ask, "broadcast\n"); err != nil {
		p.t.Fatal(err)
	}
	if p.read(&took); took <= 0 {
		p.t.Errorf("a broadcast took %v, want more than nothing", took)
	}
}

func (p *played) stop() {
	p.t.Helper()
	_ = p.ask.Close() // never fails
	if err := p.group.Wait(); err != nil {
		p.t.Error(err)
	}
}

// TestPairsBroadcast has each pair exchange what it should: a server fails at
// the first answer that is not the one, and waits for every device's.
func TestPairsBroadcast(t *testing.T) {
	const devices = 20
	try := func(name string, server, client floor.Role, tls bool) {
		t.Run(name, func(t *testing.T) {
			first := play(t, floor.Part{Role: server, Devices: devices, TLS: tls})
			defer first.stop()
			begins := first
			if client != "" {
				second := play(t, floor.Part{Role: client, Devices: devices, Addr: first.Addr, CA: first.CA})
				defer second.stop()
				if client == floor.Callers {
					begins = second
				}
			}
			for range 17 { // until the requests' ids have two digits
				begins.broadcast()
			}
		})
	}
	try("tcp", floor.Hub, floor.Devices, false)
	try("tls", floor.Hub, floor.Devices, true)
	try("memory", floor.Both, "", false)
	try("paho", floor.Hub, floor.PahoDevices, false)
	try("paho over tls", floor.Hub, floor.PahoDevices, true)
	try("paho in memory", floor.BothPaho, "", false)
	try("http in memory", floor.BothWeb, "", false)
	try("http", floor.WebServer, floor.Callers, false)
}

// TestRunMeasuresPairs runs each pair as the processes that it is, this binary
// in their place. What they cost is anything above nothing.
func TestRunMeasuresPairs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range floor.Pairs() {
		t.Run(string(pair), func(t *testing.T) {
			c := floor.Case{Pair: pair, Devices: 10, Broadcasts: 2}
			got, err := floor.Run(t.Context(), self, c)
			if err != nil {
				t.Fatalf("Run(%+v): %v", c, err)
			}
			one := pair == floor.Memory || pair == floor.PahoMemory || pair == floor.HTTPMemory
			devices := pair != floor.HTTP && pair != floor.HTTPMemory
			if got.RoundTrips <= 0 || got.ClientKB <= 0 || got.ClientAfterKB <= 0 || (got.ServerKB > 0) == one || (got.Connects > 0) != devices {
				t.Errorf("Run(%+v) = %+v, want rates and memory, those of a server unless there is one process, and of connects if there are devices", c, got)
			}
		})
	}
	if _, err := floor.Run(t.Context(), "no/such/binary", floor.Case{Pair: floor.TCP, Devices: 1, Broadcasts: 1}); err == nil {
		t.Error("Run of a binary that is not there: no error")
	}
}

func TestServeRefuses(t *testing.T) {
	refuses := func(p floor.Part, questions, want string) {
		t.Helper()
		err := floor.Serve(t.Context(), p, strings.NewReader(questions), io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve(%+v, %q): got %v, want an error with %q", p, questions, err, want)
		}
	}
	refuses(floor.Part{Role: "sender"}, "", `role "sender": want one of [hub`)
	refuses(floor.Part{Role: floor.Both, Devices: 1}, "why\n", `question "why": want account or broadcast`)
	refuses(floor.Part{Role: floor.WebServer}, "broadcast\n", `question "broadcast"`)
	refuses(floor.Part{Role: floor.Devices, Devices: 3, Addr: "127.0.0.1:1"}, "", "connect the devices")
	refuses(floor.Part{Role: floor.PahoDevices, Devices: 3, Addr: "127.0.0.1:1"}, "", "connect the devices")
}

// TestServerMindsItsExchange has devices of another mind in memory.
func TestServerMindsItsExchange(t *testing.T) {
	e, err := floor.NewExchange()
	if err != nil {
		t.Fatal(err)
	}
	broadcast := func(answer []byte, want string) {
		t.Helper()
		room := floor.NewRoom()
		s := floor.NewServer(e, room, 1)
		conn, err := room.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 512)
		for i := range e.Hello {
			_, _ = conn.Write(e.Hello[i]) // never fails
			if n, err := io.ReadFull(conn, b[:len(e.Welcome[i])]); err != nil || !bytes.Equal(b[:n], e.Welcome[i]) {
				t.Fatalf("the server says %q, %v; want %q", b[:n], err, e.Welcome[i])
			}
		}
		if answer == nil {
			_ = conn.Close() // never fails
		} else {
			_, _ = conn.Write(answer) // never fails
		}
		_, err = s.Broadcast(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Broadcast with the answer %q: got %v, want an error with %q", answer, err, want)
		}
		s.Close()
	}
	broadcast(bytes.Repeat([]byte("no"), 50), "answer") // to nothing, or another one than it should
	broadcast(nil, "EOF")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := floor.NewServer(e, floor.NewRoom(), 1)
	if _, err := s.Broadcast(ctx); err == nil {
		t.Error("Broadcast without its devices, its context ended: no error")
	}
	s.Close()
}
