package fleet

import (
	"context"
	"unsafe"
)

// SplitVersion is splitVersion for its fuzz target.
var SplitVersion = splitVersion

// Place and Share are those of a Part.
func Place(p Part, device int) int { return p.place(device) }
func Share(p Part, n int) int      { return p.share(n) }

// SessionBytes is what a session takes.
const SessionBytes = unsafe.Sizeof(session{})

// NewLife returns the context of a session, and what ends it.
func NewLife() (context.Context, func(cause error)) {
	l := new(life)
	return l, l.end
}
