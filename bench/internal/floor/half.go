package floor

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Role is which part of a pair a process plays.
type Role string

// The roles of the raw pair.
const (
	Hub     Role = "hub"     // a Server on loopback
	Devices Role = "devices" // a Client
	Both    Role = "both"    // both, in memory
)

// Part is what a process is to be.
type Part struct {
	Role    Role
	Devices int
	TLS     bool   // of Hub
	Addr    string // of Devices: where the hub is
	CA      []byte // of Devices: the hub's certificate; none: no TLS
}

// Hello is what a part says when it is up.
type Hello struct {
	Addr       string        `json:",omitempty"`
	CA         []byte        `json:",omitempty"`
	Connecting time.Duration `json:",omitempty"` // of devices: until all were online
}

// The questions that a part answers, one a line, each with a line of JSON.
const (
	askAccount   = "account"   // Account
	askBroadcast = "broadcast" // time.Duration
)

// half is a part that is up.
type half struct {
	hello     Hello
	broadcast func(context.Context) (time.Duration, error) // nil: it cannot
	close     func()
}

// Serve plays a part until the questions end.
func Serve(ctx context.Context, p Part, questions io.Reader, answers io.Writer) error {
	h, err := p.start(ctx)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Role, err)
	}
	defer h.close()
	say := json.NewEncoder(answers).Encode
	if err := say(h.hello); err != nil {
		return err
	}
	lines := bufio.NewScanner(questions)
	for lines.Scan() {
		answer, err := h.answer(ctx, strings.TrimSpace(lines.Text()))
		if err != nil {
			return err
		}
		if err := say(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (h half) answer(ctx context.Context, question string) (any, error) {
	switch {
	case question == askAccount:
		return ownAccount()
	case question == askBroadcast && h.broadcast != nil:
		return h.broadcast(ctx)
	}
	return nil, fmt.Errorf("question %q: want %s or %s", question, askAccount, askBroadcast)
}

func (p Part) start(ctx context.Context) (half, error) {
	e, err := NewExchange()
	if err != nil {
		return half{}, err
	}
	switch p.Role {
	case Hub:
		return p.startHub(e)
	case Devices:
		return p.startDevices(ctx, e)
	case Both:
		return p.startBoth(ctx, e)
	}
	return half{}, fmt.Errorf("role %q: unknown", p.Role)
}

func (p Part) startHub(e *Exchange) (half, error) {
	var h half
	var err error
	tcp := network{}
	if p.TLS {
		cert, err := newCertificate()
		if err != nil {
			return h, err
		}
		h.hello.CA = cert.Certificate[0]
		tcp.Listener, err = listen(cert)
		if err != nil {
			return h, err
		}
	} else if tcp.Listener, err = listen(nil); err != nil {
		return h, err
	}
	h.hello.Addr = tcp.Addr().String()
	s := NewServer(e, tcp, p.Devices)
	h.broadcast, h.close = s.Broadcast, s.Close
	return h, nil
}

func (p Part) startDevices(ctx context.Context, e *Exchange) (half, error) {
	dial, err := dialNet(p.Addr, p.CA)
	if err != nil {
		return half{}, err
	}
	c, took, err := Connect(ctx, e, func(ctx context.Context) (io.ReadWriteCloser, error) { return dial(ctx) }, p.Devices)
	if err != nil {
		return half{}, err
	}
	return half{hello: Hello{Connecting: took}, close: c.Close}, nil
}

func (p Part) startBoth(ctx context.Context, e *Exchange) (half, error) {
	m := NewMemory()
	s := NewServer(e, m, p.Devices)
	c, took, err := Connect(ctx, e, m.Dial, p.Devices)
	if err != nil {
		s.Close()
		return half{}, err
	}
	return half{hello: Hello{Connecting: took}, broadcast: s.Broadcast, close: func() { c.Close(); s.Close() }}, nil
}
