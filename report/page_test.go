package report_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/report"
)

// markup is what a name, an id or a cause could be.
const markup = `</script><img src=x onerror="alert(1)"><!--`

// unpack returns the JSON that a page carries.
func unpack(t *testing.T, page []byte) []byte {
	t.Helper()
	m := regexp.MustCompile(`(?s)<script type="application/octet-stream" id="data">(.*?)</script>`).FindSubmatch(page)
	if m == nil {
		t.Fatal("the page carries no data")
	}
	zip, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(m[1])))
	if err != nil {
		t.Fatal(err)
	}
	var data bytes.Buffer
	if _, err := data.ReadFrom(zip); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

func page(t *testing.T, r *report.Report) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := r.Page(&out); err != nil {
		t.Fatalf("Page() = %v", err)
	}
	return out.Bytes()
}

func TestThePageIsWrittenAndCarriesTheSummary(t *testing.T) {
	dir := troubled().write(t)
	var before []byte
	for range 2 {
		r, err := report.Build(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "report.html"))
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && !bytes.Equal(before, got) {
			t.Error("the same folder gives two pages")
		}
		if bytes.Contains(got, []byte("{{")) {
			t.Error("a place of the page is not filled")
		}
		before = got
	}
	var carried struct{ Summary, Run json.RawMessage }
	if err := json.Unmarshal(unpack(t, before), &carried); err != nil {
		t.Fatal(err)
	}
	for file, got := range map[string]json.RawMessage{"summary.json": carried.Summary, "run.json": carried.Run} {
		var want bytes.Buffer
		src, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Compact(&want, src); err != nil {
			t.Fatal(err)
		}
		var a, b any
		if err := json.Unmarshal(want.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("the page's %s (-want +got):\n%s", file, diff)
		}
	}
}

// What the page draws adds up to what the summary says.
func TestThePageAgreesWithTheSummary(t *testing.T) {
	r := troubled().build(t)
	var data struct {
		Jobs []struct {
			Curves  []struct{ N []int64 }
			Spectra map[string]struct {
				Count int64
				X     []float64
				V     []report.Millis
			}
			Seconds struct {
				Phase             string
				Succeeded, Others []int64
			}
		}
		Devices struct {
			IDs  []string
			Jobs []struct {
				Outcomes map[string][]int64
				Max      []int64
			}
		}
		Ramp   struct{ Due, Ready struct{ N []int64 } }
		Health struct{ At []float64 }
	}
	if err := json.Unmarshal(unpack(t, page(t, r)), &data); err != nil {
		t.Fatal(err)
	}
	sum := func(all []int64) (n int64) {
		for _, v := range all {
			n += v
		}
		return n
	}
	check := func(what string, got, want int64) {
		t.Helper()
		if got != want {
			t.Errorf("%s: the page has %d, the summary %d", what, got, want)
		}
	}
	for i, j := range r.Summary.Jobs {
		p := data.Jobs[i]
		done := int64(0)
		for _, c := range p.Curves {
			done += c.N[len(c.N)-1]
		}
		check(j.Name+", curves", done, j.Succeeded)
		check(j.Name+", seconds", sum(p.Seconds.Succeeded)+sum(p.Seconds.Others), j.Phases[p.Seconds.Phase].Count)
		for phase, st := range j.Phases {
			s := p.Spectra[phase]
			check(j.Name+", spectrum of "+phase, s.Count, st.Count)
			at := slices.Index(s.X, 2) // 99 %
			if st.Count < 100 {
				continue // too few for a 99th percentile of their own
			}
			if at < 0 || near(s.V[at]) != near(st.P99) {
				t.Errorf("%s: the spectrum of %s has %v at 99 %%, the summary %v", j.Name, phase, s.V, st.P99)
			}
			if last := s.V[len(s.V)-1]; near(last) != near(st.Max) {
				t.Errorf("%s: the spectrum of %s ends at %v, the summary has a maximum of %v", j.Name, phase, last, st.Max)
			}
		}
		all := data.Devices.Jobs[i].Outcomes
		check(j.Name+", devices that succeeded", sum(all["succeeded"]), j.Succeeded)
		check(j.Name+", devices that failed", sum(all["failed"]), j.Failed)
		check(j.Name+", devices that were offline", sum(all["offline"]), j.Offline)
		check(j.Name+", longest of all devices in µs", slices.Max(data.Devices.Jobs[i].Max), ceilMicros(j.Phases["total"].Max))
	}
	check("devices", int64(len(data.Devices.IDs)), r.Summary.Fleet.Devices)
	check("ramp", data.Ramp.Ready.N[len(data.Ramp.Ready.N)-1], r.Summary.Fleet.Connected)
	check("health", int64(len(data.Health.At)), 40)
}

// near is m as far as JSON keeps it: to the microsecond, and below a millisecond to the nanosecond.
func near(m report.Millis) time.Duration {
	if d := time.Duration(m); d >= time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return time.Duration(m)
}

func ceilMicros(m report.Millis) int64 {
	return int64((time.Duration(m) + time.Microsecond - 1) / time.Microsecond)
}

// Whatever a scenario or a hub says is text: in what the page says itself, and in what it carries.
func TestNamesDoNotBecomeMarkup(t *testing.T) {
	f := small()
	f.run.Scenario, f.run.Driver, f.run.MusterVersion = markup, markup, markup
	f.run.Jobs[0].Name = markup
	f.run.Thresholds = []string{"jobs.nobody.total.p99 < 1s"}
	f.run.Target.Tier, f.run.Target.Kind = markup, markup
	find[sample.Device](f, 0).ID = markup
	e := find[sample.Execution](f, 0)
	e.Outcome, e.Code = sample.Failed, markup
	f.end.Reason, f.end.Error = "failed", markup
	dir := f.write(t)
	if err := os.WriteFile(filepath.Join(dir, "scenario.yaml"), []byte("name: "+markup), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := report.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := string(page(t, r))
	if strings.Contains(got, markup) || strings.Contains(got, "<img") {
		t.Error("the page has a name as markup")
	}
	if want := "&lt;/script&gt;&lt;img src=x onerror=&#34;alert(1)&#34;&gt;"; strings.Count(got, want) < 4 {
		t.Errorf("the page does not say %s in its title, its heading, its facts and its reasons", want)
	}
	if opened, closed := strings.Count(got, "<script"), strings.Count(got, "</script>"); opened != 3 || closed != 3 {
		t.Errorf("%d scripts are opened and %d closed, want 3: the data, uPlot, the page's own", opened, closed)
	}
	data := string(unpack(t, []byte(got)))
	if n := strings.Count(data, `\u003c/script\u003e`); n < 5 {
		t.Errorf("the data has %d markup names, want those of job, device, cause, scenario and driver", n)
	}
}

// What is filled into a page is looked at no more: a name like one of its places stays a name, and one in an attribute
// does not end it.
func TestNamesFillNoPlaces(t *testing.T) {
	const name = `{{scripts}}{{policy}}{{version}}" autofocus onfocus='alert(1)' x="</title><script>` + markup
	const want = `{{scripts}}{{policy}}{{version}}&#34; autofocus onfocus=&#39;alert(1)&#39; x=&#34;&lt;/title&gt;&lt;script&gt;`
	check := func(what, page string, scripts int, places ...string) {
		t.Helper()
		if strings.Contains(page, "<script>{{") || strings.Contains(page, "<img") || strings.Contains(page, `" autofocus`) {
			t.Errorf("%s has a name as markup", what)
		}
		if n := strings.Count(page, "<script"); n != scripts {
			t.Errorf("%s has %d scripts, want %d", what, n, scripts)
		}
		for _, before := range places {
			if !strings.Contains(page, before+want) {
				t.Errorf("%s does not say %s%s", what, before, want)
			}
		}
	}
	f := small()
	f.run.Scenario, f.run.Driver, f.run.MusterVersion, f.run.Target.Transport = name, name, name, name
	f.run.Jobs[0].Name = name
	f.end.Reason, f.end.Error = "failed", name
	r := f.build(t)
	r.Summary.Target.Note = name
	check("the page", string(page(t, r)), 3, "<h1>", "Made by muster ", `<p class="transport">`)
	path := filepath.Join(t.TempDir(), name[:11]+".html")
	if err := report.WriteComparison(path, []*report.Report{r, r}); err != nil {
		t.Fatal(err)
	}
	comparison, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check("the comparison", string(comparison), 3, "<title>2 runs of ", "<h1>", "Made by muster ", `<p class="transport">`)
	var live bytes.Buffer
	if err := (&report.LivePage{Scenario: name, Version: name, Stop: name, Transport: name}).Write(&live); err != nil {
		t.Fatal(err)
	}
	plain := bytes.Buffer{}
	if err := (&report.LivePage{}).Write(&plain); err != nil {
		t.Fatal(err)
	}
	check("the live page", live.String(), strings.Count(plain.String(), "<script"), `name="muster-stop" content="`, "<title>running: ", "<h1>", "by muster ")
}

// The policy in the page allows what the page is made of, by hash, and no request.
func TestThePagesPolicyFitsIt(t *testing.T) {
	got := page(t, small().build(t))
	policy := string(regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindSubmatch(got)[1])
	policy = strings.NewReplacer("&#39;", "'", "&#43;", "+").Replace(policy)
	var want []string
	for _, m := range regexp.MustCompile(`(?s)<(script|style)>(.*?)</(script|style)>`).FindAllSubmatch(got, -1) {
		sum := sha256.Sum256(m[2])
		want = append(want, string(m[1])+"-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	if len(want) != 3 {
		t.Fatalf("%d styles and scripts, want one and two", len(want))
	}
	style, first, second := want[0], want[1], strings.TrimPrefix(want[2], "script-src ")
	if all := "default-src 'none'; " + first + " " + second + "; " + style + "; img-src data:; base-uri 'none'; form-action 'none'"; policy != all {
		t.Errorf("policy\n%s\nwant\n%s", policy, all)
	}
	for _, no := range []string{"src=\"http", "href=\"http", "@import", "url(", " onclick=", "style=\""} {
		if bytes.Contains(got, []byte(no)) {
			t.Errorf("the page has %s", no)
		}
	}
}

func TestThePageOf10000DevicesIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a large report")
	}
	if got := len(page(t, broadcast(10_000).build(t))); got > 2<<20 {
		t.Errorf("the page has %d bytes, want 2 MiB at most", got)
	}
}

// uPlot is what its authors published: SHA256SUMS are of version 1.6.32 in the npm registry.
func TestEmbeddedFilesAreAsPublished(t *testing.T) {
	sums, err := report.Web.ReadFile("web/uplot/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(sums)) {
		want, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		src, err := report.Web.ReadFile("web/uplot/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(src); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s has the sum %x, want %s", name, sum, want)
		}
		listed = append(listed, name)
	}
	files, err := fs.ReadDir(report.Web, "web/uplot")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != "SHA256SUMS" && !slices.Contains(listed, f.Name()) {
			t.Errorf("%s is not in SHA256SUMS", f.Name())
		}
	}
}

// The page's own scripts are all in it but for the one of a run that goes on, which asks for one thing alone. They end no
// element, and make no markup of a text.
func TestScriptsAreAllThereAndMakeNoMarkup(t *testing.T) {
	names, err := fs.Glob(report.Web, "web/*.js")
	if err != nil {
		t.Fatal(err)
	}
	inPage := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "web/live.js" })
	if len(inPage) != len(report.PageScripts) || len(inPage) == len(names) {
		t.Errorf("%q in web, %q in the page", names, report.PageScripts)
	}
	forbidden := regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|</script|<!--|fetch\(|XMLHttpRequest|import\(`)
	for _, name := range append(names, "web/uplot/uPlot.iife.min.js") {
		src, err := report.Web.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "web/live.js" {
			src = bytes.Replace(src, []byte("fetch('stop', {"), nil, 1)
		}
		if found := forbidden.Find(src); found != nil {
			t.Errorf("%s has %s", name, found)
		}
	}
}

// Dark by the system's wish and dark by choice are one palette, which CSS cannot name once.
func TestDarkIsDark(t *testing.T) {
	src, err := report.Web.ReadFile("web/style.css")
	if err != nil {
		t.Fatal(err)
	}
	dark := regexp.MustCompile(`(?s)color-scheme: dark;(.*?)\}`).FindAllSubmatch(src, -1)
	if len(dark) != 2 {
		t.Fatalf("%d dark palettes, want two", len(dark))
	}
	if diff := cmp.Diff(strings.Fields(string(dark[0][1])), strings.Fields(string(dark[1][1]))); diff != "" {
		t.Errorf("dark by choice and by the system's wish (-choice +system):\n%s", diff)
	}
}

func TestAComparisonCarriesEachRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "compare.html")
	if err := report.WriteComparison(path, []*report.Report{small().build(t), troubled().build(t)}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var data struct {
		Runs []struct {
			Summary struct{ Scenario string }
			Devices json.RawMessage
		}
	}
	if err := json.Unmarshal(unpack(t, got), &data); err != nil {
		t.Fatal(err)
	}
	if len(data.Runs) != 2 || data.Runs[0].Summary.Scenario != "small" || data.Runs[1].Summary.Scenario != "lockdoor-trouble" || data.Runs[0].Devices != nil {
		t.Errorf("the page carries %+v, want both runs without their devices", data.Runs)
	}
	if err := report.WriteComparison(filepath.Join(path, "no", "folder.html"), []*report.Report{small().build(t)}); err == nil {
		t.Error("WriteComparison() into no folder = nil, want an error")
	}
}
