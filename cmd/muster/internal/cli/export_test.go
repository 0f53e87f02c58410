package cli

import "slices"

// For tests of what a search makes of a run.
var OutcomeOf = outcomeOf

// What completion knows of flags: the words of some by their names, and the
// names of those that take files or folders.
var (
	Words     = words
	PathFlags = slices.Concat(pemFlags, folderFlags)
	NewRoot   = newRoot
)
