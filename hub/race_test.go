//go:build race

package hub_test

// raceEnabled: the race detector takes no more than 8,128 goroutines.
const raceEnabled = true
