package peers_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
)

// watchedRun is a run of testdata/watched.yaml with its page.
type watchedRun struct {
	cmd  *exec.Cmd
	page string // its address
	dir  string // of its results
	said sync.WaitGroup
}

// startWatched starts the run; a test that does not end it ends it all the same.
func startWatched(t *testing.T) *watchedRun {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatalf("go build: %v", err)
	}
	r := &watchedRun{dir: filepath.Join(t.TempDir(), "out")}
	r.cmd = exec.Command(bin, "run", "testdata/watched.yaml", "--ui", "127.0.0.1:0", "--progress", "none", "--out", r.dir)
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			_ = r.cmd.Process.Signal(os.Interrupt)
			r.said.Wait()
			_ = r.cmd.Wait() // the test has failed already
		}
	})
	lines := bufio.NewReader(stderr)
	line, err := lines.ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "page on ")
	if err != nil || !ok {
		t.Fatalf("muster run --ui said %q first (%v), want the page's address", line, err)
	}
	r.page = address
	r.said.Go(func() { _, _ = io.Copy(io.Discard, lines) }) // until the run has ended
	return r
}

// ends waits for the run's end and returns its exit status.
func (r *watchedRun) ends(t *testing.T) int {
	t.Helper()
	r.said.Wait()
	err := r.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return r.cmd.ProcessState.ExitCode()
}

// watch opens the run's page and waits until there is something of everything to see.
func (b *browser) watch(t *testing.T, r *watchedRun) {
	t.Helper()
	b.mu.Lock()
	b.url = r.page
	b.mu.Unlock()
	b.do(t, chromedp.Navigate(r.page))
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool](`document.documentElement.dataset.ready === 'true'
		&& /[3-9] of 100/.test(document.getElementById('ledger')?.innerText) && document.querySelector('#generator figure') !== null`))
	if err != nil {
		t.Fatalf("the page has not come so far: %v\n%s", err, value[string](t, b, `document.body.innerText`))
	}
	b.drawn(t)
}

// goesOn waits until the page has made way for the report.
func (b *browser) goesOn(t *testing.T) {
	t.Helper()
	for b.ctx.Err() == nil {
		// A question that the change of pages cuts off is asked again.
		there, err := chromedp.Run(b.ctx, chromedp.Poll[bool](`location.pathname === '/report.html' && document.documentElement.dataset.ready === 'true'`))
		if err == nil && there {
			return
		}
	}
	t.Fatal("the page did not go on to the report")
}

func TestTheLivePageInABrowser(t *testing.T) {
	b := newBrowser(t)
	b.size(t, 1280, 900, "light")
	r := startWatched(t)
	b.watch(t, r)
	b.inked(t, "the first job", 8) // completion, latency, throughput; the ramp; four of the generator
	text := value[string](t, b, `document.body.innerText`)
	for _, want := range []string{"RUNNING", "watched", "of 660", "of 600 so far", "1 page watching", "jobs.lock.total.p99 < 2s"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q but\n%s", want, text)
		}
	}

	// What the reader has chosen outlives the seconds.
	const line = `#jobs [role=tabpanel]:not([hidden]) button[title="Show or hide response p50"]`
	b.do(t, chromedp.Click(chromedp.CSS(`[role=tab]:nth-child(2)`)), chromedp.Click(chromedp.CSS(line)))
	const done = `document.querySelector('#ledger tbody tr:nth-child(2) td:nth-child(3)').innerText`
	before := value[string](t, b, done)
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](done+` !== `+quoted(before))); err != nil {
		t.Fatalf("the page stands still at repetition %s: %v", before, err)
	}
	b.inked(t, "the second job", 8)
	const chosen = `[document.querySelector('[role=tab][aria-selected=true]').innerText, document.querySelector('` + line + `').getAttribute('aria-pressed')].join()`
	if got := value[string](t, b, chosen); got != "dim,false" {
		t.Errorf("a second later the tab and the hidden line are %q, want dim,false", got)
	}
	if n := value[int](t, b, `document.querySelectorAll('img').length + (window.pwned || 0)`); n != 0 {
		t.Error("a condition got into the page as markup")
	}

	b.size(t, 360, 740, "dark")
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](`document.documentElement.scrollWidth <= 360`)); err != nil { // charts follow in their own time
		t.Errorf("the page is %d pixels wide on a screen of 360", value[int](t, b, `document.documentElement.scrollWidth`))
	}
	b.inked(t, "on a phone", 8)

	b.do(t, chromedp.Click(chromedp.CSS(`button.stop`)), chromedp.Click(chromedp.CSS(`button.sure`)))
	b.goesOn(t)
	if text := value[string](t, b, `document.body.innerText`); !strings.Contains(text, "INTERRUPTED") {
		t.Errorf("the report does not say that the run was stopped:\n%s", text)
	}
	b.quiet(t)
	if got := r.ends(t); got != 105 {
		t.Errorf("the run ended with status %d, want 105: interrupted", got)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "report.html")); err != nil {
		t.Error(err)
	}
}

// quoted is a text as a script has it.
func quoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"` }

// Ctrl-C in the terminal ends the page as it ends the run.
func TestTheLivePageAfterAnInterrupt(t *testing.T) {
	b := newBrowser(t)
	b.size(t, 1280, 900, "light")
	r := startWatched(t)
	b.watch(t, r)
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	b.goesOn(t)
	if got := r.ends(t); got != 105 {
		t.Errorf("the run ended with status %d, want 105: interrupted", got)
	}
	b.quiet(t)
}
