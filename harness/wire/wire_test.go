package wire_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"muster/harness/wire"
	"muster/internal/sample"
)

// long is a text that is too long to be kept.
var long = strings.Repeat("x", 70_000)

// anyEvent draws an event; receipts is how many receipts came before it.
func anyEvent(t *rapid.T, receipts uint64) wire.Event {
	text := rapid.OneOf(rapid.SampledFrom([]string{"", "lockDoor", `{"lockTime":"10m"}`, long}), rapid.StringN(0, 20, -1))
	device := rapid.Uint32().Draw(t, "device")
	at := sample.Moment(rapid.Int64().Draw(t, "at"))
	e := wire.Event{What: wire.What(rapid.ByteRange(byte(wire.Received), byte(wire.Reported)).Draw(t, "what")), Device: device}
	if receipts == 0 && (e.What == wire.Answered || e.What == wire.Finished) {
		e.What = wire.Received
	}
	switch e.What {
	case wire.Received:
		e.Number = receipts + 1
		e.Receipt = sample.Receipt{
			Device: device, Kind: rapid.SampledFrom([]sample.ReceiptKind{sample.MethodReceipt, sample.DesiredReceipt}).Draw(t, "kind"),
			Name: text.Draw(t, "name"), Payload: []byte(text.Draw(t, "payload")), At: at,
		}
	case wire.Answered, wire.Finished:
		e.Device, e.At = 0, at
		e.Number = rapid.Uint64Range(1, receipts).Draw(t, "number")
		if e.What == wire.Answered {
			e.Status = rapid.Int32().Draw(t, "status")
		}
	case wire.Attempted:
		e.Attempt = sample.Connect{
			Device: device, Attempt: rapid.Uint32().Draw(t, "attempt"), Reconnect: rapid.Bool().Draw(t, "reconnect"), Due: at,
			Dialed: sample.Moment(rapid.Int64().Draw(t, "dialed")), Ready: sample.Moment(rapid.Int64().Draw(t, "ready")), Error: text.Draw(t, "error"),
		}
	case wire.Lost:
		e.Loss = sample.Lost{Device: device, At: at, Error: text.Draw(t, "error")}
	case wire.Reported:
		e.Patch = []byte(text.Draw(t, "patch"))
	}
	return e
}

// encode encodes an event.
func encode(t *rapid.T, enc *wire.Encoder, e *wire.Event) {
	switch e.What {
	case wire.Received:
		if n := enc.Received(&e.Receipt); n != e.Number {
			t.Fatalf("Received() = %d, want %d", n, e.Number)
		}
	case wire.Answered:
		enc.Answered(e.Number, e.Status, e.At)
	case wire.Finished:
		enc.Finished(e.Number, e.At)
	case wire.Attempted:
		enc.Attempted(&e.Attempt)
	case wire.Lost:
		enc.Lost(&e.Loss)
	case wire.Online, wire.Offline:
		enc.Moved(e.Device, e.What == wire.Online)
	case wire.Reported:
		enc.Reported(e.Device, e.Patch)
	}
}

func TestEventsComeAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var enc wire.Encoder
		var dec wire.Decoder
		receipts := uint64(0)
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			var want, got []wire.Event
			for range rapid.IntRange(0, 30).Draw(t, "events") {
				e := anyEvent(t, receipts)
				receipts = max(receipts, e.Number)
				want = append(want, e)
				encode(t, &enc, &e)
			}
			if err := dec.Decode(enc.Take(nil), func(e *wire.Event) error {
				got = append(got, *e)
				return nil
			}); err != nil {
				t.Fatalf("Decode() = %v", err)
			}
			if !reflect.DeepEqual(want, got) { // of which cmp would need minutes
				t.Fatalf("Decode() (-want +got):\n%s", cmp.Diff(want, got))
			}
		}
	})
}

func TestABroadcastSendsItsPayloadOnce(t *testing.T) {
	var enc wire.Encoder
	payload := []byte(strings.Repeat("p", 1000))
	for device := range uint32(1000) {
		enc.Received(&sample.Receipt{Device: device, Kind: sample.MethodReceipt, Name: "lockDoor", Payload: payload, At: sample.Moment(device + 1)})
	}
	if got := enc.Len(); got > 1000*8+2000 {
		t.Errorf("1000 receipts of one payload of 1000 bytes take %d bytes", got)
	}
}

func TestTextsThatDifferAreForgottenInTime(t *testing.T) {
	var enc wire.Encoder
	var dec wire.Decoder
	for n := range 3000 {
		payload := []byte(strings.Repeat("p", 300) + string(rune('a'+n%26)) + strings.Repeat("q", n/2))
		want := sample.Receipt{Device: 1, Kind: sample.DesiredReceipt, Payload: payload, At: 1}
		enc.Received(&want)
		if err := dec.Decode(enc.Take(nil), func(e *wire.Event) error {
			if !bytes.Equal(e.Receipt.Payload, payload) {
				t.Fatalf("payload %d is %d bytes, want %d", n, len(e.Receipt.Payload), len(payload))
			}
			return nil
		}); err != nil {
			t.Fatalf("Decode() = %v at %d", err, n)
		}
	}
}

func TestEncodingAllocatesNothingInASteadyState(t *testing.T) {
	var enc wire.Encoder
	r := sample.Receipt{Device: 7, Kind: sample.MethodReceipt, Name: "lockDoor", Payload: []byte(`{"lockTime":"10m"}`), At: 5}
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(1000, func() {
		enc.Answered(enc.Received(&r), 200, 9)
		buf = enc.Take(buf)
	}); n > 0 {
		t.Errorf("a receipt and its answer allocate %v times", n)
	}
}

func TestHealthComesAsItWas(t *testing.T) {
	want := &sample.Health{
		At: 3e9, Wakes: []sample.Wake{{Sent: 1e9, Delay: 30000}, {Sent: 1e9 + 1e6}}, TimerLate: 1, CPU: 2, RSS: 3, MaxRSS: 4,
		GCPauseP99: 5, Goroutines: 6, Descriptors: 7, ClockStep: -8,
	}
	got, err := wire.DecodeHealth(wire.AppendHealth(nil, want))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("DecodeHealth() = %v (-want +got):\n%s", err, diff)
	}
	if _, err := wire.DecodeHealth([]byte{1, 2, 3}); err == nil {
		t.Error("DecodeHealth() takes what is cut off")
	}
}

func TestFramesComeWholeOrNotAtAll(t *testing.T) {
	whole, err := wire.AppendFrame(nil, wire.Events, bytes.Repeat([]byte("e"), 200_000))
	if err != nil {
		t.Fatal(err)
	}
	next := func(stream string) (wire.Kind, int, error) {
		kind, payload, err := wire.NewReader(strings.NewReader(stream)).Next()
		return kind, len(payload), err
	}
	if kind, n, err := next(string(whole)); kind != wire.Events || n != 200_000 || err != nil {
		t.Errorf("Next() = %d, %d bytes, %v", kind, n, err)
	}
	if _, _, err := next(""); !errors.Is(err, io.EOF) {
		t.Errorf("Next() of nothing = %v, want EOF", err)
	}
	for _, cut := range []int{1, 4, 5, 100_000, len(whole) - 1} {
		if _, _, err := next(string(whole[:cut])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Next() of %d of %d bytes = %v, want that it is cut off", cut, len(whole), err)
		}
	}
	for _, bad := range []string{"\x00\x00\x00\x00\x00", "\xff\xff\xff\xff\x01", "\x01\x00\x00\x00\x30x"} {
		if _, _, err := next(bad); err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Next() of %q = %v, want that no frame begins so", bad, err)
		}
	}
	if _, err := wire.AppendFrame(nil, wire.Events, make([]byte, wire.MaxFrame+1)); err == nil {
		t.Error("AppendFrame() takes more than MaxFrame")
	}
}

// FuzzDecode feeds a decoder what no encoder made: it must neither panic nor
// keep more than it may, and what it takes must encode to what decodes alike.
func FuzzDecode(f *testing.F) {
	var enc wire.Encoder
	enc.Received(&sample.Receipt{Device: 7, Kind: sample.MethodReceipt, Name: "lockDoor", Payload: []byte(`{}`), At: 5})
	enc.Answered(1, 200, 6)
	enc.Attempted(&sample.Connect{Device: 1, Attempt: 1, Due: 1, Ready: 2, Error: "EOF"})
	enc.Lost(&sample.Lost{Device: 1, At: 3, Error: "EOF"})
	enc.Moved(3, true)
	enc.Reported(3, []byte(`{"a":1}`))
	f.Add(enc.Take(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, events []byte) {
		var dec, again wire.Decoder
		var enc wire.Encoder
		var first, second []wire.Event
		keep := func(to *[]wire.Event) func(*wire.Event) error {
			return func(e *wire.Event) error {
				*to = append(*to, *e)
				return nil
			}
		}
		_ = dec.Decode(events, keep(&first))
		for i := range first {
			e := &first[i]
			switch e.What {
			case wire.Received:
				enc.Received(&e.Receipt)
			case wire.Answered:
				enc.Answered(e.Number, e.Status, e.At)
			case wire.Finished:
				enc.Finished(e.Number, e.At)
			case wire.Attempted:
				enc.Attempted(&e.Attempt)
			case wire.Lost:
				enc.Lost(&e.Loss)
			case wire.Online, wire.Offline:
				enc.Moved(e.Device, e.What == wire.Online)
			case wire.Reported:
				enc.Reported(e.Device, e.Patch)
			}
		}
		if err := again.Decode(enc.Take(nil), keep(&second)); err != nil {
			t.Fatalf("Decode() of what was encoded = %v", err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("decoded, encoded and decoded again:\n%s", diff)
		}
	})
}

// FuzzFrames feeds a reader what no program wrote.
func FuzzFrames(f *testing.F) {
	frame, _ := wire.AppendFrame(nil, wire.Hello, []byte{wire.Version})
	f.Add(frame)
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := wire.NewReader(bytes.NewReader(stream))
		for taken := 0; ; {
			_, payload, err := r.Next()
			if err != nil {
				return
			}
			if taken += len(payload) + 5; taken > len(stream) {
				t.Fatalf("%d bytes of frames in %d", taken, len(stream))
			}
		}
	})
}
