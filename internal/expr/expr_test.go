package expr_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"muster/internal/expr"
)

func TestParsePrintsOneForm(t *testing.T) {
	check := func(src, want string) {
		t.Helper()
		parsed, err := expr.Parse(src)
		if err != nil {
			t.Errorf("Parse(%q): %v", src, err)
			return
		}
		if got := parsed.String(); got != want {
			t.Errorf("Parse(%q).String() = %q, want %q", src, got, want)
		}
		again, err := expr.Parse(want)
		if err != nil {
			t.Errorf("Parse(%q): %v", want, err)
			return
		}
		if diff := cmp.Diff(parsed, again); diff != "" {
			t.Errorf("Parse(%q) and Parse(%q) differ:\n%s", src, want, diff)
		}
	}
	check("jobs.lock.total.p99 < 2s", "jobs.lock.total.p99 < 2s")
	check("  jobs.lock.total.p99<2s  ", "jobs.lock.total.p99 < 2s")
	check(`jobs["lock all"].succeeded == 100%`, `jobs["lock all"].succeeded == 100%`)
	check(`jobs['lock all'].succeeded == 100 %`, `jobs["lock all"].succeeded == 100%`)
	check(`jobs["lock"].unknown == 0`, `jobs.lock.unknown == 0`)
	check(`jobs [ "a\"b" ] .x > 1`, `jobs["a\"b"].x > 1`)
	check(`["odd one"].x > 1`, `["odd one"].x > 1`)
	check("jobs.lock-all_2.total.p99 <= 500ms", "jobs.lock-all_2.total.p99 <= 500ms")
	check("jobs.2am.failed != 0", "jobs.2am.failed != 0")
	check("jobs.türe.failed >= 10000", "jobs.türe.failed >= 10000")
	check("x < 90s", "x < 1m30s")
	check("x < 3600s", "x < 1h")
	check("x < 1h0m5s", "x < 1h0m5s")
	check("x < 120s", "x < 2m")
	check("x < 250us", "x < 250µs")
	check("x < 0s", "x < 0s")
	check("x > 99.90%", "x > 99.9%")
	check("x > 0.5", "x > 0.5")
	check("x > 007", "x > 7")
	check("jobs.lock.rate>3000/s", "jobs.lock.rate > 3000/s")
	check("x > 60/m", "x > 1/s")
	check("x > 1/h", "x > 0.0002777777777777778/s")
	check("jobs.lock.total.p99 < 500ms over last 30s", "jobs.lock.total.p99 < 500ms over last 30s")
	check("jobs.lock.total.p99 < 500ms  over  every  60s ", "jobs.lock.total.p99 < 500ms over every 1m")
	check("jobs.over.rate > 5 % over last 1h", "jobs.over.rate > 5% over last 1h")
	check("jobs.lock{group=doors}.total.p99 < 5ms", "jobs.lock{group=doors}.total.p99 < 5ms")
	check("jobs['a b'] { group = 'c d' }.total.p99 < 5ms", `jobs["a b"]{group="c d"}.total.p99 < 5ms`)
	check(`fleet{group="a\"b"}.connect.p99 < 5ms over every 5s`, `fleet{group="a\"b"}.connect.p99 < 5ms over every 5s`)
}

func TestParseErrorsHavePlaces(t *testing.T) {
	check := func(src string, off int, msg string) {
		t.Helper()
		_, err := expr.Parse(src)
		syntax, ok := errors.AsType[*expr.SyntaxError](err)
		if !ok {
			t.Errorf("Parse(%q) = %v, want a SyntaxError", src, err)
			return
		}
		if syntax.Off != off || !strings.Contains(syntax.Msg, msg) || syntax.Expr != src {
			t.Errorf("Parse(%q) = offset %d, %q; want offset %d, …%s…", src, syntax.Off, syntax.Msg, off, msg)
		}
	}
	check("", 0, "expected a name, found the end")
	check("< 2s", 0, `expected a name, found '<'`)
	check("jobs. < 2s", 6, `expected a name, found '<'`)
	check("jobs. lock < 2s", 5, "no space")
	check("jobs.lock", 9, "expected one of < <= > >= == !=, found the end")
	check("jobs.lock.p99 = 2s", 14, "write ==")
	check("jobs.lock.p99 ~ 2s", 14, `found '~'`)
	check("jobs.lock all.p99 < 2s", 10, `found 'a'`)
	check("jobs[lock].p99 < 2s", 5, "a name in quotes")
	check(`jobs["lock].p99 < 2s`, 5, "not a string")
	check(`jobs['lock].p99 < 2s`, 5, "not closed")
	check(`jobs["lock" < 2s`, 12, "expected ]")
	check(`jobs[""] < 2s`, 5, "no name")
	check("jobs.lock.p99 <", 15, "expected a duration such as 500ms, a rate such as 3000/s, a percentage or a number, found the end")
	check("jobs.lock.p99 < fast", 16, `"fast" is no duration`)
	check("jobs.lock.p99 < 2 s", 16, `"2 s" is no duration`)
	check("jobs.lock.p99 < 2s && x", 16, "is no duration")
	check("jobs.lock.p99 < -2s", 16, "below 0")
	check("jobs.lock.p99 < +2s", 16, "is no duration")
	check("jobs.lock.p99 < -1", 16, "is no duration")
	check("jobs.lock.p99 < 1e3", 16, "is no duration")
	check("jobs.lock.p99 < .5%", 16, "is no duration")
	check("jobs.lock.p99 < 99999999999999999999", 16, "too large")
	check("jobs.lock.p99 < 9999h", 16, "too long")
	check("jobs.lock.rate > 3000/d", 17, `"3000/d" is no duration`)
	check("jobs.lock.p99 < over last 30s", 16, "expected a duration such as 500ms")
	check("jobs.lock.p99 < 2s over", 23, "expected last or every after over, found the end")
	check("jobs.lock.p99 < 2s over any 10s", 24, "expected last or every after over, found 'a'")
	check("jobs.lock.p99 < 2s over last", 28, "expected a duration such as 30s, found the end")
	check("jobs.lock.p99 < 2s over last 1500ms", 29, "1500ms is not a whole number of seconds from 1s to 1h")
	check("jobs.lock.p99 < 2s over last 2h", 29, "2h is not a whole number of seconds from 1s to 1h")
	check("jobs.lock.p99 < 2s over last -3s", 29, "-3s is not a whole number")
	check("jobs.lock.p99 < 2s over last 3s x", 29, `"3s x" is no duration such as 30s`)
	check("jobs.lock.p99 < 2s overt last 3s", 16, "is no duration")
	check("jobs{group=doors}.lock.p99 < 2s", 4, "a group stands after the name of a job or after fleet")
	check("generator{group=doors}.wake.p99 < 2s", 9, "a group stands after")
	check("jobs.lock{site=north}.p99 < 2s", 10, "expected group, found 's'")
	check("jobs.lock{group}.p99 < 2s", 15, "expected =, found '}'")
	check("jobs.lock{group=}.p99 < 2s", 16, "expected the name of a group, found '}'")
	check("jobs.lock{group=doors.p99 < 2s", 21, "expected }, found '.'")
	check("jobs.lock{group='doors}.p99 < 2s", 16, "not closed")
	check("jobs.lock{group=doors}{group=lamps}.p99 < 2s", 22, "expected one of < <= > >= == !=, found '{'")
}

func TestSyntaxErrorDrawsThePlace(t *testing.T) {
	_, err := expr.Parse("jobs.türe\t.x = 2s")
	syntax, ok := errors.AsType[*expr.SyntaxError](err)
	if !ok {
		t.Fatalf("Parse = %v, want a SyntaxError", err)
	}
	if got, want := syntax.Error(), "column 14: no operator =: write =="; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if got, want := syntax.Caret(), "jobs.türe\t.x = 2s\n         \t   ^"; got != want {
		t.Errorf("Caret() = %q, want %q", got, want)
	}
}

func duration(d time.Duration) expr.Measure {
	return expr.Measure{Unit: expr.Duration, Value: float64(d), Samples: 1}
}

func count(n, of float64) expr.Measure {
	return expr.Measure{Unit: expr.Count, Value: n, Of: of, Samples: 1}
}

func percent(p float64) expr.Measure {
	return expr.Measure{Unit: expr.Percent, Value: p, Samples: 1}
}

func eval(t *testing.T, src string, m expr.Measure, found bool) expr.Result {
	t.Helper()
	parsed, err := expr.Parse(src)
	if err != nil {
		t.Fatalf("Parse(%q): %v", src, err)
	}
	return parsed.Eval(m, found)
}

func TestEvalHoldsMeasuresAgainstBounds(t *testing.T) {
	check := func(src string, m expr.Measure, ok bool, measured, note string) {
		t.Helper()
		got := eval(t, src, m, true)
		if want := (expr.Result{OK: ok, Measured: measured, Note: note}); got != want {
			t.Errorf("%s with %+v = %+v, want %+v", src, m, got, want)
		}
	}
	check("x < 2s", duration(1930*time.Millisecond), true, "1.93 s", "")
	check("x < 2s", duration(2*time.Second), false, "2 s", "")
	check("x <= 2s", duration(2*time.Second), true, "2 s", "")
	check("x < 2s", duration(2*time.Second+time.Microsecond), false, "2.000001 s", "")
	check("x < 2s", duration(2*time.Second-1), true, "1.999999999 s", "")
	check("x > 1ms", duration(1500*time.Microsecond), true, "1.5 ms", "")
	check("x >= 1ms", duration(time.Millisecond), true, "1 ms", "")
	check("x == 5us", duration(5*time.Microsecond), true, "5 µs", "")
	check("x != 5us", duration(5*time.Microsecond), false, "5 µs", "")
	check("x < 1h", duration(90*time.Second), true, "90 s", "")
	check("x < 1h", duration(150*time.Second), true, "2.5 min", "")
	check("x < 1h", duration(3*time.Hour), false, "3 h", "")
	check("x < 1h", duration(0), true, "0 ns", "")

	check("x == 0", count(0, 10000), true, "0", "")
	check("x == 0", count(3, 0), false, "3", "")
	check("x >= 10000", count(12345678, 0), true, "12345678", "")

	check("x == 100%", count(10000, 10000), true, "100 %", "10000 of 10000")
	check("x == 100%", count(9999, 10000), false, "99.99 %", "9999 of 10000")
	check("x == 100%", count(9999999, 10000000), false, "99.99999 %", "9999999 of 10000000")
	check("x == 0%", count(1, 10000000), false, "0.00001 %", "1 of 10000000")
	check("x >= 99.9%", count(999, 1000), true, "99.9 %", "999 of 1000")
	check("x == 0.7%", count(7, 1000), true, "0.7 %", "7 of 1000")
	check("x < 33.4%", count(1, 3), true, "33.3 %", "1 of 3")
	check("x > 100%", count(20001, 20000), true, "100.01 %", "20001 of 20000")

	check("x < 80%", percent(79.96), true, "79.96 %", "")
	check("x < 80%", percent(42.5), true, "42.5 %", "")
}

func TestEvalWithoutDataIsNeverOK(t *testing.T) {
	check := func(src string, m expr.Measure, found bool, note string) {
		t.Helper()
		got := eval(t, src, m, found)
		if want := (expr.Result{NoData: true, Note: note}); got != want {
			t.Errorf("%s with %+v, %t = %+v, want %+v", src, m, found, got, want)
		}
	}
	empty := duration(0)
	empty.Samples = 0
	check("x < 2s", duration(1), false, "there is no such measure")
	check("x < 2s", empty, true, "there are no samples")
	check("x == 0", expr.Measure{Unit: expr.Count}, true, "there are no samples")
	check("x == 100%", expr.Measure{Unit: expr.Count, Value: 1, Of: 1}, true, "there are no samples")
	check("x == 100%", count(0, 0), true, "there is nothing to take a percentage of")
	check("x == 100%", count(0, -1), true, "there is nothing to take a percentage of")
	check("x < 100%", count(1, math.Inf(1)), true, "there is nothing to take a percentage of")
	check("x != 1", count(math.NaN(), 1), true, "the measured value is no number")
	check("x > 1", count(math.Inf(1), 1), true, "the measured value is no number")
}

func TestEvalRefusesToCompareUnits(t *testing.T) {
	check := func(src string, m expr.Measure, want string) {
		t.Helper()
		got := eval(t, src, m, true)
		if got.OK || got.NoData || got.Err == nil || got.Err.Error() != want || got.Note != want {
			t.Errorf("%s with %+v = %+v, want the error %q", src, m, got, want)
		}
	}
	check("x < 2", duration(1), "a duration cannot be compared with a count")
	check("x < 2%", duration(1), "a duration cannot be compared with a percentage")
	check("x < 2s", count(1, 1), "a count cannot be compared with a duration")
	check("x < 2s", percent(1), "a percentage cannot be compared with a duration")
	check("x < 2", percent(1), "a percentage cannot be compared with a count")
}

func TestMeasurePrintsInFittingUnits(t *testing.T) {
	check := func(m expr.Measure, want string) {
		t.Helper()
		if got := m.String(); got != want {
			t.Errorf("%+v prints %q, want %q", m, got, want)
		}
	}
	check(duration(17), "17 ns")
	check(duration(1234), "1.23 µs")
	check(duration(12345678), "12.3 ms")
	check(duration(1234567890), "1.23 s")
	check(duration(-1500*time.Millisecond), "-1.5 s")
	check(duration(125*time.Second), "2.08 min")
	check(duration(26*time.Hour), "26 h")
	check(percent(99.95), "100 %") // unlike Eval, it knows no bound to keep apart from
	check(count(10000, 0), "10000")
	check(count(0.25, 0), "0.25")
}

func TestOpsAndUnitsHaveNames(t *testing.T) {
	if got := expr.Op(99).String() + expr.Unit(99).String(); got != "invalidinvalid" {
		t.Errorf("names of what does not exist: %q", got)
	}
}

// A threshold and its opposite are never both met, and one of them is.
func TestOppositesDisagree(t *testing.T) {
	opposites := [][2]string{{"<", ">="}, {">", "<="}, {"==", "!="}}
	rapid.Check(t, func(t *rapid.T) {
		ops := rapid.SampledFrom(opposites).Draw(t, "ops")
		of := rapid.IntRange(1, 20000).Draw(t, "of")
		m := count(float64(rapid.IntRange(0, of).Draw(t, "n")), float64(of))
		bound := rapid.SampledFrom([]string{"0%", "50%", "99.9%", "100%", "33.3%"}).Draw(t, "bound")
		met := 0
		for _, op := range ops {
			parsed, err := expr.Parse("x " + op + " " + bound)
			if err != nil {
				t.Fatal(err)
			}
			if parsed.Eval(m, true).OK {
				met++
			}
		}
		if met != 1 {
			t.Fatalf("%v %s with %+v: %d of the two hold", ops, bound, m, met)
		}
	})
}

// What a threshold prints is what was parsed, whatever it is made of.
func TestThresholdsPrintWhatTheyAre(t *testing.T) {
	name := rapid.OneOf(rapid.StringMatching(`[a-z0-9_-]{1,8}`), rapid.StringN(1, 8, 32).Filter(utf8.ValidString))
	rapid.Check(t, func(t *rapid.T) {
		want := expr.Threshold{Path: []string{"jobs", name.Draw(t, "job"), "total", "p99"}, Op: expr.Op(rapid.IntRange(0, 5).Draw(t, "op"))}
		if rapid.Bool().Draw(t, "of the fleet") {
			want.Path = []string{"fleet", "connect", "p99"}
		}
		if rapid.Bool().Draw(t, "grouped") {
			want.Group = name.Draw(t, "group")
		}
		want.Bound.Unit = expr.Unit(rapid.IntRange(int(expr.Duration), int(expr.Rate)).Draw(t, "unit"))
		want.Bound.Value = float64(rapid.Int64Range(0, 1<<53).Draw(t, "bound"))
		if seconds := rapid.IntRange(0, 3600).Draw(t, "length"); seconds > 0 {
			want.Over = expr.Over{Length: time.Duration(seconds) * time.Second, Every: rapid.Bool().Draw(t, "every")}
		}
		got, err := expr.Parse(want.String())
		if err != nil {
			t.Fatalf("Parse(%q): %v", want.String(), err)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Fatalf("Parse(%q) is another:\n%s", want.String(), diff)
		}
		if _, err := got.Read(nil); err != nil && want.Bound.Unit != expr.Percent {
			t.Fatalf("%q.Read() = %v", want.String(), err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("jobs.lock.total.p99 < 2s")
	f.Add(`jobs["lock all"].succeeded == 100%`)
	f.Add("fleet.connect.p99 <= 1m30.5s")
	f.Add(`x['y'] != 0.25`)
	f.Add("jobs.lock{group=doors}.rate >= 3000/s over every 1m30s")
	f.Add(`fleet{group="a b"}.connect.p99 < 5s over last 30s`)
	f.Fuzz(func(t *testing.T, src string) {
		parsed, err := expr.Parse(src)
		if err != nil {
			syntax, ok := errors.AsType[*expr.SyntaxError](err)
			if !ok || syntax.Off < 0 || syntax.Off > len(src) {
				t.Fatalf("Parse(%q) = %#v", src, err)
			}
			_, _ = syntax.Caret(), syntax.Error()
			return
		}
		printed := parsed.String()
		again, err := expr.Parse(printed)
		if err != nil {
			t.Fatalf("Parse(%q) prints %q, which is refused: %v", src, printed, err)
		}
		if diff := cmp.Diff(parsed, again); diff != "" {
			t.Fatalf("Parse(%q) prints %q, which is another:\n%s", src, printed, diff)
		}
		for _, m := range []expr.Measure{duration(1), count(1, 3), percent(1), {Unit: expr.Rate, Value: 1, Samples: 1}} {
			parsed.Eval(m, true)
		}
		var fault *expr.PathError
		if _, err := parsed.Read(nil); err != nil && (!errors.As(err, &fault) || fault.Part < 0 || fault.Part >= len(parsed.Path)) {
			t.Fatalf("Parse(%q).Read() = %#v", src, err)
		}
	})
}
