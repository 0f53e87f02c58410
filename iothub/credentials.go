package iothub

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// headers are those of a request, ready to be sent. They are shared between
// requests and never written to.
type headers struct {
	plain, plainAny http.Header // without a body; with If-Match "*"
	body, bodyAny   http.Header // with a JSON body; with If-Match "*"
	renewAt         time.Time
}

// credentials keep a service's SAS token and sign a new one when four fifths
// of its life are over.
type credentials struct {
	// token is a closure so that nothing that prints a Client reaches the key.
	token   func(expiry time.Time) string
	ttl     time.Duration
	agent   string
	current atomic.Pointer[headers]
	signing sync.Mutex // held by whoever signs a new token
}

func newCredentials(cs ConnectionString, o ClientOptions) *credentials {
	token := func(expiry time.Time) string {
		return NewToken(cs.HostName, cs.SharedAccessKey, cs.SharedAccessKeyName, expiry)
	}
	return &credentials{token: token, ttl: o.TokenTTL, agent: o.UserAgent}
}

// headers returns headers whose token is good for a fifth of its life at least.
func (c *credentials) headers() *headers {
	now := time.Now()
	if h := c.current.Load(); h != nil && now.Before(h.renewAt) {
		return h
	}
	c.signing.Lock()
	defer c.signing.Unlock()
	if h := c.current.Load(); h != nil && now.Before(h.renewAt) {
		return h
	}
	h := c.sign(now)
	c.current.Store(h)
	return h
}

func (c *credentials) sign(now time.Time) *headers {
	plain := http.Header{"Authorization": {c.token(now.Add(c.ttl))}, "User-Agent": {c.agent}, "Accept": {"application/json"}}
	body := plain.Clone()
	body.Set("Content-Type", "application/json; charset=utf-8")
	h := &headers{plain: plain, body: body, renewAt: now.Add(c.ttl / 5 * 4)}
	h.plainAny, h.bodyAny = withIfMatch(plain, "*"), withIfMatch(body, "*")
	return h
}

func withIfMatch(h http.Header, etag string) http.Header {
	h = h.Clone()
	h.Set("If-Match", `"`+etag+`"`)
	return h
}

// of returns the headers of a call.
func (h *headers) of(k *call) http.Header {
	plain, any := h.plain, h.plainAny
	if k.body != nil {
		plain, any = h.body, h.bodyAny
	}
	header := plain
	switch k.ifMatch {
	case "":
	case "*":
		header = any
	default:
		header = withIfMatch(plain, k.ifMatch)
	}
	if len(k.header) == 0 {
		return header
	}
	header = header.Clone()
	for name, values := range k.header {
		header[name] = values
	}
	return header
}
