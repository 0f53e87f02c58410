// Package scenarios is the scenario file: its types, its strict decoding, its
// checks, and the scenarios that muster ships.
//
// A scenario says what a run tests: the target, the fleet of devices, the
// jobs and the thresholds. [Load] and [Parse] read one and report every fault
// they find at once, each with its file, line, column and key path, as
// [Errors]; nothing has been started by then. What they return is complete:
// every default that a field's comment names is filled in.
//
// The steps are the same for every source: YAML text becomes a tree of values
// with places (node.go), --set arguments change the tree (set.go), ${NAME} is
// replaced in its scalars (env.go), the tree is decoded key by key (decode.go
// and the files after the sections), and the whole is checked for what no
// single key shows (check.go, threshold.go).
//
// Values that came from the environment are shown nowhere: errors and
// [Scenario.Resolved] print the ${NAME} that stood in the file.
package scenarios
