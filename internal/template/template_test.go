package template_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/internal/template"
)

func parse(t testing.TB, src string) *template.Template {
	t.Helper()
	parsed, err := template.Parse(src)
	if err != nil {
		t.Fatalf("Parse(%q): %v", src, err)
	}
	return parsed
}

var vars = template.Vars{Index: 143, Group: "doors", Seed: 42}

func TestEvalKeepsTheTypeOfALoneExpression(t *testing.T) {
	check := func(src string, want any) {
		t.Helper()
		parsed := parse(t, src)
		if diff := cmp.Diff(want, parsed.Eval(vars)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", src, diff)
		}
		if got, want := parsed.Text(vars), fmt.Sprint(want); got != want {
			t.Errorf("Text of %q = %q, want %q", src, got, want)
		}
		if parsed.String() != src {
			t.Errorf("String of %q = %q", src, parsed)
		}
	}
	check("", "")
	check("plain", "plain")
	check("{{index}}", "{index}")
	check("a{{b}}c{{", "a{b}c{")
	check("{{{index}}}", "{143}")
	check("{index}", int64(143))
	check("{ index }", int64(143))
	check("{group}", "doors")
	check("{index % 50}", int64(43))
	check("{index / 50}", int64(2))
	check("{1 + 2 * 3 - 4}", int64(3))
	check("{(1 + 2) * 3}", int64(9))
	check("{10 - 2 - 3}", int64(5))
	check("{100 / 10 / 2}", int64(5))
	check("{-index}", int64(-143))
	check("{- -index}", int64(143))
	check("{-(index + 1) % 10}", int64(-4))
	check("{-7 / 2}", int64(-3))
	check("{1 / (index - 143)}", int64(0))
	check("{1 % (index - 143)}", int64(0))
	check("{random(index - 143)}", int64(0))
	check("{9223372036854775807 + 1}", int64(math.MinInt64))
	check("{(-9223372036854775807 - 1) / -1}", int64(math.MinInt64))
	check("{random(1)}", int64(0))
	check("{pick('x')}", "x")
	check("{pick(7)}", int64(7))
	check("{pick(-7) * 2}", int64(-14))
	check("{pick(2.5)}", 2.5)
	check("{pick(-0.25)}", -0.25)
	check("{pick(true)}", true)
	check("{pick(false)}", false)
	check(`{pick("it's \"}{\" \\")}`, `it's "}{" \`)
	check(`{pick('türe')}`, "türe")

	// With anything around it, or a format, it is text.
	check("door-{index}", "door-143")
	check("{index}{index}", "143143")
	check(" {index}", " 143")
	check("{group}/{index / 50}/{index % 50}", "doors/2/43")
	check("{index:d}", "143")
	check("door-{index:05d}", "door-00143")
	check("{index :x}", "8f")
	check("{index:#X}", "0X8F")
	check("{index:+d}", "+143")
	check("{index:-6d}|", "143   |")
	check("{index:o} {index:b} {index:v}", "217 10001111 143")
	check("{group:q}", `"doors"`)
	check("{group:.3s}", "doo")
	check("{group:8s}", "   doors")
	check("{pick(2.5):.2f}", "2.50")
	check("{pick(true):t}", "true")
}

// TestFormatsOfIntegersAreThoseOfFmt prints numbers of all lengths in formats
// of which some do without package fmt.
func TestFormatsOfIntegersAreThoseOfFmt(t *testing.T) {
	for _, format := range []string{"d", "0d", "01d", "5d", "05d", "00d", "005d", "019d", "020d", "099d", "-05d", "0-5d", "+05d", "0+5d", "#05d", "05x", "05v"} {
		exact := parse(t, "{index:"+format+"}")
		for n := 1; n > 0 && n < math.MaxInt/10; n *= 10 {
			for _, index := range []int{n - 1, n, n + 7, -n, math.MaxInt, math.MinInt} {
				if got, want := exact.Text(template.Vars{Index: index}), fmt.Sprintf("%"+format, index); got != want {
					t.Errorf("%v of index %d = %q, want %q", exact, index, got, want)
				}
			}
		}
	}
}

func TestParseErrorsHavePlaces(t *testing.T) {
	check := func(src string, off int, msg string) {
		t.Helper()
		_, err := template.Parse(src)
		syntax, ok := errors.AsType[*template.SyntaxError](err)
		if !ok {
			t.Errorf("Parse(%q) = %v, want a SyntaxError", src, err)
			return
		}
		if syntax.Off != off || !strings.Contains(syntax.Msg, msg) || syntax.Template != src {
			t.Errorf("Parse(%q) = offset %d, %q; want offset %d, …%s…", src, syntax.Off, syntax.Msg, off, msg)
		}
	}
	check("a}b", 1, "written }}")
	check("{index}}", 7, "written }}")
	check("{index", 0, "written {{")
	check("{index:d", 0, "written {{")
	check("{", 1, "expected an integer, index")
	check("{}", 1, "expected an integer, index")
	check("{index index}", 7, "an operator, : or }")
	check("{indx}", 1, "no indx")
	check("{index +}", 8, "expected an integer, index")
	check("{(index}", 7, "expected )")
	check("{group + 1}", 1, "+ works on integers, this is a string")
	check("{1 * group}", 5, "* works on integers")
	check("{-group}", 2, "- works on integers")
	check("{pick(1, 'a') + 1}", 1, "this is a mix of types")
	check("{index / 0}", 9, "division by zero")
	check("{index % (2 - 2)}", 9, "division by zero")
	check("{99999999999999999999}", 1, "not an integer of 64 bits")
	check("{12ab}", 1, "not an integer")
	check("{1.5}", 2, "an operator, : or }")
	check("{random}", 7, "( after random")
	check("{random()}", 8, "expected an integer, index")
	check("{random(0)}", 8, "above 0")
	check("{random(1 - 5)}", 8, "above 0")
	check("{random(group)}", 8, "random takes an integer")
	check("{random(5}", 9, "expected )")
	check("{pick}", 5, "( after pick")
	check("{pick()}", 6, "a string, a number, true or false")
	check("{pick(a)}", 6, "a string stands in quotes")
	check("{pick('a' 'b')}", 10, ", or )")
	check("{pick('a}", 6, "not closed by '")
	check(`{pick('\n')}`, 7, "no such escape")
	check("{pick(1.2.3)}", 6, "not a number")
	check("{pick(1e5)}", 6, "not a number")
	check("{pick(-)}", 6, "not a number")
	check("{index:}", 7, "one of the verbs d x X o b v for an integer")
	check("{index:s}", 7, "one of the verbs")
	check("{index:5}", 8, "one of the verbs")
	check("{index:05dd}", 10, "an operator, : or }")
	check("{index:100d}", 7, "width of more than 2 digits")
	check("{index:.2d}", 7, "precision on an integer")
	check("{group:.100s}", 7, "precision of more than 2 digits")
	check("{group:d}", 7, "one of the verbs s q v for a string")
	check("{pick(1, 'a'):d}", 14, "one of the verbs v for a mix of types")
	check("{pick(true):d}", 12, "one of the verbs t v")
	check("{pick(1.5):d}", 11, "one of the verbs f e g v")
	check("{"+strings.Repeat("(", 33)+"1"+strings.Repeat(")", 33)+"}", 33, "nested deeper than 32 levels")
	check("{"+strings.Repeat("-", 33)+"1}", 33, "nested deeper than 32 levels")
}

func TestSyntaxErrorDrawsThePlace(t *testing.T) {
	_, err := template.Parse("tür-{indx}")
	syntax, ok := errors.AsType[*template.SyntaxError](err)
	if !ok {
		t.Fatalf("got %v, want a SyntaxError", err)
	}
	if got, want := syntax.Error(), "column 6: no indx: there are index, group, random(n) and pick('a', 'b')"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if got, want := syntax.Caret(), "tür-{indx}\n     ^"; got != want {
		t.Errorf("Caret() = %q, want %q", got, want)
	}
}

func TestUsesIndexTellsWhetherDevicesCanDiffer(t *testing.T) {
	for src, want := range map[string]bool{
		"door": false, "{group}": false, "{1 + 2}": false, "": false,
		"{index}": true, "a-{group}-{index:05d}": true, "{random(5)}": true, "{pick('a', 'b')}": true,
	} {
		if got := parse(t, src).UsesIndex(); got != want {
			t.Errorf("UsesIndex of %q = %t, want %t", src, got, want)
		}
	}
}

// A saved seed has to give the same fleet in every later version. These
// values follow from the package comment; they were not copied from the code.
func TestChoicesStayAsDocumented(t *testing.T) {
	const gamma = 0x9E3779B97F4A7C15
	fold := func(h, x uint64) uint64 {
		z := (h ^ x) + gamma
		z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
		z = (z ^ (z >> 27)) * 0x94D049BB133111EB
		return z ^ (z >> 31)
	}
	fnv := func(path ...string) uint64 {
		h := uint64(0xcbf29ce484222325)
		for _, c := range []byte(strings.Join(append(path, ""), "\x00")) {
			h = (h ^ uint64(c)) * 0x100000001b3
		}
		return h
	}
	want := func(place uint64, n int64) int64 {
		h := fold(fold(fold(0, vars.Seed), uint64(vars.Index)), place)
		return int64(float64(h) / (1 << 64) * float64(n)) // n is small: no rounding to fear
	}
	tree, err := template.ParseTree(map[string]any{
		"a": "{random(1000)}",
		"b": map[string]any{"list": []any{"x", "{random(1000)}"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantJSON := fmt.Sprintf(`{"a":%d,"b":{"list":["x",%d]}}`, want(fnv("a"), 1000), want(fnv("b", "list", "1"), 1000))
	if got := string(tree.AppendJSON(nil, vars)); got != wantJSON {
		t.Errorf("tree = %s, want %s", got, wantJSON)
	}
	root := fnv()
	wantText := fmt.Sprintf("%d %d %s", want(root, 1000), want(root+1, 1000), []string{"p", "q", "r"}[want(root+2, 3)])
	if got := parse(t, "{random(1000)} {random(1000)} {pick('p', 'q', 'r')}").Text(vars); got != wantText {
		t.Errorf("text = %q, want %q", got, wantText)
	}
}

func TestChoicesDependOnSeedIndexAndPlace(t *testing.T) {
	text := parse(t, "{random(1000000)} {random(1000000)} {pick('a', 'b', 'c')}")
	seen := map[string]template.Vars{}
	for seed := range uint64(20) {
		for index := range 200 {
			v := template.Vars{Index: index, Group: "doors", Seed: seed}
			got := text.Text(v)
			if again := text.Text(v); again != got {
				t.Fatalf("%+v gives %q and then %q", v, got, again)
			}
			if other, ok := seen[got]; ok {
				t.Errorf("%+v and %+v both give %q", v, other, got)
			}
			seen[got] = v
			if parts := strings.Fields(got); parts[0] == parts[1] {
				t.Errorf("%+v gives one number twice: %q", v, got)
			}
		}
	}
}

func TestChoicesAreEven(t *testing.T) {
	const devices, options = 60000, 6
	number, letter := parse(t, "{random(6)}"), parse(t, "{pick('a', 'b', 'c', 'd', 'e', 'f')}")
	for _, seed := range []uint64{0, 1, 42, math.MaxUint64} {
		numbers, letters := map[string]int{}, map[string]int{}
		for index := range devices {
			v := template.Vars{Index: index, Seed: seed}
			numbers[number.Text(v)]++
			letters[letter.Text(v)]++
		}
		for _, counts := range []map[string]int{numbers, letters} {
			if len(counts) != options {
				t.Errorf("seed %d: %d of %d values appear", seed, len(counts), options)
			}
			for value, n := range counts {
				// Ten thousand are expected, with a deviation of 91.
				if math.Abs(float64(n-devices/options)) > 5*91 {
					t.Errorf("seed %d: %d devices have %q", seed, n, value)
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("door-{index:05d}", 7, uint64(1))
	f.Add("{{{group}}} {pick('a', \"b\\\"\", 1.5, -2, true):v}", 0, uint64(0))
	f.Add("{random(index % 7 + 1) * -(2 + 3) / 4}", -3, uint64(42))
	f.Add("{index / 0}", 1, uint64(1))
	f.Fuzz(func(t *testing.T, src string, index int, seed uint64) {
		parsed, err := template.Parse(src)
		if err != nil {
			syntax, ok := errors.AsType[*template.SyntaxError](err)
			if !ok || syntax.Off < 0 || syntax.Off > len(src) {
				t.Fatalf("Parse(%q) = %#v", src, err)
			}
			_, _ = syntax.Error(), syntax.Caret()
			return
		}
		v := template.Vars{Index: index, Group: "g", Seed: seed}
		text := parsed.Text(v)
		if strings.Contains(text, "%!") && !strings.Contains(src, "!") {
			t.Errorf("%q gives %q", src, text)
		}
		if value := parsed.Eval(v); value != parsed.Eval(v) || text != parsed.Text(v) {
			t.Errorf("%q gives two values for %+v", src, v)
		}
		other := v
		other.Index++
		if !parsed.UsesIndex() && parsed.Text(other) != text {
			t.Errorf("%q differs by index and says that it does not", src)
		}
	})
}

func BenchmarkText(b *testing.B) {
	id := parse(b, "door-{index:05d}")
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = id.AppendText(dst[:0], vars)
	}
}
