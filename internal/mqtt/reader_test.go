package mqtt_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"muster/internal/mqtt"
)

// readAll returns what r yields, one line a packet, and the error that ended it.
func readAll(r *mqtt.Reader) (lines []string, err error) {
	for {
		h, body, err := r.Next()
		if err != nil {
			return lines, err
		}
		lines = append(lines, fmt.Sprintf("%v %x %x", h.Type, h.Flags, body))
	}
}

// unhex turns "c0 00" into its bytes.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	var b []byte
	if _, err := fmt.Sscanf(strings.ReplaceAll(s, " ", ""), "%x", &b); err != nil && s != "" {
		tb.Fatalf("bad hex %q: %v", s, err)
	}
	return b
}

// TestReader reads each stream in one piece, byte by byte and with the end of
// the stream in the same call as the data.
func TestReader(t *testing.T) {
	check := func(name, stream string, wantErr error, want ...string) {
		t.Helper()
		b := unhex(t, stream)
		for kind, src := range map[string]io.Reader{
			"whole":    bytes.NewReader(b),
			"bytewise": iotest.OneByteReader(bytes.NewReader(b)),
			"eof":      iotest.DataErrReader(bytes.NewReader(b)),
		} {
			got, err := readAll(mqtt.NewReader(src, 1000))
			if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, wantErr) {
				t.Errorf("%s (%s): error %v, want %v; packets (-want +got):\n%s", name, kind, err, wantErr, diff)
			}
		}
	}

	check("nothing", "", io.EOF)
	check("ping", "c000", io.EOF, "PINGREQ 0 ")
	check("two", "c000 4002 0007", io.EOF, "PINGREQ 0 ", "PUBACK 0 0007")
	check("retained QoS 1 with DUP", "3b05 0001 61 0001", io.EOF, "PUBLISH b 0001610001")
	check("length in two bytes", "3085 00 0001 61 6263", io.EOF, "PUBLISH 0 0001616263")
	check("length in four bytes", "3085 8080 00 0001 61 6263", io.EOF, "PUBLISH 0 0001616263")
	check("ends in the type", "c000 c0", io.ErrUnexpectedEOF, "PINGREQ 0 ")
	check("ends in the length", "3080", io.ErrUnexpectedEOF)
	check("ends before the body", "3003", io.ErrUnexpectedEOF)
	check("ends in the body", "c000 3003 0001", io.ErrUnexpectedEOF, "PINGREQ 0 ")
	check("of the limit", "30e507"+strings.Repeat("00", 997), io.EOF, "PUBLISH 0 "+strings.Repeat("00", 997))
	check("over the limit", "c000 30e607", mqtt.ErrTooLarge, "PINGREQ 0 ")
	check("far over the limit", "30ffffff7f", mqtt.ErrTooLarge)
}

// TestReaderRefuses wants an *Error as soon as the fixed header shows the fault,
// and again at the next call.
func TestReaderRefuses(t *testing.T) {
	check := func(stream, want string) {
		t.Helper()
		r := mqtt.NewReader(bytes.NewReader(unhex(t, stream)), 1000)
		_, err := readAll(r)
		var malformed *mqtt.Error
		if !errors.As(err, &malformed) || err.Error() != want {
			t.Errorf("Next of % s = %v, want %s", stream, err, want)
		}
		if _, _, again := r.Next(); again != err {
			t.Errorf("second Next of % s = %v, want the same error", stream, again)
		}
	}

	check("00", "mqtt: packet type is reserved")
	check("f0", "mqtt: packet type is reserved")
	check("11", "mqtt: CONNECT: reserved flags are not as they must be [MQTT-2.2.2-2]")
	check("c8", "mqtt: PINGREQ: reserved flags are not as they must be [MQTT-2.2.2-2]")
	check("60", "mqtt: PUBREL: reserved flags are not as they must be [MQTT-2.2.2-2]")
	check("80", "mqtt: SUBSCRIBE: reserved flags are not as they must be [MQTT-2.2.2-2]")
	check("a3", "mqtt: UNSUBSCRIBE: reserved flags are not as they must be [MQTT-2.2.2-2]")
	check("e1", "mqtt: DISCONNECT: reserved flags are not as they must be [MQTT-2.2.2-2]")
	check("36", "mqtt: PUBLISH: QoS is 3 [MQTT-3.3.1-4]")
	check("38", "mqtt: PUBLISH: DUP with QoS 0 [MQTT-3.3.1-2]")
	check("3080808080", "mqtt: PUBLISH: remaining length has more than four bytes")
	check("c001", "mqtt: PINGREQ: remaining length is wrong for its type")
	check("d001", "mqtt: PINGRESP: remaining length is wrong for its type")
	check("e002", "mqtt: DISCONNECT: remaining length is wrong for its type")
	check("2003", "mqtt: CONNACK: remaining length is wrong for its type")
	check("4001", "mqtt: PUBACK: remaining length is wrong for its type")
	check("b003", "mqtt: UNSUBACK: remaining length is wrong for its type")
}

func TestReaderGoesOnAfterTimeout(t *testing.T) {
	stream := unhex(t, "3003 000161 c000")
	r := mqtt.NewReader(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(stream))), 1000)
	if _, _, err := r.Next(); err != iotest.ErrTimeout {
		t.Fatalf("Next = %v, want the source's error", err)
	}
	got, err := readAll(r)
	if diff := cmp.Diff([]string{"PUBLISH 0 000161", "PINGREQ 0 "}, got); diff != "" || err != io.EOF {
		t.Errorf("after a timeout: %v, packets (-want +got):\n%s", err, diff)
	}
}

func TestReaderOfNothing(t *testing.T) {
	empty := readerFunc(func([]byte) (int, error) { return 0, nil })
	if _, _, err := mqtt.NewReader(empty, 1000).Next(); err != io.ErrNoProgress {
		t.Errorf("Next = %v, want io.ErrNoProgress", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestReaderBuffer wants the buffer to follow the bytes that have arrived, not
// what a header claims, and to be small again once a large packet is done with.
func TestReaderBuffer(t *testing.T) {
	large, _ := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte("t"), Payload: make([]byte, 1<<20)})
	stream := mqtt.AppendPingreq(append(mqtt.AppendPingreq(nil), large...))
	r := mqtt.NewReader(bytes.NewReader(stream), 2<<20)
	for i, want := range []int{512, len(large), 512} {
		if _, _, err := r.Next(); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		if got := r.BufferSize(); got < want || got > 2*want {
			t.Errorf("buffer after packet %d has %d bytes, want about %d", i, got, want)
		}
	}

	for _, sent := range []int{10, 1000, 5000, 100_000} {
		r := mqtt.NewReader(bytes.NewReader(large[:sent]), 2<<20)
		if _, _, err := r.Next(); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		if got := r.BufferSize(); got > max(512, 4*sent) {
			t.Errorf("buffer after %d bytes of 1 MiB has %d bytes, want at most four times as many", sent, got)
		}
	}
}

// TestReaderSizes reads packets of every size around those of the buffers, in
// pieces that straddle them.
func TestReaderSizes(t *testing.T) {
	var stream []byte
	var want []int
	for base := 256; base <= 1<<20; base *= 2 {
		for _, size := range []int{base - 20, base - 1, base, base + 1, base + 20} {
			want = append(want, size)
			stream, _ = mqtt.AppendPublish(stream, mqtt.Publish{
				Topic:   []byte("t"),
				Payload: bytes.Repeat([]byte{byte(len(want))}, size),
			})
		}
	}
	for _, chunk := range []int{333, 4096, 100_000} {
		rest := stream
		r := mqtt.NewReader(readerFunc(func(p []byte) (int, error) {
			n := copy(p[:min(len(p), chunk)], rest)
			rest = rest[n:]
			if n == 0 {
				return 0, io.EOF
			}
			return n, nil
		}), 4<<20)
		for i, size := range want {
			h, body, err := r.Next()
			if err != nil {
				t.Fatalf("packet %d of %d bytes: %v", i, size, err)
			}
			p, err := mqtt.ParsePublish(h, body)
			if err != nil || len(p.Payload) != size || bytes.Count(p.Payload, []byte{byte(i + 1)}) != size {
				t.Fatalf("packet %d: %d bytes, %v; want %d", i, len(p.Payload), err, size)
			}
		}
		if _, _, err := r.Next(); err != io.EOF {
			t.Errorf("after the last packet: %v, want io.EOF", err)
		}
	}
}

func TestNewReaderPanics(t *testing.T) {
	defer func() {
		if got := recover(); got != "mqtt: NewReader: maxPacket must be positive" {
			t.Errorf("NewReader(0) panics with %v", got)
		}
	}()
	mqtt.NewReader(nil, 0)
}
