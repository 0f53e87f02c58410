package device_test

import (
	"testing"

	"muster/device"
	"muster/iothub"
)

func TestEndpointOf(t *testing.T) {
	check := func(host, gateway, want string) {
		t.Helper()
		if got := device.EndpointOf(iothub.ConnectionString{HostName: host, GatewayHostName: gateway}).String(); got != want {
			t.Errorf("EndpointOf(%q, gateway %q) = %s, want %s", host, gateway, got, want)
		}
	}
	check("myhub.azure-devices.net", "", "mqtts://myhub.azure-devices.net:8883")
	check("localhost:8884", "", "mqtts://localhost:8884")
	check("myhub.azure-devices.net", "edge.local", "mqtts://edge.local:8883")
	check("myhub.azure-devices.net", "localhost:1883", "mqtts://localhost:1883") // never plain by itself
	check("[::1]", "", "mqtts://[::1]:8883")
}

func TestParseEndpoint(t *testing.T) {
	good := func(s, want string) {
		t.Helper()
		if got, err := device.ParseEndpoint(s); err != nil || got.String() != want {
			t.Errorf("ParseEndpoint(%q) = %v, %v; want %s", s, got, err, want)
		}
	}
	good("127.0.0.1:1883", "mqtt://127.0.0.1:1883")
	good("127.0.0.1:8883", "mqtts://127.0.0.1:8883")
	good("127.0.0.1:40123", "mqtts://127.0.0.1:40123")
	good("localhost", "mqtts://localhost:8883")
	good("mqtt://127.0.0.1:40123", "mqtt://127.0.0.1:40123")
	good("mqtt://hub", "mqtt://hub:1883")
	good("mqtts://hub", "mqtts://hub:8883")
	good("mqtts://hub:1883/", "mqtts://hub:1883")
	good("[::1]:1883", "mqtt://[::1]:1883")
	good("mqtt://::1", "mqtt://[::1]:1883")

	bad := func(s string) {
		t.Helper()
		if got, err := device.ParseEndpoint(s); err == nil {
			t.Errorf("ParseEndpoint(%q) = %v, want an error", s, got)
		}
	}
	bad("")
	bad("mqtt://")
	bad(":1883")
	bad("http://hub")
	bad("wss://hub:443")
	bad("mqtt://user@hub")
	bad("mqtt://hub:1883/path")
	bad("mqtt://hub:")
}

func TestExposed(t *testing.T) {
	check := func(s string, want bool) {
		t.Helper()
		e, err := device.ParseEndpoint(s)
		if err != nil || e.Exposed() != want {
			t.Errorf("ParseEndpoint(%q).Exposed() = %v, %v; want %v", s, e.Exposed(), err, want)
		}
	}
	check("mqtt://127.0.0.1:1883", false)
	check("mqtt://127.0.0.2", false)
	check("mqtt://[::1]", false)
	check("mqtt://LocalHost", false)
	check("mqtts://hub", false)
	check("mqtt://hub", true)
	check("mqtt://10.0.0.1:1883", true)
	check("hub:1883", true)
}
