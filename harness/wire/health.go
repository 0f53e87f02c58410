package wire

import (
	"encoding/binary"
	"time"

	"muster/internal/sample"
)

// AppendHealth appends a generator's account of itself to dst. Whose it is
// the run knows.
func AppendHealth(dst []byte, h *sample.Health) []byte {
	for _, v := range healthFields(h) {
		dst = binary.AppendVarint(dst, *v)
	}
	last := h.At
	for _, w := range h.Wakes {
		dst = binary.AppendVarint(dst, int64(w.Sent-last))
		dst = binary.AppendVarint(dst, int64(w.Delay))
		last = w.Sent
	}
	return dst
}

// DecodeHealth decodes what AppendHealth appended.
func DecodeHealth(src []byte) (*sample.Health, error) {
	h := new(sample.Health)
	d := Decoder{buf: src}
	for _, v := range healthFields(h) {
		*v = d.signed()
	}
	for last := h.At; len(d.buf) > 0; {
		w := sample.Wake{Sent: last + sample.Moment(d.signed()), Delay: time.Duration(d.signed())}
		h.Wakes = append(h.Wakes, w)
		last = w.Sent
	}
	if d.bad {
		return nil, errMalformed
	}
	return h, nil
}

// healthFields are the numbers of h, in the order of the wire.
func healthFields(h *sample.Health) [9]*int64 {
	return [...]*int64{
		(*int64)(&h.At), (*int64)(&h.TimerLate), (*int64)(&h.CPU), &h.RSS, &h.MaxRSS,
		(*int64)(&h.GCPauseP99), &h.Goroutines, &h.Descriptors, (*int64)(&h.ClockStep),
	}
}
