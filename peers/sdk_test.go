package peers_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestNodeSDK runs the tests of sdk.test.js in Node.
func TestNodeSDK(t *testing.T) {
	node := needProgram(t, "node")
	needModules(t, "sdk.test.js")
	host, dir := needAddress(t), t.TempDir()
	thumbprint := deviceCertificates(t, dir)
	hub := startHub(t, host, "--device-ca", filepath.Join(dir, "vouchers.pem"))
	// Forced: a device that the SDK has open would keep Node from ending, and a test that failed from being told.
	cmd := hub.command(t, node, "--test", "--test-force-exit", "--test-reporter=spec", "sdk.test.js")
	cmd.Env = append(cmd.Env, "CERTIFICATES="+dir, "THUMBPRINT="+thumbprint)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("node: %v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
}

// deviceOf makes a device's identity and returns its connection string.
func (h *theHub) deviceOf(t *testing.T, id string) string {
	t.Helper()
	return strings.TrimSpace(h.run(t, "muster", "device", "create", id))
}

// TestTutorial has each of the tutorial's two apps, ours and those written with the SDKs, meet the other's.
func TestTutorial(t *testing.T) {
	node := needProgram(t, "node")
	needModules(t, "tutorial-device.js", "tutorial-service.js")
	hub := startHub(t, needAddress(t))
	sdkDevice := func(t *testing.T, id string) *service {
		return hub.start(t, []string{"DEVICE=" + hub.deviceOf(t, id)}, node, "tutorial-device.js")
	}
	musterDevice := func(t *testing.T, id string) *service {
		return hub.start(t, []string{"IOTHUB_DEVICE_CONNECTION_STRING=" + hub.deviceOf(t, id)}, "muster", "device", "--ca", hub.CAFile)
	}
	sdkService := func(t *testing.T, id string) string { return hub.run(t, node, "tutorial-service.js", id) }
	musterService := func(t *testing.T, id string) string {
		return hub.run(t, "muster", "job", "twin", "--device", id, "--desired", `{"building":43,"floor":3}`) +
			hub.run(t, "muster", "job", "method", "lockDoor", "--device", id, "--payload", `{"lockTime":"10m"}`, "--connect-timeout", "60s")
	}
	for _, test := range []struct {
		name    string
		device  func(*testing.T, string) *service
		service func(*testing.T, string) string
	}{
		{"sdk-device-sdk-service", sdkDevice, sdkService},
		{"muster-device-sdk-service", musterDevice, sdkService},
		{"sdk-device-muster-job", sdkDevice, musterService},
	} {
		t.Run(test.name, func(t *testing.T) {
			device := test.device(t, test.name)
			out := test.service(t, test.name)
			for _, want := range []string{test.name, "completed", "lockDoor called successfully"} {
				if !strings.Contains(out, want) {
					t.Errorf("the service printed no %q, but\n%s", want, out)
				}
			}
			device.await(t, `"building":43,"floor":3`, "Locking Door!")
		})
	}
}
