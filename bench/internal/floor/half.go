package floor

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"muster/internal/memnet"
)

// Role is which part of a pair a process plays.
type Role string

// The roles.
const (
	Hub         Role = "hub"       // a Server on loopback
	Devices     Role = "devices"   // a Client
	PahoDevices Role = "paho"      // a PahoClient
	Both        Role = "both"      // a Server and a Client, in memory
	BothPaho    Role = "both-paho" // a Server and a PahoClient, in memory
	WebServer   Role = "web"       // a Web on loopback
	Callers     Role = "callers"   // a Caller
	BothWeb     Role = "both-web"  // a Web and a Caller, in memory
)

// Roles returns all roles.
func Roles() []Role {
	return []Role{Hub, Devices, PahoDevices, Both, BothPaho, WebServer, Callers, BothWeb}
}

// Part is what a process is to be.
type Part struct {
	Role    Role
	Devices int
	TLS     bool   // of Hub
	Addr    string // of Devices, PahoDevices and Callers: where the other half is
	CA      []byte // of Devices and PahoDevices: the hub's certificate; none: no TLS
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

// Play plays the part that Args gave the arguments of.
func Play(ctx context.Context, args []string, questions io.Reader, answers io.Writer) error {
	p := Part{Role: Role(args[0])}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.IntVar(&p.Devices, "devices", 1000, "devices")
	f.BoolVar(&p.TLS, "tls", false, "serve over TLS")
	f.StringVar(&p.Addr, "addr", "", "where the other half is")
	f.Func("ca", "the hub's certificate in hexadecimal; none: no TLS", func(s string) (err error) {
		p.CA, err = hex.DecodeString(s)
		return err
	})
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	return Serve(ctx, p, questions, answers)
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
	switch p.Role {
	case Hub:
		return p.startHub()
	case Devices:
		return p.startDevices(ctx)
	case PahoDevices:
		return p.startPaho(ctx)
	case Both:
		return p.startBoth(ctx)
	case BothPaho:
		return p.startBothPaho(ctx)
	case WebServer:
		return p.startWeb()
	case Callers:
		c := NewCaller(p.Addr, p.Devices, nil)
		return half{broadcast: c.Broadcast, close: c.Close}, nil
	case BothWeb:
		l := memnet.Listen("web")
		w, c := NewWeb(l), NewCaller("memory", p.Devices, l.DialContext)
		return half{broadcast: c.Broadcast, close: func() { c.Close(); w.Close() }}, nil
	}
	return half{}, fmt.Errorf("role %q: want one of %v", p.Role, Roles())
}

func (p Part) startHub() (half, error) {
	e, err := NewExchange()
	if err != nil {
		return half{}, err
	}
	var cert *tls.Certificate
	var hello Hello
	if p.TLS {
		if cert, err = newCertificate(); err != nil {
			return half{}, err
		}
		hello.CA = cert.Certificate[0]
	}
	l, err := listen(cert)
	if err != nil {
		return half{}, err
	}
	hello.Addr = l.Addr().String()
	s := NewServer(e, network{l}, p.Devices)
	return half{hello: hello, broadcast: s.Broadcast, close: s.Close}, nil
}

func (p Part) startDevices(ctx context.Context) (half, error) {
	e, err := NewExchange()
	if err != nil {
		return half{}, err
	}
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

func (p Part) startPaho(ctx context.Context) (half, error) {
	dial, err := dialNet(p.Addr, p.CA)
	if err != nil {
		return half{}, err
	}
	c, took, err := ConnectPaho(ctx, dial, p.Devices)
	if err != nil {
		return half{}, err
	}
	return half{hello: Hello{Connecting: took}, close: c.Close}, nil
}

func (p Part) startBoth(ctx context.Context) (half, error) {
	e, err := NewExchange()
	if err != nil {
		return half{}, err
	}
	m := NewRoom()
	s := NewServer(e, m, p.Devices)
	c, took, err := Connect(ctx, e, m.Dial, p.Devices)
	if err != nil {
		s.Close()
		return half{}, err
	}
	return half{hello: Hello{Connecting: took}, broadcast: s.Broadcast, close: func() { c.Close(); s.Close() }}, nil
}

// startBothPaho is in memory of the kind that is a net.Conn, as paho needs one.
func (p Part) startBothPaho(ctx context.Context) (half, error) {
	e, err := NewExchange()
	if err != nil {
		return half{}, err
	}
	l := memnet.Listen("hub")
	s := NewServer(e, network{l}, p.Devices)
	dial := func(ctx context.Context) (net.Conn, error) { return l.DialContext(ctx, "", "") }
	c, took, err := ConnectPaho(ctx, dial, p.Devices)
	if err != nil {
		s.Close()
		return half{}, err
	}
	return half{hello: Hello{Connecting: took}, broadcast: s.Broadcast, close: func() { c.Close(); s.Close() }}, nil
}

func (p Part) startWeb() (half, error) {
	l, err := listen(nil)
	if err != nil {
		return half{}, err
	}
	w := NewWeb(l)
	return half{hello: Hello{Addr: l.Addr().String()}, close: w.Close}, nil
}
