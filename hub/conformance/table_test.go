package conformance_test

import (
	"slices"
	"testing"
)

// testCase is one row of the table: what a hub does, where the project's reference of the service's protocol says so, and the
// test of it.
type testCase struct {
	name string
	says string // sections of the reference
	run  func(t testing.TB, h *subject)
}

// slow are the cases that wait for some seconds. On sockets of the embedded hub they would show no more than in memory, where
// time costs nothing.
var slow = []string{
	"no answer within the response timeout", "the connect timeout waits for the device", "the connect timeout passes", "keep-alive",
	"the token's end closes the connection",
}

// table is all there is to be asked of a hub. What the service's documentation leaves open is not in it.
func table() []testCase {
	return slices.Concat(identityCases, twinCases, queryCases, methodCases, jobCases, connectCases, deviceCases, moduleCases)
}
