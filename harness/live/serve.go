package live

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"muster/report"
)

// policy allows the page what this server serves, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page: below /TOKEN/ if it has a token, else at /.
func (p *Page) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.page)
	mux.HandleFunc("GET /web/{name...}", file)
	mux.HandleFunc("GET /events", p.events)
	mux.HandleFunc("GET /report.html", p.report)
	mux.HandleFunc("POST /stop", p.stopRun)
	sameOrigin := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			w.Header().Set(name, value)
		}
		if p.opts.Token == "" {
			if !isLoopback(r.Host) {
				http.Error(w, "this page is served to loopback names only", http.StatusForbidden)
				return
			}
			sameOrigin.ServeHTTP(w, r)
			return
		}
		first, _, below := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if !below || !same(first, p.opts.Token) {
			http.Error(w, "this takes the whole address that muster printed when the run began", http.StatusForbidden)
			return
		}
		http.StripPrefix("/"+p.opts.Token, sameOrigin).ServeHTTP(w, r)
	})
}

// same compares secrets without telling how much of them is right.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// isLoopback reports whether a Host header names this host to itself. A name
// of the network's that points to loopback is not one.
func isLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	ip, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && ip.IsLoopback()
}

func (p *Page) page(w http.ResponseWriter, r *http.Request) {
	if p.folder() != "" {
		w.Header().Set("Location", "report.html") // relative: http.Redirect knows nothing of a token before it
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	of := report.LivePage{Scenario: p.scenario, Version: p.opts.Version, Transport: p.transport, Stop: p.secret}
	_ = of.Write(w) // who has gone away reads nothing
}

func file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	body, ok := report.LiveFile(name)
	if !ok {
		http.NotFound(w, r)
		return
	}
	kind := map[string]string{".js": "text/javascript", ".css": "text/css"}[path.Ext(name)]
	w.Header().Set("Content-Type", cmp.Or(kind, "text/plain")+"; charset=utf-8")
	_, _ = io.WriteString(w, body)
}

// events streams how the run goes, as server-sent events: "state" once a
// second, and "end" when it is over.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	watcher := p.enter()
	if watcher == nil {
		http.Error(w, "too many pages are watching this run", http.StatusServiceUnavailable)
		return
	}
	slow := false
	defer func() { p.leave(watcher, slow) }()
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	if send(w, control, nil) != nil {
		return // it has gone away
	}
	for {
		last := false
		var frame []byte
		select {
		case <-r.Context().Done():
			return
		case <-p.closed:
			return
		case frame = <-watcher.frames:
		case <-p.over:
			frame, last = p.lastFrame(), true
		}
		if err := send(w, control, frame); err != nil || last {
			slow = errors.Is(err, os.ErrDeadlineExceeded)
			return
		}
	}
}

func send(w io.Writer, control *http.ResponseController, frame []byte) error {
	if err := control.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	if _, err := w.Write(frame); err != nil {
		return err
	}
	return control.Flush()
}

func (p *Page) lastFrame() []byte {
	if p.folder() == "" {
		return []byte("event: end\ndata: {\"report\":false}\n\n")
	}
	return []byte("event: end\ndata: {\"report\":true}\n\n")
}

// report serves report.html once there is one. It brings a policy of its own.
func (p *Page) report(w http.ResponseWriter, r *http.Request) {
	dir := p.folder()
	if dir == "" {
		http.Error(w, "the run has no report yet", http.StatusNotFound)
		return
	}
	http.ServeFile(w, r, filepath.Join(dir, "report.html"))
	p.fetched()
}

// stopRun ends the run as an interrupt does.
func (p *Page) stopRun(w http.ResponseWriter, r *http.Request) {
	if !same(r.Header.Get("X-Muster-Stop"), p.secret) {
		http.Error(w, "only the run's own page may stop it", http.StatusForbidden)
		return
	}
	select {
	case <-p.over:
		http.Error(w, "the run is over", http.StatusConflict)
		return
	default:
	}
	p.stop.Do(p.opts.Stop)
	w.WriteHeader(http.StatusAccepted)
}
