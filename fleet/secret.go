package fleet

import (
	"encoding/base64"
	"fmt"

	"muster/iothub"
)

// LeastSecret is how many bytes a fleet's secret has at least: what makes the
// keys of real devices must not be guessed.
const LeastSecret = 16

// CheckSecret says what is wrong with a fleet's secret, if anything is.
func CheckSecret(secret iothub.Secret) error {
	switch n := len(secret); {
	case n == 0:
		return fmt.Errorf("the fleet's secret is missing")
	case n < LeastSecret:
		return fmt.Errorf("the fleet's secret has %d bytes, it needs at least %d", n, LeastSecret)
	}
	return nil
}

// SecretKey is the key of a device on a hub that is not of one's own. Only who
// knows the fleet's secret knows it.
func SecretKey(secret iothub.Secret, id string) iothub.Key {
	key := iothub.Key(secret.Reveal()).Sign([]byte(id))
	return key[:]
}

// Mark is a text by which who knows the fleet's secret recognises a device
// that was made with it. It says nothing of the key: no id has a blank in it,
// so that none is what the mark is made of.
func Mark(secret iothub.Secret, id string) string {
	return base64.RawURLEncoding.EncodeToString(SecretKey(secret, "muster mark "+id)[:18])
}
