package hub

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net"
	"strings"
	"time"

	"muster/internal/socket"
	"muster/iothub"
)

// authenticateBy takes what a client asks for: its type, or the one that what it gives implies, or the identity's own,
// or SAS. What it does not give stays; missing keys are made.
func (id *identity) authenticateBy(a *iothub.Authentication) *iothub.Error {
	if a == nil {
		a = &iothub.Authentication{}
	}
	auth, ok := authenticationType(a, id.auth)
	if !ok {
		return errUnsupported("Authentication of type " + a.Type)
	}
	id.auth = auth
	if auth == iothub.AuthenticationSAS {
		id.certificates = nil
		takeKey(&id.primary, a.SymmetricKey.Primary)
		takeKey(&id.secondary, a.SymmetricKey.Secondary)
		return nil
	}
	id.primary, id.secondary = nil, nil
	if auth == iothub.AuthenticationCA {
		id.certificates = nil
		return nil
	}
	thumbprints := id.thumbprints()
	for i, given := range []*string{a.X509Thumbprint.Primary, a.X509Thumbprint.Secondary} {
		if given == nil {
			continue
		}
		if *given != "" && !isThumbprint(*given) {
			return errArgument("A thumbprint must be the SHA-1 or SHA-256 of a certificate in hexadecimal.")
		}
		thumbprints[i] = *given
	}
	if id.setThumbprints(thumbprints); id.certificates == nil {
		return errArgument("Authentication of type selfSigned needs a thumbprint.")
	}
	return nil
}

// authenticationType returns the type that a client asks for, as the service spells it.
func authenticationType(a *iothub.Authentication, old string) (string, bool) {
	if a.Type == "" {
		switch {
		case a.X509Thumbprint.Primary != nil || a.X509Thumbprint.Secondary != nil:
			return iothub.AuthenticationSelfSigned, true
		case old == "" || len(a.SymmetricKey.Primary) > 0 || len(a.SymmetricKey.Secondary) > 0:
			return iothub.AuthenticationSAS, true
		}
		return old, true
	}
	for _, known := range []string{iothub.AuthenticationSAS, iothub.AuthenticationSelfSigned, iothub.AuthenticationCA} {
		if strings.EqualFold(a.Type, known) {
			return known, true
		}
	}
	return "", false
}

// takeKey replaces a key by a given one, or, if there is neither, by a random one.
func takeKey(key *iothub.Key, given iothub.Key) {
	if len(given) > 0 {
		*key = given
	} else if len(*key) == 0 {
		*key = newKey()
	}
}

// isThumbprint says whether a text is as long as a digest that the service knows.
func isThumbprint(text string) bool {
	b, err := hex.DecodeString(text)
	return err == nil && (len(b) == sha1.Size || len(b) == sha256.Size)
}

// authentication returns what the identity shows of its proof.
func (id *identity) authentication() *iothub.Authentication {
	a := &iothub.Authentication{
		SymmetricKey: iothub.SymmetricKey{Primary: id.primary, Secondary: id.secondary},
		Type:         id.auth,
	}
	for i, shown := range []**string{&a.X509Thumbprint.Primary, &a.X509Thumbprint.Secondary} {
		if t := id.thumbprints()[i]; t != "" {
			*shown = new(t)
		}
	}
	return a
}

// appendThumbprint appends a thumbprint as JSON; none is null.
func appendThumbprint(dst []byte, thumbprint string) []byte {
	if thumbprint == "" {
		return append(dst, "null"...)
	}
	return append(append(append(dst, '"'), thumbprint...), '"') // hexadecimal has nothing to escape
}

// checkCertificate returns why the certificate that a peer showed does not prove to be this device, or nothing. That the
// peer has the certificate's key was proved by the TLS handshake.
func (h *Hub) checkCertificate(d *device, peer net.Conn, now time.Time) string {
	t, ok := peer.(socket.Secure)
	if !ok {
		return "no password"
	}
	shown := t.ConnectionState().PeerCertificates
	if len(shown) == 0 {
		return "neither password nor certificate"
	}
	d.mu.Lock()
	disabled, auth, thumbprints := d.identity.disabled, d.identity.auth, d.identity.thumbprints()
	d.mu.Unlock()
	leaf := shown[0]
	switch {
	case disabled:
		return "device disabled"
	case now.Before(leaf.NotBefore) || now.After(leaf.NotAfter):
		return "certificate not valid at this time"
	case auth == iothub.AuthenticationSelfSigned:
		return checkThumbprint(leaf, thumbprints)
	case auth == iothub.AuthenticationCA:
		return h.checkChain(shown, d.id, now)
	}
	return "certificate of a device that has keys"
}

// checkThumbprint returns why a certificate is none of the device's own, or nothing.
func checkThumbprint(leaf *x509.Certificate, thumbprints [2]string) string {
	short, long := sha1.Sum(leaf.Raw), sha256.Sum256(leaf.Raw)
	for _, want := range thumbprints {
		if strings.EqualFold(want, hex.EncodeToString(short[:])) || strings.EqualFold(want, hex.EncodeToString(long[:])) {
			return ""
		}
	}
	return "certificate with another thumbprint"
}

// checkChain returns why a chain of certificates does not lead from the device to a CA that vouches for devices, or
// nothing.
func (h *Hub) checkChain(shown []*x509.Certificate, id string, now time.Time) string {
	if shown[0].Subject.CommonName != id {
		return "certificate with another common name"
	}
	between := x509.NewCertPool()
	for _, cert := range shown[1:] {
		between.AddCert(cert)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{
		Roots: h.vouchers, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return "certificate of an unknown CA: " + err.Error()
	}
	return ""
}
