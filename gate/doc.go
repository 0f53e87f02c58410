// Package gate compares the results folders of runs and decides whether the
// new ones are slower than the base.
//
// A run is one number: the logarithm of one latency of its summary. One
// primary metric decides, by package stats; all others are shown with their
// intervals and decide nothing. Compare does this for folders that are there;
// Conduct makes them, in pairs of base and new, and stops when a look
// decides. Both refuse runs that are not alike (host, scenario, driver, schema
// version) or whose numbers are not to be trusted.
//
// The package reads folders. Who makes a run is a function that the caller
// gives.
package gate
