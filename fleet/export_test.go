package fleet

// SplitVersion is splitVersion for its fuzz target.
var SplitVersion = splitVersion
