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
	case "ABS", "EXP", "POWER", "SQUARE", "CEILING", "FLOOR", "SIGN", "SQRT", "AS_NUMBER", "IS_ARRAY", "IS_BOOL",
		"IS_NULL", "IS_NUMBER", "IS_OBJECT", "IS_PRIMITIVE", "IS_STRING", "CONCAT", "LENGTH", "LOWER", "UPPER",
		"SUBSTRING", "INDEX_OF", "CONTAINS":
		return "the hub refuses " + function + " in twin queries: it is for message routing only"
	}
	return "no function " + function + ": there are IS_DEFINED, STARTSWITH and ENDSWITH"
}
