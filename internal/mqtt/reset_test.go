package mqtt_test

import (
	"errors"
	"io"
	"testing"

	"muster/internal/mqtt"
)

// TestReaderIsLeftBetweenPackets reads a stream in parts, each with the reader that the
// part before was read with, as long as nothing is left in it.
func TestReaderIsLeftBetweenPackets(t *testing.T) {
	errNothing := errors.New("nothing yet")
	var part []byte
	src := readerFunc(func(p []byte) (int, error) {
		n := copy(p, part)
		if part = part[n:]; n == 0 {
			return 0, errNothing
		}
		return n, nil
	})
	large, _ := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte("t"), Payload: make([]byte, 5000)})
	r := mqtt.NewReader(src, 1<<20)
	check := func(name string, next []byte, packets, buffered int) {
		t.Helper()
		part = next
		lines, err := readAll(r)
		if len(lines) != packets || err != errNothing || r.Buffered() != buffered {
			t.Errorf("%s: %d packets, %v, %d bytes buffered; want %d, the source's error, %d", name, len(lines), err, r.Buffered(), packets, buffered)
		}
		if r.Buffered() == 0 {
			r.Reset(src, 1<<20)
		}
	}
	check("nothing", nil, 0, 0)
	check("two packets", []byte{0xc0, 0, 0xc0, 0}, 2, 0)
	check("a part of a packet", []byte{0xc0}, 0, 1)
	check("its rest and a part", []byte{0, 0xc0}, 1, 1)
	check("its rest", []byte{0}, 1, 0)
	check("a part of a large packet", large[:4000], 0, 4000)
	check("its rest, and one", append(large[4000:], 0xc0, 0), 2, 0)
}

// TestReaderForgets wants nothing of one stream to be seen in another.
func TestReaderForgets(t *testing.T) {
	stream := func(b ...byte) io.Reader {
		return readerFunc(func(p []byte) (int, error) {
			n := copy(p, b)
			if b = b[n:]; n == 0 {
				return 0, io.EOF
			}
			return n, nil
		})
	}
	r := mqtt.NewReader(stream(0xc0, 0, 0xc0), 10)
	_, _ = readAll(r)
	r.Reset(stream(0, 0), 10) // malformed
	if lines, err := readAll(r); len(lines) != 0 || !errors.As(err, new(*mqtt.Error)) {
		t.Errorf("malformed stream: %v, %v", lines, err)
	}
	r.Reset(stream(0xc0, 0), 10)
	if lines, err := readAll(r); len(lines) != 1 || err != io.EOF {
		t.Errorf("stream after a malformed one: %v, %v; want a packet and io.EOF", lines, err)
	}
	r.Reset(stream(0x30, 100), 10)
	if _, err := readAll(r); !errors.Is(err, mqtt.ErrTooLarge) {
		t.Errorf("stream with a packet over the limit: %v", err)
	}
}
