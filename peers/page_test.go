package peers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"muster/report"
)

// madeReport writes everything of a made run and returns the path of its page.
func madeReport(t *testing.T, devices int) string {
	t.Helper()
	dir := madeRun(t, devices)
	r, err := report.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Write(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "report.html")
}

// ink counts for each canvas to be seen the pixels of a colour: axes and their texts are grey, what is drawn is not.
const ink = `[...document.querySelectorAll('canvas')].filter(c => c.clientWidth > 0).map(c => {
	const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
	let n = 0;
	for (let i = 0; i < d.length; i += 4) {
		if (d[i + 3] > 128 && Math.max(d[i], d[i + 1], d[i + 2]) - Math.min(d[i], d[i + 1], d[i + 2]) > 60) n++;
	}
	return n;
})`

// inked checks that everything which is drawn has something in it, and that there are so many charts.
func (b *browser) inked(t *testing.T, what string, want int) {
	t.Helper()
	got := value[[]int](t, b, ink)
	if len(got) != want || slices.Min(got) < 30 {
		t.Errorf("%s: %d canvases with %v coloured pixels, want %d with 30 or more", what, len(got), got, want)
	}
}

func TestTheReportInABrowser(t *testing.T) {
	b := newBrowser(t)
	file := madeReport(t, 10_000)
	if info, err := os.Stat(file); err != nil || info.Size() > 2<<20 {
		t.Errorf("report.html of 10,000 devices: %d bytes, %v; want 2 MiB at most", info.Size(), err)
	}
	b.size(t, 1280, 900, "light")
	if ready := b.open(t, file); ready != "true" {
		t.Fatalf("the page says %q: %s", ready, value[string](t, b, `document.body.innerText`))
	}
	b.inked(t, "the first job", 10) // four of the job, the devices, the ramp, four of the generator
	b.do(t, chromedp.Click(chromedp.CSS(`[role=tab]:nth-child(2)`)))
	b.drawn(t)
	b.inked(t, "the second job", 10)

	text := value[string](t, b, `document.body.innerText`)
	for _, want := range []string{
		"made " + hostile, "label " + hostile, "lamps " + hostile, "50 %: ", "where " + hostile,
		"in the busiest second ", "50 of 20,000", "10,000 of 28,000", "7 late, 0 dropped", "42.5\u00a0µs of CPU a round trip",
	} {
		if !strings.Contains(text, want) && !strings.Contains(value[string](t, b, `document.body.textContent`), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := value[int](t, b, `document.querySelectorAll('main img, header img').length + (window.pwned || 0)`); n != 0 {
		t.Error("a name got into the page as markup")
	}
	b.quiet(t)
}

// A map names the device that is pointed at, and goes from one to the next by keys.
func TestTheMapNamesDevices(t *testing.T) {
	for _, devices := range []int{10_000, 100_000} {
		t.Run(fmt.Sprint(devices), func(t *testing.T) {
			b := newBrowser(t)
			b.size(t, 1280, 900, "light")
			b.open(t, madeReport(t, devices))
			b.do(t, chromedp.ScrollIntoView(chromedp.CSS(`canvas.cells`)))
			shape := value[[]float64](t, b, `(() => {
				const c = document.querySelector('canvas.cells'), box = c.getBoundingClientRect();
				return [box.left, box.top, c.width, c.height];
			})()`)
			if shape[2] < 900 || shape[2]*shape[3] < float64(devices) {
				t.Fatalf("the map is %v by %v pixels, want one for each device and the page's width", shape[2], shape[3])
			}
			said := func() string { return value[string](t, b, `document.querySelector('.readout.device').innerText`) }
			b.do(t, chromedp.MouseEvent(chromedp.MouseMoved, shape[0]+0.5, shape[1]+0.5))
			if got := said(); !strings.HasPrefix(got, "door-000000") || !strings.Contains(got, "lock: succeeded 2, response up to") || !strings.Contains(got, "connected in") {
				t.Errorf("pointing at the first cell says %q, want door-000000, its job and its connect", got)
			}
			b.do(t, chromedp.Focus(chromedp.CSS(`canvas.cells`)), chromedp.KeyEvent(kb.ArrowRight))
			if got := said(); !strings.HasPrefix(got, hostile) {
				t.Errorf("one to the right says %q, want %q", got, hostile)
			}
			b.do(t, chromedp.KeyEvent(kb.End))
			if got, want := said(), fmt.Sprintf("door-%06d", devices-1); !strings.HasPrefix(got, want) {
				t.Errorf("the last says %q, want %s", got, want)
			}
			b.do(t, chromedp.SendKeys(chromedp.CSS(`.find input`), "door-000013\r"))
			if got := said(); !strings.HasPrefix(got, "door-000013") || !strings.Contains(got, "lock: offline 2") {
				t.Errorf("finding a device says %q, want door-000013, twice offline", got)
			}
			b.inked(t, "all", 10)
			b.quiet(t)
		})
	}
}

// A cell of a very large fleet is of several devices: it has the colour of the worst, and says which that is.
func TestTheMapOfAVeryLargeFleet(t *testing.T) {
	b := newBrowser(t)
	b.size(t, 1280, 900, "light")
	b.open(t, madeReport(t, 250_000)) // 13 in a cell
	b.do(t, chromedp.ScrollIntoView(chromedp.CSS(`canvas.cells`)))
	check := func(what, got string, want ...string) {
		t.Helper()
		for _, text := range want {
			if !strings.Contains(got, text) {
				t.Errorf("%s says %q, want %q in it", what, got, text)
			}
		}
	}
	said := func() string { return value[string](t, b, `document.querySelector('.readout.device').innerText`) }
	section := func() string { return value[string](t, b, `document.getElementById('devices').innerText`) }
	find := func(name string) {
		value[bool](t, b, `(() => { document.querySelector('.find input').value = ''; return true; })()`)
		b.do(t, chromedp.SendKeys(chromedp.CSS(`.find input`), name+"\r"))
	}
	check("the map", section(), "250,000 devices, 13 in a cell")
	at := value[[]float64](t, b, `(() => { const box = document.querySelector('canvas.cells').getBoundingClientRect(); return [box.left, box.top]; })()`)
	b.do(t, chromedp.MouseEvent(chromedp.MouseMoved, at[0]+0.5, at[1]+0.5), chromedp.Focus(chromedp.CSS(`canvas.cells`)))
	check("the first cell", said(), "door-000000 … door-000012", "lock: succeeded 26, response up to", "connected in up to")
	b.do(t, chromedp.KeyEvent(kb.ArrowRight))
	check("the second", said(), "door-000013 … door-000025", "lock: succeeded 24, offline 2 (door-000013)")
	b.do(t, chromedp.KeyEvent(kb.End))
	check("the last", said(), "door-249990 … door-249999")
	find("door-100017")
	check("a device that is not named", said(), "door-100009 … door-100021")
	find("nobody")
	check("the field", value[string](t, b, `document.querySelector('.find .none').innerText`), "no such device")
	value[bool](t, b, `(() => {
		const select = document.querySelector('.chart.devices select');
		select.selectedIndex = [...select.options].findIndex(o => o.text === 'lock: worst outcome');
		select.dispatchEvent(new Event('change'));
		document.querySelector('.chart.devices details').open = true;
		return true;
	})()`)
	check("the legend", section(), "succeeded 494,844", "offline 5,156")
	colours := value[[]int](t, b, `(() => {
		const c = document.querySelector('canvas.cells'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
		const count = {};
		for (let i = 0; i < d.length; i += 4) if (d[i + 3]) count[[d[i], d[i + 1], d[i + 2]]] = (count[[d[i], d[i + 1], d[i + 2]]] || 0) + 1;
		return Object.values(count).sort((a, b) => b - a);
	})()`)
	if len(colours) != 2 || colours[1] < 2578*9 { // cells, of nine pixels or more
		t.Errorf("the map of outcomes has %v pixels by colour, want two colours, the rarer of 2,578 cells", colours)
	}
	b.inked(t, "all", 10)
	b.quiet(t)
}

func TestTheReportOnAPhoneInTheDark(t *testing.T) {
	b := newBrowser(t)
	b.size(t, 360, 740, "dark")
	b.open(t, madeReport(t, 2000))
	if got := value[int](t, b, `document.documentElement.scrollWidth`); got > 360 {
		t.Errorf("the page is %d pixels wide on a screen of 360", got)
	}
	b.inked(t, "on a phone", 10)
	background := func() string { return value[string](t, b, `getComputedStyle(document.body).backgroundColor`) }
	dark := background()
	b.do(t, chromedp.Click(chromedp.CSS(`.theme`))) // auto, then light
	if light := background(); light == dark {
		t.Errorf("the background is %s in light and in dark", light)
	}
	b.inked(t, "in the light", 10)
	b.quiet(t)
}

// Text is legible, and the keyboard comes to everything: WCAG 2 AA asks for a contrast of 4.5.
func TestTheReportIsAccessible(t *testing.T) {
	b := newBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		b.size(t, 1280, 900, scheme)
		b.open(t, madeReport(t, 100))
		low := value[[]string](t, b, `(() => {
			const of = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
			const light = c => [1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16) / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
				.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
			const contrast = (a, b) => { const [l, d] = [light(of(a)), light(of(b))].sort((x, y) => y - x); return (l + 0.05) / (d + 0.05); };
			const texts = ['--ink', '--ink-2', '--link', '--good', '--bad', '--warn'].flatMap(c => ['--card', '--paper'].map(on => [c, on, 4.5]));
			texts.push(['--good', '--good-bg', 4.5], ['--bad', '--bad-bg', 4.5], ['--warn', '--warn-bg', 4.5], ['--ink', '--warn-bg', 4.5], ['--ink', '--bad-bg', 4.5]);
			const lines = ['--response', '--service', '--lag', ...[0, 1, 2, 3, 4, 5, 6, 7].map(i => '--s' + i)].map(c => [c, '--card', 3]);
			return [...texts, ...lines].filter(([a, on, least]) => !(contrast(a, on) >= least)).map(([a, on]) => a + ' on ' + on + ': ' + contrast(a, on).toFixed(2));
		})()`)
		if len(low) > 0 {
			t.Errorf("%s: too little contrast: %q", scheme, low)
		}
	}
	nameless := value[[]string](t, b, `[...document.querySelectorAll('button, input, select, canvas[tabindex], [role=img], [role=region], table')]
		.filter(e => !(e.innerText || e.getAttribute('aria-label') || e.labels?.length || e.title)).map(e => e.outerHTML.slice(0, 80))`)
	if len(nameless) > 0 {
		t.Errorf("without a name: %q", nameless)
	}
	b.do(t, chromedp.KeyEvent(kb.Tab))
	if got := value[string](t, b, `document.activeElement.className`); got != "skip" {
		t.Errorf("the first Tab comes to %q, want the link past the navigation", got)
	}
	for range 300 {
		b.do(t, chromedp.KeyEvent(kb.Tab))
		if value[bool](t, b, `document.activeElement.classList.contains('plot')`) {
			break
		}
	}
	b.do(t, chromedp.KeyEvent(kb.Home), chromedp.KeyEvent(kb.ArrowRight))
	if got := value[string](t, b, `document.activeElement.parentElement.querySelector('.readout').innerText`); !strings.Contains(got, "repetition 1") {
		t.Errorf("the arrow keys on the first chart read out %q, want its values", got)
	}
}

// A browser that is too old says so, and what the page itself says is still there.
func TestABrowserThatCannotUnpackSaysSo(t *testing.T) {
	b := newBrowser(t)
	b.before(t, `delete window.DecompressionStream`)
	if ready := b.open(t, madeReport(t, 100)); ready != "failed" {
		t.Errorf("the page says %q, want failed", ready)
	}
	text := value[string](t, b, `document.body.innerText`)
	for _, want := range []string{"cannot unpack", "summary.json", "FAIL", "threshold jobs.lock.succeeded == 100% failed", "made " + hostile} {
		if !strings.Contains(strings.ToUpper(text), strings.ToUpper(want)) {
			t.Errorf("the page does not say %q but\n%s", want, text)
		}
	}
	b.quiet(t)
}

// Of a run that died before its first sample there is little to show, and that is shown.
func TestARunThatDiedInABrowser(t *testing.T) {
	for name, run := range map[string]*report.Run{
		"planned": {
			Scenario: "planned", Groups: []report.Group{{Name: "doors", Devices: 20}, {Name: "lamps", Devices: 5}}, Thresholds: []string{"jobs.lock.total.p99 < 1s"},
			Jobs: []report.RunJob{{Name: "lock", Type: "scheduleDeviceMethod", Via: "hub", QueryCondition: "*", Repetitions: 2}},
		},
		"nothing": {Scenario: "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := report.WriteRun(dir, run); err != nil {
				t.Fatal(err)
			}
			r, err := report.Build(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Write(); err != nil {
				t.Fatal(err)
			}
			b := newBrowser(t)
			b.size(t, 1280, 900, "light")
			if ready := b.open(t, filepath.Join(dir, "report.html")); ready != "true" {
				t.Fatalf("the page says %q: %s", ready, value[string](t, b, `document.body.innerText`))
			}
			text := value[string](t, b, `document.body.innerText`)
			for _, want := range []string{"INCOMPLETE", "the run died", "No device connected"} {
				if !strings.Contains(text, want) {
					t.Errorf("the page does not say %q but\n%s", want, text)
				}
			}
			b.quiet(t)
		})
	}
}

func TestRunsOverEachOtherInABrowser(t *testing.T) {
	b := newBrowser(t)
	file := filepath.Join(t.TempDir(), "compare.html")
	var runs []*report.Report
	for _, devices := range []int{300, 400} {
		r, err := report.Build(madeRun(t, devices))
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
	}
	if err := report.WriteComparison(file, runs); err != nil {
		t.Fatal(err)
	}
	b.size(t, 1280, 900, "light")
	if ready := b.open(t, file); ready != "true" {
		t.Fatalf("the page says %q: %s", ready, value[string](t, b, `document.body.innerText`))
	}
	b.inked(t, "the first job", 4) // completion, percentiles, two shifts
	if text := value[string](t, b, `document.body.innerText`); !strings.Contains(text, "number of devices differs: A 300; B 400") {
		t.Errorf("the page does not say that the fleets differ:\n%s", text)
	}
	b.quiet(t)
}
