//go:build screenshots

package peers_test

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	devtools "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

var (
	pictures = flag.String("pictures", "", "folder to write the pictures into")
	pages    = flag.String("pages", "", "folder with lockdoor/report.html, trouble/report.html and compare.html")
)

// TestScreenshots makes the pictures of docs/report.md. make screenshots calls it after the runs that it shows.
func TestScreenshots(t *testing.T) {
	b := newBrowser(t)
	show := func(name, file string, width int64, scheme, section, before string) {
		t.Helper()
		b.size(t, width, 900, scheme)
		b.open(t, filepath.Join(*pages, file))
		value[bool](t, b, "(() => { "+before+"; return true; })()")
		b.picture(t, name, width, section)
	}
	show("report", "lockdoor/report.html", 1280, "light", `['header', 'schedule']`, "")
	show("report-job", "lockdoor/report.html", 1280, "light", `['jobs', 'jobs']`, "")
	show("report-devices", "lockdoor/report.html", 1280, "dark", `['devices', 'connect']`, `const c = document.querySelector('canvas.cells'), box = c.getBoundingClientRect();
		c.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + 400, clientY: box.top + 200 }))`)
	show("report-trouble", "trouble/report.html", 1280, "dark", `['header', 'ledger']`, "")
	show("report-generator", "lockdoor/report.html", 1280, "light", `['generator', 'scenario']`, "")
	show("report-phone", "trouble/report.html", 360, "light", `['header', 'jobs']`, "")
	show("report-compare", "compare.html", 1280, "light", `['header', 'jobs']`, "")
}

// picture writes what is between two elements into a file.
func (b *browser) picture(t *testing.T, name string, width int64, section string) {
	t.Helper()
	clip := value[[]float64](t, b, `(() => {
		const [from, to] = `+section+`.map(id => document.getElementById(id) || document.querySelector(id)).map(e => e.getBoundingClientRect());
		return [Math.max(from.top + scrollY - 16, 0), to.bottom + scrollY + 16];
	})()`)
	shot, err := chromedp.Call(b.ctx, devtools.CaptureScreenshot, devtools.CaptureScreenshotParams{
		Format: devtools.CaptureScreenshotFormatPng, CaptureBeyondViewport: new(true),
		Clip: &devtools.Viewport{Y: clip[0], Width: float64(width), Height: math.Min(clip[1]-clip[0], 1900), Scale: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*pictures, name+".png"), shot.Data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestLiveScreenshots makes the pictures of docs/live.md, of a run of testdata/watched.yaml.
func TestLiveScreenshots(t *testing.T) {
	b := newBrowser(t)
	b.size(t, 1280, 900, "light")
	r := startWatched(t)
	b.watch(t, r)
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](`document.querySelector('#faults tbody tr') !== null && parseInt(document.querySelector('#ledger tbody td:nth-child(3)').innerText) > 6`)); err != nil {
		t.Fatal(err)
	}
	b.picture(t, "live", 1280, `['header', 'connect']`)
	b.picture(t, "live-generator", 1280, `['faults', 'thresholds']`)
	b.do(t, chromedp.Click(chromedp.CSS(`[role=tab]:nth-child(2)`)))
	b.size(t, 360, 900, "dark")
	b.drawn(t)
	b.picture(t, "live-phone", 360, `['header', 'jobs']`)
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	b.goesOn(t)
	r.ends(t)
}
