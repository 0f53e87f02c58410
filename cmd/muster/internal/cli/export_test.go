package cli

// For tests of what a search makes of a run.
var OutcomeOf = outcomeOf
