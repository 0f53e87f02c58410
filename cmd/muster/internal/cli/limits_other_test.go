//go:build !linux

package cli_test

import "github.com/rogpeppe/go-internal/testscript"

// hostAllows knows nothing that a host without Linux allows.
func hostAllows(string) (bool, error) { return false, nil }

// limit is for transcripts that skip where there is no Linux.
func limit(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("limit: this is not Linux") }
