package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"muster/iothub"
)

// maxOwnAnswer bounds, in bytes, an answer of the hub's own endpoints.
const maxOwnAnswer = 1 << 20

// own sends a request to one of the embedded hub's own endpoints, below
// /muster/, and reads its answer into an object. A real hub has none of them.
func (h *Hub) own(ctx context.Context, transport http.RoundTripper, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, h.BaseURL+"/muster/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	cs := h.ConnectionString
	req.Header.Set("Authorization", iothub.NewToken(cs.HostName, cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(time.Hour)))
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxOwnAnswer))
	switch {
	case err != nil:
		return fmt.Errorf("%s /muster/%s: %w", method, path, err)
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s /muster/%s: %w", method, path, iothub.ParseError(resp.StatusCode, resp.Header, answer))
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s /muster/%s: %w", method, path, err)
	}
	return nil
}

// transport returns what reaches the hub's REST side.
func (h *Hub) transport() http.RoundTripper {
	if h.Transport == nil {
		return http.DefaultTransport
	}
	return h.Transport
}
