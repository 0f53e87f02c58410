package query_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/internal/query"
)

func condition(t testing.TB, src string) *query.Condition {
	t.Helper()
	c, err := query.ParseCondition(src)
	if err != nil {
		t.Fatalf("ParseCondition(%q): %v", src, err)
	}
	return c
}

func TestConditionPrintsOneForm(t *testing.T) {
	check := func(src, want string) {
		t.Helper()
		for _, s := range []string{src, want} { // the canonical form prints as itself
			c, err := query.ParseCondition(s)
			if err != nil {
				t.Errorf("ParseCondition(%q): %v", s, err)
			} else if got := c.String(); got != want {
				t.Errorf("ParseCondition(%q).String() = %q, want %q", s, got, want)
			}
		}
	}
	check("*", "*")
	check("  * ", "*")
	check("tags.site='north'", "tags.site = 'north'")
	check(`tags.site <> "it's"`, `tags.site != 'it\'s'`)
	check(`a = 'say \"hi\" \\ \u0041\ud83d\ude00'`, `a = 'say "hi" \\ A😀'`)
	check("a = 'x\ty\u007f'", `a = 'x\u0009y\u007f'`)

	// Precedence and parentheses.
	check("a = 1 or b = 2 and not c = 3", "a = 1 OR b = 2 AND NOT c = 3")
	check("((a = 1) or (b = 2)) and (not (c = 3))", "(a = 1 OR b = 2) AND NOT c = 3")
	check("NOT (a = 1 AND b = 2)", "NOT (a = 1 AND b = 2)")
	check("NOT NOT a", "NOT NOT a")
	check("a AND (b AND (c AND d))", "a AND b AND c AND d")
	check("a + b * c - d = e / (f - g) % 2", "a + b * c - d = e / (f - g) % 2")
	check("(a + b) * c > a - (b - c)", "(a + b) * c > a - (b - c)")
	check("(a * b) + (c * d) = 0", "a * b + c * d = 0")
	check("(a = b) = (NOT c)", "(a = b) = (NOT c)")
	check("(a IN [1]) = true", "(a IN [1]) = true")
	check("-a = - - b", "-a = --b")
	check("-(a + b) = -1", "-(a + b) = -1")
	check("-(5) = a AND a = - -5", "-5 = a AND a = 5")

	// Constants.
	check("a = TRUE OR a = False OR a = NULL OR a = Undefined", "a = true OR a = false OR a = null OR a = undefined")
	check("a IN [0x1F, 1.50, 1e3, 2.5E-9, 1e+30, 007, -3]", "a IN [31, 1.5, 1000, 2.5e-09, 1e+30, 7, -3]")
	check("a NIN ['x', null, true, undefined]", "a NIN ['x', null, true, undefined]")

	// Names.
	check("DeviceId = 'd' AND CONNECTIONSTATE = 'x' AND Tags.Site = 1", "deviceId = 'd' AND connectionState = 'x' AND tags.Site = 1")
	check("Properties.Reported.Desired = Capabilities.IotEdge", "properties.reported.Desired = capabilities.iotEdge")
	check("tags.[[group]] = tags.[[my-key]]", "tags.[[group]] = tags.[[my-key]]")
	check("tags.[[site]] = tags.[[43]]", "tags.site = tags.[[43]]")
	check("properties.reported.$metadata.fw.$lastUpdated > 'x'", "properties.reported.$metadata.fw.$lastUpdated > 'x'")
	check("tags.größe = tags.[[ a.b ]]", "tags.größe = tags.[[ a.b ]]")
	check("is_defined = 1 AND tags.count = 2", "is_defined = 1 AND tags.count = 2")
	check("[[is_defined]] = 1", "is_defined = 1")

	// Functions.
	check("is_defined(tags.site)", "IS_DEFINED(tags.site)")
	check("StartsWith ( tags.site , \"n\" )", "STARTSWITH(tags.site, 'n')")
	check("NOT EndsWith(deviceid,'7')", "NOT ENDSWITH(deviceId, '7')")
}

func TestQueryPrintsOneForm(t *testing.T) {
	check := func(src, want string, source query.Source) {
		t.Helper()
		for _, s := range []string{src, want} {
			q, err := query.Parse(s)
			if err != nil {
				t.Errorf("Parse(%q): %v", s, err)
				continue
			}
			if got := q.String(); got != want || q.Source != source {
				t.Errorf("Parse(%q) = %q from %s, want %q from %s", s, got, q.Source, want, source)
			}
		}
	}
	check("select * from devices", "SELECT * FROM devices", query.Devices)
	check("SELECT * FROM Devices WHERE tags.a = 1", "SELECT * FROM devices WHERE tags.a = 1", query.Devices)
	check("SELECT*FROM devices.jobs", "SELECT * FROM devices.jobs", query.DeviceJobs)
	check("SELECT * FROM Devices.Jobs WHERE Devices.Jobs.JobId = 'j' AND devices.jobs.createdTimeUtc > '2016-09-01'",
		"SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j' AND devices.jobs.createdDateTimeUtc > '2016-09-01'", query.DeviceJobs)
	check("SELECT * FROM devices.jobs WHERE IS_DEFINED(devices.jobs.error) AND devices.jobs.outcome.[[a b]] IN [1]",
		"SELECT * FROM devices.jobs WHERE IS_DEFINED(devices.jobs.error) AND devices.jobs.outcome.[[a b]] IN [1]", query.DeviceJobs)

	check("select top 5 * from devices where tags.a=1", "SELECT TOP 5 * FROM devices WHERE tags.a = 1", query.Devices)
	check("SELECT TOP 007 deviceId FROM Devices.Modules WHERE ModuleId='m'", "SELECT TOP 7 deviceId FROM devices.modules WHERE moduleId = 'm'", query.Modules)
	check("SELECT * FROM devices.[[modules]]", "SELECT * FROM devices.modules", query.Modules)
	check("SELECT DeviceId,Properties.Reported.fw as version FROM devices", "SELECT deviceId, properties.reported.fw AS version FROM devices", query.Devices)
	check("SELECT DeviceId AS deviceId, tags.a AS a FROM devices", "SELECT deviceId, tags.a FROM devices", query.Devices)
	check("SELECT tags.[[group]], tags.[[x-y]] AS [[top]], tags AS [[a \"b\"]] FROM devices",
		"SELECT tags.[[group]], tags.[[x-y]] AS [[top]], tags AS [[a \"b\"]] FROM devices", query.Devices)
	check("SELECT distinct FROM devices", "SELECT distinct FROM devices", query.Devices) // an attribute
	check("SELECT count() FROM devices", "SELECT COUNT() FROM devices", query.Devices)
	check("SELECT Count ( ) as n, avg(tags.a), SUM( tags.[[b c]] ) AS total, min(VERSION), Max(version) AS max FROM devices",
		"SELECT COUNT() AS n, AVG(tags.a), SUM(tags.[[b c]]) AS total, MIN(version), MAX(version) FROM devices", query.Devices)
	check("SELECT [[COUNT]] FROM devices", "SELECT COUNT FROM devices", query.Devices) // an attribute too
	check("SELECT properties.reported.status AS status,COUNT() AS n FROM devices WHERE tags.a>1 OR b group  by Properties.reported.status , tags.[[a.b]]",
		"SELECT properties.reported.status, COUNT() AS n FROM devices WHERE tags.a > 1 OR b GROUP BY properties.reported.status, tags.[[a.b]]", query.Devices)
	check("SELECT TOP 3 tags.a FROM devices GROUP BY tags.a", "SELECT TOP 3 tags.a FROM devices GROUP BY tags.a", query.Devices)
	check("SELECT "+numbered(100)+" FROM devices GROUP BY "+numbered(100), "SELECT "+numbered(100)+" FROM devices GROUP BY "+numbered(100), query.Devices)
}

// checkSyntax compares a fault's place, written as the piece of the text that
// begins there, and a part of its message.
func checkSyntax(t *testing.T, err error, src, place, msg string) {
	t.Helper()
	syntax, ok := errors.AsType[*query.SyntaxError](err)
	if !ok {
		t.Errorf("parsing %q = %v, want a SyntaxError", src, err)
		return
	}
	if syntax.Query != src || !strings.HasPrefix(src[syntax.Off:], place) || (place == "" && syntax.Off != len(src)) {
		t.Errorf("parsing %q fails at %q, want at %q", src, src[syntax.Off:], place)
	}
	if !strings.Contains(syntax.Msg, msg) {
		t.Errorf("parsing %q says %q, want …%s…", src, syntax.Msg, msg)
	}
}

func TestConditionErrorsHavePlaces(t *testing.T) {
	check := func(src, place, msg string) {
		t.Helper()
		_, err := query.ParseCondition(src)
		checkSyntax(t, err, src, place, msg)
	}
	check("", "", "* matches every device")
	check("  ", "", "* matches every device")
	check("SELECT * FROM devices", "SELECT", "a whole query stands where only its condition belongs")
	check("where tags.a = 1", "where", "leave it out")
	check("FROM devices.modules WHERE a = 1", "FROM", "not supported")
	check("* AND a = 1", "AND", "expected the end after *")
	check("a = 1 AND *", "*", "expected an attribute, a constant or (")

	check("a = 1 b", "b", `expected AND, OR or the end, found "b"`)
	check("a = 1)", ")", "expected AND, OR or the end")
	check("(a = 1", "", "expected ), found the end")
	check("a =", "", "found the end")
	check("a = = 1", "= 1", `expected an attribute, a constant or (, found "="`)
	check("a < b < c", "< c", "comparisons do not chain")
	check("a = 1 IN [1]", "IN", "comparisons do not chain")
	check("a = NOT b", "NOT", "parentheses")
	check("a NOT IN [1]", "NOT", "write NIN")
	check("a IN (1)", "(1)", "lists stand in square brackets")
	check("a IN []", "]", "expected a constant")
	check("a IN [1 2]", "2]", "expected , or ]")
	check("a IN [1", "", "expected , or ]")
	check("a IN [b]", "b]", "expected a constant")
	check("a IN [-'x']", "'x'", "expected a constant")
	check("a IN [[1]]", "[[1]]", "expected [")
	check("1 IN [1]", "IN", "left of IN must be an attribute")
	check("a + 1 IN [1]", "IN", "left of IN must be an attribute")
	check("a GROUP BY b", "GROUP", "GROUP BY is no part of a condition")
	check("a FOO b", "FOO", "expected AND, OR or the end")

	check("a == 1", "== 1", "no operator ==: write =")
	check("a && b", "&& b", "write AND")
	check("a || b", "|| b", "write OR")
	check("!a", "!a", "write NOT")
	check("a = 1;", ";", "unexpected character")
	check("a = #", "#", "unexpected character")
	check("a = 'north", "'north", "not closed by '")
	check(`a = "north'`, `"north'`, `not closed by "`)
	check("a = 'it''s'", "'s'", `written \'`)
	check(`a = 'x\n'`, `\n'`, "no such escape")
	check(`a = 'x\u12'`, `\u12'`, "no such escape")
	check(`a = '\ud83d'`, `\ud83d`, "no such escape")
	check(`a = '\ud83d\u0041'`, `\ud83d`, "no such escape")
	check("a = 12x", "12x", "not a number")
	check("a = 1_000", "1_000", "not a number")
	check("a = 1e999", "1e999", "not a number")
	check("a = 0x", "0x", "not a number")
	check("a = 0x1F1F1F1F1F1F1F1F1", "0x1F", "not a number")
	check("a = 1.2.3", ".3", "expected AND")
	check("a = \xff", "\xff", "not UTF-8")

	check("tags. = 1", "= 1", "expected a name")
	check("tags.group = 1", "group", "must be written [[group]]")
	check("tags.43 = 1", "43", "must be written [[43]]")
	check("group = 1", "group", "written [[group]]")
	check("tags.[[]] = 1", "[[]]", "no name between")
	check("tags.[[a = 1", "[[a", "not closed by ]]")
	check("devices.tags.a = 1", "devices", "no prefix")
	check("a = devices.jobs.jobId", "devices", "no prefix")

	check("contains(tags.a, 'x')", "contains", "the hub refuses CONTAINS")
	check("STARTS_WITH(tags.a, 'x')", "STARTS_WITH", "write STARTSWITH")
	check("ENDS_WITH(tags.a, 'x')", "ENDS_WITH", "write ENDSWITH")
	check("a = 1 AND COUNT() > 1", "COUNT", "cannot stand in a condition")
	check("FOO(tags.a)", "FOO", "no function FOO")
	check("IS_DEFINED()", ")", "expected an attribute")
	check("IS_DEFINED('a')", "'a'", "expected an attribute")
	check("IS_DEFINED(a, b)", ", b", "expected )")
	check("STARTSWITH(a)", ")", "expected , and a string")
	check("STARTSWITH(a, b)", "b)", "expected a string")
	check("STARTSWITH(tags., 'a')", ", 'a'", "expected a name")
	check("[[STARTSWITH]](a, 'b')", "(a", "expected an operator")
}

func TestQueryErrorsHavePlaces(t *testing.T) {
	check := func(src, place, msg string) {
		t.Helper()
		_, err := query.Parse(src)
		checkSyntax(t, err, src, place, msg)
	}
	check("", "", "expected SELECT")
	check("tags.a = 1", "tags", "expected SELECT")
	check("SELECT", "", "expected *, an attribute or an aggregate")
	check("SELECT * WHERE a = 1", "WHERE", "expected FROM")
	check("SELECT * FROM c", "c", "expected devices, devices.modules or devices.jobs")
	check("SELECT * FROM devices.twins", "twins", "expected devices, devices.modules or devices.jobs")
	check("SELECT * FROM devices.", "", "expected devices, devices.modules or devices.jobs")
	check("SELECT * FROM devices d", "d", "expected WHERE, GROUP BY or the end")
	check("SELECT * FROM devices WHERE a = 1 b", "b", "expected AND, OR, GROUP BY or the end")
	check("SELECT * FROM devices WHERE", "", "expected an attribute")
	check("SELECT * FROM devices WHERE *", "*", "expected an attribute")
	check("SELECT * FROM devices.jobs WHERE jobId = 'a'", "jobId", "begin with devices.jobs.")
	check("SELECT * FROM devices.jobs WHERE tags.a.b = 'a'", "tags", "begin with devices.jobs.")
	check("SELECT * FROM devices.jobs WHERE devices.jobs = 'a'", "devices.jobs =", "begin with devices.jobs.")
	check("SELECT * FROM devices.jobs WHERE STARTSWITH(devices.jobs.jobId, 'a')", "STARTSWITH", "does not work on device jobs")
	check("SELECT * FROM devices.modules WHERE devices.modules.moduleId = 'a'", "devices.modules.moduleId", "no prefix")
	check("SELECT * FROM devices WHERE a = 'x", "'x", "not closed")
}

func TestTargetsOfJobs(t *testing.T) {
	check := func(src, want string, source query.Source) {
		t.Helper()
		for _, s := range []string{src, want} {
			c, err := query.ParseTarget(s)
			if err != nil {
				t.Errorf("ParseTarget(%q): %v", s, err)
			} else if c.String() != want || c.Source() != source {
				t.Errorf("ParseTarget(%q) = %q on %s, want %q on %s", s, c, c.Source(), want, source)
			}
		}
	}
	check("*", "*", query.Devices)
	check("DeviceId='a'", "deviceId = 'a'", query.Devices)
	check("from Devices.Modules where ModuleId = 'm'", "FROM devices.modules WHERE moduleId = 'm'", query.Modules)
	refused := func(src, place, msg string) {
		t.Helper()
		_, err := query.ParseTarget(src)
		checkSyntax(t, err, src, place, msg)
	}
	refused("FROM devices WHERE a = 1", "FROM", "only FROM devices.modules")
	refused("FROM devices.jobs WHERE devices.jobs.jobId = 'a'", "FROM", "only FROM devices.modules")
	refused("FROM devices.modules", "", "expected WHERE")
	refused("FROM devices.modules WHERE", "", "expected an attribute")
	refused("FROM devices.modules WHERE *", "*", "expected an attribute")
	refused("FROM devices.modules WHERE a = 1 GROUP BY a", "GROUP", "no part of a condition")
	refused("SELECT * FROM devices", "SELECT", "a whole query stands")
	refused("", "", "* matches every device")
}

func TestSyntaxErrorDrawsThePlace(t *testing.T) {
	_, err := query.ParseCondition("tags.größe\t= == 1")
	syntax, ok := errors.AsType[*query.SyntaxError](err)
	if !ok {
		t.Fatalf("got %v, want a SyntaxError", err)
	}
	if got, want := syntax.Error(), "column 14: no operator ==: write ="; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if got, want := syntax.Caret(), "tags.größe\t= == 1\n          \t  ^"; got != want {
		t.Errorf("Caret() = %q, want %q", got, want)
	}
}

func TestSizeAndDepthAreBounded(t *testing.T) {
	nested := func(open, shut string, levels int) string {
		return strings.Repeat(open, levels) + "tags.a" + strings.Repeat(shut, levels)
	}
	for _, src := range []string{
		nested("(", ")", 64), nested("NOT ", "", 64), nested("-", "", 64), nested("NOT (", ")", 32),
		"a = '" + strings.Repeat("ü", 8192-6) + "'", // characters are counted, not bytes
		strings.Repeat("a = 1 OR ", 900) + "b",
		strings.Repeat("1+", 4000) + "a",
	} {
		c := condition(t, src)
		c.Match(twin("{}"))
		if len(c.String()) <= 8192 {
			condition(t, c.String())
		}
	}
	refused := func(src string, off int, msg string) {
		t.Helper()
		_, err := query.ParseCondition(src)
		checkSyntax(t, err, src, src[off:], msg)
	}
	refused(nested("(", ")", 65), 64, "nested deeper than 64 levels")
	refused(nested("NOT ", "", 65), 4*64, "nested deeper than 64 levels")
	refused(nested("-", "", 65), 64, "nested deeper than 64 levels")
	refused("a = '"+strings.Repeat("ü", 8192-5)+"'", 5+2*(8192-5), "longer than 8192 characters")
}

func TestPathsAreReadOnce(t *testing.T) {
	c := condition(t, "DeviceId = 'a' AND (tags.a > tags.b + 1 OR NOT IS_DEFINED(tags.a)) AND tags.c IN [1] AND ENDSWITH(tags.[[x.y]], '') AND -tags.d = 1")
	want := [][]string{{"deviceId"}, {"tags", "a"}, {"tags", "b"}, {"tags", "c"}, {"tags", "x.y"}, {"tags", "d"}}
	if diff := cmp.Diff(want, c.Paths()); diff != "" {
		t.Errorf("Paths (-want +got):\n%s", diff)
	}
	if got := condition(t, "*").Paths(); got != nil {
		t.Errorf("Paths of * = %v, want none", got)
	}
}

func TestDeviceIDsAreTheOnlyOnesThatCanMatch(t *testing.T) {
	check := func(src string, ok bool, want ...string) {
		t.Helper()
		got, gotOK := condition(t, src).DeviceIDs()
		if gotOK != ok || !cmp.Equal(want, got) {
			t.Errorf("DeviceIDs of %q = %q, %t; want %q, %t", src, got, gotOK, want, ok)
		}
	}
	check("*", false)
	check("tags.a = 'x'", false)
	check("deviceId = 'a'", true, "a")
	check("'a' = DeviceId", true, "a")
	check("deviceId = 7", true)
	check("deviceId != 'a'", false)
	check("deviceId = tags.a", false)
	check("deviceId IN ['b', 'a', 'b', 1]", true, "b", "a")
	check("deviceId NIN ['a']", false)
	check("NOT deviceId = 'a'", false)
	check("tags.deviceId = 'a'", false)
	check("tags.a = 1 AND deviceId = 'a'", true, "a")
	check("deviceId IN ['a', 'b', 'c'] AND tags.a = 1 AND deviceId IN ['c', 'd', 'b']", true, "b", "c")
	check("deviceId = 'a' AND deviceId = 'b'", true)
	check("deviceId = 'a' OR deviceId IN ['b', 'a']", true, "a", "b")
	check("deviceId = 'a' OR tags.a = 1", false)
	check("(deviceId = 'a' OR deviceId = 'b') AND (tags.a = 1 OR deviceId = 'b')", true, "a", "b")
}

func TestJobIDsAreThoseOfDeviceJobs(t *testing.T) {
	q, err := query.Parse("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j' AND devices.jobs.deviceId IN ['a', 'b']")
	if err != nil {
		t.Fatal(err)
	}
	jobs, ok := q.Where.JobIDs()
	if !ok || !cmp.Equal(jobs, []string{"j"}) {
		t.Errorf("JobIDs = %q, %t", jobs, ok)
	}
	devices, ok := q.Where.DeviceIDs()
	if !ok || !cmp.Equal(devices, []string{"a", "b"}) {
		t.Errorf("DeviceIDs = %q, %t", devices, ok)
	}
	if want := [][]string{{"jobId"}, {"deviceId"}}; !cmp.Equal(q.Where.Paths(), want) {
		t.Errorf("Paths = %q, want %q", q.Where.Paths(), want)
	}
	if _, ok := condition(t, "jobId = 'j'").JobIDs(); ok {
		t.Error("a condition on devices says something of job ids")
	}
	var all *query.Condition
	if _, ok := all.JobIDs(); ok {
		t.Error("no condition says something of job ids")
	}
}
