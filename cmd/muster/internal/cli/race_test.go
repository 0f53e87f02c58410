//go:build race

package cli_test

// underRace says that the race detector multiplies what a process takes of memory.
const underRace = true
