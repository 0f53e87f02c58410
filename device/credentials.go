package device

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"muster/fleet"
	"muster/iothub"
)

// ErrTokenExpired is why a device stops that has a token in place of a key,
// which it cannot renew.
var ErrTokenExpired = errors.New("the SAS token of the connection string has expired")

// credentials returns the password for an attempt, and when it is to be
// renewed; the zero time is never. With a certificate there is none.
func (d *Device) credentials(now time.Time) (password string, renewAt time.Time, err error) {
	cs := &d.cs
	switch {
	case len(cs.SharedAccessKey) > 0:
		life := d.opts.TokenLifetime
		resource := iothub.DeviceResource(cs.HostName, cs.DeviceID)
		return iothub.NewToken(resource, cs.SharedAccessKey, cs.SharedAccessKeyName, now.Add(life)), now.Add(life / 5 * 4), nil
	case cs.SharedAccessSignature != "":
		token, err := iothub.ParseToken(cs.SharedAccessSignature.Reveal())
		if err == nil && !token.Expiry.After(now) {
			err = ErrTokenExpired
		}
		return cs.SharedAccessSignature.Reveal(), time.Time{}, err
	}
	return "", time.Time{}, nil
}

// hopeless reports whether another attempt will fare as this one did, as far as
// can be told: the hub does not know the device or its key, there is no such
// host, or its certificate is not trusted.
func hopeless(err error) bool {
	if refused, ok := errors.AsType[*fleet.RefusedError](err); ok {
		return refused.Code != 3 // server unavailable
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return true
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return untrusted
}
