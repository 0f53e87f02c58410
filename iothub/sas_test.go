package iothub_test

import (
	"testing"
	"time"

	"muster/iothub"
)

const vectorKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func mustKey(t testing.TB, s string) iothub.Key {
	t.Helper()
	key, err := iothub.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestTokensMatchTheServicesVectors(t *testing.T) {
	key, expiry := mustKey(t, vectorKey), time.Unix(1700000000, 0)
	try := func(resource, policy, want string) {
		t.Helper()
		if got := iothub.NewToken(resource, key, policy, expiry); got != want {
			t.Errorf("NewToken(%q, key, %q, %v)\n got %s\nwant %s", resource, policy, expiry.Unix(), got, want)
		}
		token, err := iothub.ParseToken(want)
		if err != nil {
			t.Fatalf("ParseToken: %v", err)
		}
		if !token.SignedBy(key) || token.Resource != resource || token.Policy != policy || !token.Expiry.Equal(expiry) {
			t.Errorf("ParseToken(%q) = %v, signed %v", want, token, token.SignedBy(key))
		}
	}
	try("myhub.azure-devices.net/devices/dev1", "", "SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdev1&sig=wosmA3uJK9T0mdB5CIYn%2BsAVA2ODflnucuvNO5S6mbM%3D&se=1700000000")
	try("myhub.azure-devices.net", "iothubowner", "SharedAccessSignature sr=myhub.azure-devices.net&sig=sJAIZTF5oG40VHrie96heZ865%2BnR4QavBvHnzxZm8rk%3D&skn=iothubowner&se=1700000000")
}
