// Package capacity searches for the largest value, of devices or of a rate,
// at which a run still passes, and tells how sure that is.
//
// Search is a pure function over a probe, which makes one run at a value: it
// knows nothing of hubs and scenarios. What it found is a Result, which writes
// itself as capacity.json, capacity.md and a plot of the knee.
package capacity
