package query

import "strings"

// jobsPrefix begins every attribute of a query on devices.jobs.
const jobsPrefix = "devices.jobs."

// twinNames and jobNames are the names that the hub itself gives, as it
// documents them. They may be written in any case.
var (
	twinNames = [...]string{
		"deviceId", "moduleId", "tags", "properties", "status", "connectionState", "lastActivityTime",
		"etag", "deviceEtag", "version", "authenticationType", "capabilities", "deviceScope", "parentScopes",
		"statusReason", "statusUpdateTime", "cloudToDeviceMessageCount", "x509Thumbprint", "modelId", "configurations",
	}
	twinSecondNames = [...]struct{ first, second string }{
		{"properties", "desired"},
		{"properties", "reported"},
		{"capabilities", "iotEdge"},
	}
	jobNames = [...]string{
		"deviceId", "moduleId", "jobId", "jobType", "status", "startTimeUtc", "endTimeUtc",
		"createdDateTimeUtc", "lastUpdatedDateTimeUtc", "outcome", "error",
	}
)

// normalize gives the hub's own names in a path their documented spelling.
func normalize(source Source, names []string) {
	if source == DeviceJobs {
		if strings.EqualFold(names[0], "createdTimeUtc") { // rows carry the other name
			names[0] = "createdDateTimeUtc"
		}
		respell(&names[0], jobNames[:])
		return
	}
	respell(&names[0], twinNames[:])
	for _, known := range twinSecondNames {
		if len(names) > 1 && names[0] == known.first && strings.EqualFold(names[1], known.second) {
			names[1] = known.second
		}
	}
}

func respell(name *string, known []string) {
	for _, k := range known {
		if strings.EqualFold(*name, k) {
			*name = k
		}
	}
}

// hasJobsPrefix reports whether a path as written begins with devices.jobs.
func hasJobsPrefix(names []string) bool {
	return len(names) > 2 && strings.EqualFold(names[0], "devices") && strings.EqualFold(names[1], "jobs")
}

// refused returns why the hub does not know a function in a condition.
func refused(function string) string {
	switch function {
	case "STARTS_WITH", "ENDS_WITH":
		return "the hub refuses " + function + " in twin queries: write " + strings.ReplaceAll(function, "_", "")
	case "COUNT", "AVG", "SUM", "MIN", "MAX":
		return function + " cannot stand in a condition: it goes after SELECT"
	}
	if isRouting(function) {
		return "the hub refuses " + function + " in twin queries: it is for message routing only"
	}
	return "no function " + function + ": there are IS_DEFINED, STARTSWITH and ENDSWITH"
}

// unselectable returns why a function cannot be selected.
func unselectable(function string) string {
	switch function {
	case "IS_DEFINED", "STARTSWITH", "ENDSWITH":
		return function + " cannot be selected: it belongs to a condition"
	}
	if isRouting(function) {
		return "the hub refuses " + function + " in twin queries: it is for message routing only"
	}
	return "no function " + function + ": COUNT, AVG, SUM, MIN and MAX can be selected"
}

// isRouting reports whether a function is one that messages are routed by, and
// twins cannot be asked for.
func isRouting(function string) bool {
	switch function {
	case "ABS", "EXP", "POWER", "SQUARE", "CEILING", "FLOOR", "SIGN", "SQRT", "AS_NUMBER", "IS_ARRAY", "IS_BOOL",
		"IS_NULL", "IS_NUMBER", "IS_OBJECT", "IS_PRIMITIVE", "IS_STRING", "CONCAT", "LENGTH", "LOWER", "UPPER",
		"SUBSTRING", "INDEX_OF", "CONTAINS", "STARTS_WITH", "ENDS_WITH":
		return true
	}
	return false
}

// absent returns what to do instead of a word that queries know elsewhere.
func absent(t token) (why string, ok bool) {
	if t.kind != tokenName || t.bracketed {
		return "", false
	}
	switch strings.ToUpper(t.text) {
	case "ORDER":
		return "there is no ORDER BY: rows come in the order of the hub", true
	case "HAVING":
		return "there is no HAVING: choose among the groups that come back", true
	case "JOIN":
		return "there is no JOIN: a query reads one source", true
	case "LIMIT":
		return "there is no LIMIT: write TOP after SELECT", true
	case "OFFSET":
		return "there is no OFFSET: results come in pages", true
	case "LIKE":
		return "there is no LIKE: there are STARTSWITH and ENDSWITH", true
	case "BETWEEN":
		return "there is no BETWEEN: write >= and <=", true
	case "IS":
		return "there is no IS: write = null, or IS_DEFINED", true
	}
	return "", false
}
