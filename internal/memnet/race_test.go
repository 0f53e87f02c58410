//go:build race

package memnet_test

// raceEnabled: pools drop some of what they are given then.
const raceEnabled = true
