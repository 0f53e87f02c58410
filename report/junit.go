package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"muster/internal/sample"
)

// The elements of junit.xml, as CI servers read them; testdata/junit.xsd is
// its schema.
type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		junitCounts
		Suites []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		junitCounts
		Timestamp  string          `xml:"timestamp,attr"` // UTC, without a zone
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitCounts struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Time     string `xml:"time,attr"` // seconds
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string     `xml:"classname,attr"`
		Name    string     `xml:"name,attr"`
		Time    string     `xml:"time,attr,omitempty"`
		Skipped *junitNote `xml:"skipped"`
		Error   *junitNote `xml:"error"`
		Failure *junitNote `xml:"failure"`
		Out     string     `xml:"system-out,omitempty"`
	}
	junitNote struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes junit.xml: a suite, whose cases are the run itself, each
// threshold and each job. The numbers of a run that is invalid, or did not
// reach its end, prove nothing: its own case is an error, and the thresholds
// are skipped.
func (r *Report) writeJUnit(w io.Writer) error {
	s := &r.Summary
	suite := junitSuite{Timestamp: s.StartedAt.UTC().Format("2006-01-02T15:04:05")}
	for _, p := range [][2]string{
		{"verdict", s.Verdict.String()},
		{"muster", s.MusterVersion},
		{"seed", strconv.FormatUint(s.Seed, 10)},
		{"target", s.Target.Kind},
		{"driver", s.Driver},
		{"devices", strconv.FormatInt(s.Fleet.Devices, 10)},
		{"transport", s.Target.Transport},
		{"note", s.Target.Note},
	} {
		if p[1] != "" {
			suite.Properties = append(suite.Properties, junitProperty{p[0], p[1]})
		}
	}
	suite.Cases = append(suite.Cases, runCase(s))
	for i := range s.Thresholds {
		suite.Cases = append(suite.Cases, thresholdCase(s, &s.Thresholds[i]))
	}
	for i := range s.Jobs {
		suite.Cases = append(suite.Cases, jobCase(s, &s.Jobs[i]))
	}
	suite.junitCounts = countCases(suite.Cases)
	suite.Name, suite.Time = s.Scenario, junitSeconds(s.DurationSeconds)
	all := junitSuites{junitCounts: suite.junitCounts, Suites: []junitSuite{suite}}
	all.Name = "muster"
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(&all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func countCases(cases []junitCase) junitCounts {
	n := junitCounts{Tests: len(cases)}
	for i := range cases {
		switch c := &cases[i]; {
		case c.Failure != nil:
			n.Failures++
		case c.Error != nil:
			n.Errors++
		case c.Skipped != nil:
			n.Skipped++
		}
	}
	return n
}

func junitSeconds(s float64) string { return strconv.FormatFloat(s, 'f', 3, 64) }

// proven reports whether the run's numbers can be held against anything.
func (s *Summary) proven() bool { return s.Verdict == Pass || s.Verdict == Fail }

func runCase(s *Summary) junitCase {
	c := junitCase{Class: s.Scenario, Name: "run", Time: junitSeconds(s.DurationSeconds), Out: strings.Join(s.Warnings, "\n")}
	note := &junitNote{Message: "the verdict is " + s.Verdict.String(), Type: s.Verdict.String(), Text: strings.Join(s.Reasons, "\n")}
	switch {
	case s.Verdict == Pass:
	case s.Verdict == Fail:
		c.Failure = note
	default:
		c.Error = note
	}
	return c
}

func thresholdCase(s *Summary, t *Threshold) junitCase {
	c := junitCase{Class: s.Scenario + ".thresholds", Name: t.Expression}
	if t.Measured != "" {
		c.Out = join("measured "+t.Measured, t.Note)
	}
	switch {
	case !s.proven():
		c.Skipped = &junitNote{Message: "not judged: the run is " + s.Verdict.String()}
	case !t.OK:
		c.Failure = &junitNote{Message: t.reason(), Type: "threshold", Text: c.Out}
	}
	return c
}

// jobCase fails for what forbids a pass whatever the thresholds say.
func jobCase(s *Summary, j *Job) junitCase {
	c := junitCase{Class: s.Scenario + ".jobs", Name: j.Name, Out: j.account()}
	reasons := j.failReasons(s.Thresholds)
	if len(s.Thresholds) == 0 {
		reasons = append(reasons, j.strictReasons()...)
	}
	switch {
	case !j.LedgerBalanced:
		c.Error = &junitNote{Message: "the ledger does not balance", Type: "ledger", Text: strings.Join(j.LedgerFaults, "\n")}
	case !s.proven():
		c.Skipped = &junitNote{Message: "not judged: the run is " + s.Verdict.String()}
	case len(reasons) > 0:
		c.Failure = &junitNote{Message: reasons[0], Type: "job", Text: strings.Join(reasons, "\n")}
	case j.Targeted == 0:
		c.Skipped = &junitNote{Message: "the job targeted no device"}
	}
	return c
}

// account is a job in a few lines: its ledger, and a line for each phase.
func (j *Job) account() string {
	var b strings.Builder
	fmt.Fprintf(&b, "targeted %s", thousands(j.Targeted))
	for _, o := range sample.Outcomes {
		fmt.Fprintf(&b, ", %s %s", o, thousands(*j.outcome(o)))
	}
	for p := range phases {
		if st := j.Phases[p.String()]; st != nil {
			fmt.Fprintf(&b, "\n%s: p50 %s, p90 %s, p99 %s, max %s of %s", p, st.P50.String(), st.P90.String(), st.P99.String(), st.Max.String(), thousands(st.Count))
		}
	}
	return b.String()
}
