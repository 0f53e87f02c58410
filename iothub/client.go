package iothub

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ClientOptions tune a Client. Nil and the zero value are good.
type ClientOptions struct {
	// BaseURL is where the REST API is; default https://{HostName}. Its path, if
	// any, goes before every request's. Tokens are for HostName all the same.
	BaseURL string
	// Transport sends the requests; default one of the client's own, tuned for
	// many requests to one host. Close leaves a given one alone.
	Transport http.RoundTripper
	// TLS is the configuration of the client's own transport; default the
	// system's.
	TLS *tls.Config
	// MaxIdleConns is how many unused connections the client's own transport
	// keeps; default 4096. There is one connection per call in flight.
	MaxIdleConns int
	// Timeout is how long one attempt may take; default 30 s. A method call's
	// is longer by its connect and response timeouts.
	Timeout time.Duration
	// Pace is called with the request of each attempt before it is sent. It may
	// wait, until the request's context ends: the attempt's time begins when it
	// returns. Its error ends the call. Default: nothing waits.
	Pace func(*http.Request) error
	// Retry says how long to wait before a retry.
	Retry RetryOptions
	// TokenTTL is how long a SAS token is good; default one hour. It is renewed
	// when four fifths are over.
	TokenTTL time.Duration
	// UserAgent is sent with each request; default "muster".
	UserAgent string
	// Seed makes the waits before retries repeatable; default at random.
	Seed uint64
	// Logger gets a Debug line for each retry; default none.
	Logger *slog.Logger
}

// resolved returns the options with all defaults, but for Transport and
// BaseURL.
func (o *ClientOptions) resolved() ClientOptions {
	var r ClientOptions
	if o != nil {
		r = *o
	}
	if r.MaxIdleConns <= 0 {
		r.MaxIdleConns = 4096
	}
	if r.Timeout <= 0 {
		r.Timeout = 30 * time.Second
	}
	if r.TokenTTL <= 0 {
		r.TokenTTL = time.Hour
	}
	if r.UserAgent == "" {
		r.UserAgent = "muster"
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	r.Retry = r.Retry.resolved()
	return r
}

// Client speaks to a hub's service REST API. It is safe for concurrent use.
type Client struct {
	base        url.URL
	transport   http.RoundTripper
	own         *http.Transport // transport if it is the client's own, else nil
	credentials *credentials
	timeout     time.Duration
	pace        func(*http.Request) error // nil: nothing waits
	retry       RetryOptions
	jitter      *jitter
	logger      *slog.Logger
}

// NewClient returns a client for the hub that a service connection string
// names. It sends nothing. Close it when it is no longer needed.
func NewClient(cs ConnectionString, opts *ClientOptions) (*Client, error) {
	if cs.HostName == "" || cs.SharedAccessKeyName == "" || len(cs.SharedAccessKey) == 0 {
		return nil, errors.New("make hub client: not a service connection string: HostName, SharedAccessKeyName and SharedAccessKey are required")
	}
	o := opts.resolved()
	if o.BaseURL == "" {
		o.BaseURL = "https://" + cs.HostName
	}
	base, err := url.Parse(strings.TrimSuffix(o.BaseURL, "/"))
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") || base.User != nil {
		return nil, fmt.Errorf("make hub client: base URL is not http:// or https:// and a host")
	}
	c := &Client{
		base: *base, transport: o.Transport, timeout: o.Timeout, pace: o.Pace, retry: o.Retry, jitter: newJitter(o.Seed), logger: o.Logger,
		credentials: newCredentials(cs, o),
	}
	if c.transport == nil {
		c.own = newTransport(o)
		c.transport = c.own
	}
	return c, nil
}

// newTransport returns a transport for many requests to one host. A reply is
// never compressed: on loopback that costs more than it saves.
func newTransport(o ClientOptions) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     o.TLS,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: o.MaxIdleConns,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
}

// Close closes the idle connections of the client's own transport. Calls in
// flight are not disturbed.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// String names the hub.
func (c *Client) String() string { return "client of hub " + c.base.Host }

// Format names the hub, whatever the verb.
func (c *Client) Format(f fmt.State, verb rune) { formatMasked(f, verb, c.String()) }
