package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"muster/harness"
	"muster/harness/live"
	"muster/scenarios"
)

// handOver is how long the page of a run that is over waits for browsers to
// take its report.
const handOver = 5 * time.Second

// ui is the page of a run, for --ui. Its zero value is none.
type ui struct {
	page   *live.Page
	server *serving
	stay   bool
	stderr io.Writer
}

// serveUI serves the page of the run of s, if --ui asks for it, and has opts
// tell how the run goes. interrupt ends the run.
func (f *runFlags) serveUI(s *scenarios.Scenario, opts *harness.Options, interrupt func(), stderr io.Writer) (*ui, error) {
	if f.ui == "" {
		if f.uiStay {
			return nil, withStatus(exitUsage, errors.New("--ui-stay: without --ui there is nothing to stay"))
		}
		return &ui{}, nil
	}
	u, token, show := &ui{stay: f.uiStay, stderr: stderr}, "", opts.Observe
	var err error
	u.server, err = serve("--ui", f.ui, "the page", func(addr net.Addr) http.Handler {
		if !isLoopback(addr) {
			token = rand.Text()
		}
		u.page = live.New(s, opts.Live, live.Options{Version: version, Token: token, Stop: interrupt})
		return u.page.Handler()
	})
	if err != nil {
		return nil, err
	}
	opts.Observe = func(p harness.Progress) {
		u.page.Observe(p)
		show(p)
	}
	// The one place where the token is told: whoever has this address may stop the run.
	if token != "" {
		token += "/"
	}
	fmt.Fprintf(stderr, "page on http://%s/%s\n", reachable(u.server.addr), token)
	return u, nil
}

// reachable returns what other hosts may find addr by: of all addresses of
// this host its name.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	name, err := os.Hostname()
	if !ok || !tcp.IP.IsUnspecified() || err != nil {
		return addr.String()
	}
	return net.JoinHostPort(name, strconv.Itoa(tcp.Port))
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// over tells browsers that the run is over. result is nil, or without a
// report, if it has none.
func (u *ui) over(result *harness.Result) {
	if u.page == nil {
		return
	}
	dir := ""
	if result != nil && result.Report != nil {
		dir = result.Dir
	}
	u.page.End(dir)
}

// stop ends the page: when those that were open have the report, or with
// --ui-stay when ctx ends.
func (u *ui) stop(ctx context.Context) error {
	if u.page == nil {
		return nil
	}
	if u.stay && ctx.Err() == nil {
		fmt.Fprintln(u.stderr, "the page stays until Ctrl-C")
		<-ctx.Done()
	} else {
		handing, cancel := context.WithTimeout(context.WithoutCancel(ctx), handOver)
		u.page.Wait(handing)
		cancel()
	}
	u.page.Close()
	return u.server.stop()
}
