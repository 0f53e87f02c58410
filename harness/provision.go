package harness

import (
	"fmt"
	"net/http"

	"muster/hub"
	"muster/iothub"
)

// provisioner returns the client that seeds the hub with the fleet, and what closes it. On a hub with a tier that is
// not metered: a real hub has its fleet for long when a run begins, and at 100 identities a minute nobody would wait.
func (r *run) provisioner() (*iothub.Client, func(), error) {
	if r.scenario.Target.Embedded.Tier == "" {
		return r.client, func() {}, nil
	}
	below, closeIdle := r.hub.Transport, func() {}
	if below == nil {
		own := &http.Transport{}
		below, closeIdle = own, own.CloseIdleConnections
	}
	client, err := iothub.NewClient(r.hub.ConnectionString, &iothub.ClientOptions{
		BaseURL: r.hub.BaseURL, Transport: provisioning{below}, Logger: r.opts.Logger,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("make the client that registers the fleet: %w", err)
	}
	return client, closeIdle, nil
}

// provisioning marks requests as ones that the embedded hub does not meter.
type provisioning struct{ below http.RoundTripper }

func (p provisioning) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context()) // a RoundTripper must not change its request
	r.Header.Set(hub.ProvisioningHeader, "fleet")
	return p.below.RoundTrip(r)
}
