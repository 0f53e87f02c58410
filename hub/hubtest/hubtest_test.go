package hubtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/iothub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// use makes one request over the client.
func use(t *testing.T) {
	t.Helper()
	s := hubtest.Start(t, &hub.Options{HostName: "myhub.azure-devices.net"})
	if _, err := s.Client().CreateDevice(t.Context(), iothub.Device{DeviceID: "dev1"}); err != nil {
		t.Errorf("create a device: %v", err)
	}
	resp, err := s.HTTPClient().Get(s.URL() + "/devices")
	if err != nil {
		t.Fatalf("plain request: %v", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("plain request: %s", resp.Status)
	}
}

func TestStart(t *testing.T) { use(t) }

func TestStartInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		use(t)
		if d := time.Since(start); d != 0 {
			t.Errorf("took %s of the bubble's time", d)
		}
	})
}
