//go:build race

package mqtt_test

// raceEnabled: sync.Pool drops at random under the race detector, so a grown
// buffer is allocated now and then.
const raceEnabled = true
