package hub_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// certified makes a certificate, of parent or of itself.
func certified(t testing.TB, name string, parent *tls.Certificate, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
	}
	change(template)
	by, signer := template, any(key)
	if parent != nil {
		by, signer = parent.Leaf, parent.PrivateKey
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

func asIs(*x509.Certificate)      {}
func asCA(cert *x509.Certificate) { cert.IsCA = true }

// connectWith connects a device without a password over TLS, showing certificates.
func connectWith(t testing.TB, s *hubtest.Server, id string, shown ...*tls.Certificate) byte {
	t.Helper()
	config := s.TLS(t)
	if len(shown) > 0 {
		chain := *shown[0]
		for _, cert := range shown[1:] {
			chain.Certificate = append(chain.Certificate[:1:1], cert.Certificate...)
		}
		config.Certificates = []tls.Certificate{chain}
	}
	b := bareOn(t, tls.Client(dialRaw(t, s.MQTTS), config))
	return b.connect(credentials{clientID: id, username: iothub.Username("localhost", id)}, true, 0)
}

func selfSigned(first, second string) string {
	return fmt.Sprintf(`{"authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":%q,"secondaryThumbprint":%q}}}`, first, second)
}

func TestThumbprints(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		one, two, three := certified(t, "any", nil, asIs), certified(t, "any", nil, asIs), certified(t, "any", nil, asIs)
		late := certified(t, "any", nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })
		early := certified(t, "any", nil, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
		short := func(c *tls.Certificate) string { sum := sha1.Sum(c.Leaf.Raw); return hex.EncodeToString(sum[:]) }
		long := func(c *tls.Certificate) string {
			sum := sha256.Sum256(c.Leaf.Raw)
			return strings.ToUpper(hex.EncodeToString(sum[:]))
		}
		ok[iothub.Device](t, s, "PUT /devices/dev1", selfSigned(short(one), long(two)))
		ok[iothub.Module](t, s, "PUT /devices/dev1/modules/mod1", selfSigned(long(three), ""))
		ok[iothub.Device](t, s, "PUT /devices/late", selfSigned(short(late), ""))
		ok[iothub.Device](t, s, "PUT /devices/early", selfSigned("", long(early)))
		register(t, s, "sas")
		tests := func(name, id string, want byte, shown ...*tls.Certificate) {
			t.Helper()
			if got := connectWith(t, s, id, shown...); got != want {
				t.Errorf("%s: CONNACK %d, want %d", name, got, want)
			}
		}
		const no = mqtt.RefusedNotAuthorized
		tests("primary, SHA-1", "dev1", mqtt.Accepted, one)
		tests("secondary, SHA-256", "dev1", mqtt.Accepted, two)
		tests("another certificate", "dev1", no, three)
		tests("a module", "dev1/mod1", mqtt.Accepted, three)
		tests("a module, its device's", "dev1/mod1", no, one)
		tests("a good one second", "dev1", no, three, one)
		tests("none", "dev1", no)
		tests("expired", "late", no, late)
		tests("not yet", "early", no, early)
		tests("a device with keys", "sas", no, one)
		tests("unknown device", "nobody", no, one)
		if got := dial(t, s).connect(credentials{clientID: "dev1", username: "localhost/dev1"}, true, 0); got != no {
			t.Errorf("without TLS: CONNACK %d", got)
		}
		rest(t, s, "PUT /devices/dev1", `{"status":"disabled"}`, "If-Match", "*")
		tests("disabled", "dev1", no, one)
		rest(t, s, "PUT /devices/dev1", `{"status":"enabled"}`, "If-Match", "*")
		tests("enabled again", "dev1", mqtt.Accepted, one)
		for _, key := range []iothub.Key{nil, key("dev1")} {
			c := valid(s, "dev1")
			c.password = iothub.NewToken("localhost/devices/dev1", key, "", time.Now().Add(time.Hour))
			if got := dialTLS(t, s).connect(c, true, 0); got != no {
				t.Errorf("token of a device without keys: CONNACK %d", got)
			}
		}
		c := valid(s, "dev1")
		device, _ := s.PolicyConnectionString("device")
		c.password = iothub.NewToken("localhost", device.SharedAccessKey, "device", time.Now().Add(time.Hour))
		if got := dialTLS(t, s).connect(c, true, 0); got != mqtt.Accepted {
			t.Errorf("policy device: CONNACK %d", got)
		}
	})
}

func TestCertificateAuthorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, stranger := certified(t, "root", nil, asCA), certified(t, "root", nil, asCA)
		between := certified(t, "between", root, asCA)
		s := hubtest.Start(t, &hub.Options{DeviceCAs: []*x509.Certificate{root.Leaf}})
		ok[iothub.Device](t, s, "PUT /devices/dev1", `{"authentication":{"type":"certificateAuthority"}}`)
		ok[iothub.Device](t, s, "PUT /devices/dev2", `{"authentication":{"type":"CertificateAuthority"}}`)
		tests := func(name, id string, want byte, shown ...*tls.Certificate) {
			t.Helper()
			if got := connectWith(t, s, id, shown...); got != want {
				t.Errorf("%s: CONNACK %d, want %d", name, got, want)
			}
		}
		const no = mqtt.RefusedNotAuthorized
		dev1 := certified(t, "dev1", root, asIs)
		tests("its own", "dev1", mqtt.Accepted, dev1)
		tests("another's", "dev2", no, dev1)
		tests("through an intermediate", "dev1", mqtt.Accepted, certified(t, "dev1", between, asIs), between)
		tests("without the intermediate", "dev1", no, certified(t, "dev1", between, asIs))
		tests("signed by itself", "dev1", no, certified(t, "dev1", nil, asIs))
		tests("another CA of that name", "dev1", no, certified(t, "dev1", stranger, asIs))
		tests("another CA, shown", "dev1", no, certified(t, "dev1", stranger, asIs), stranger)
		tests("signed by a device", "dev1", no, certified(t, "dev1", dev1, asIs), dev1)
		tests("for servers", "dev1", no, certified(t, "dev1", root, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}))
		tests("in capitals", "dev1", no, certified(t, "DEV1", root, asIs))
		tests("expired", "dev1", no, certified(t, "dev1", root, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }))
		tests("none", "dev1", no)

		ok[iothub.Module](t, s, "PUT /devices/dev1/modules/mod1", `{"authentication":{"type":"certificateAuthority"}}`)
		ok[iothub.Module](t, s, "PUT /devices/dev1/modules/mod2", `{"authentication":{"type":"certificateAuthority"}}`)
		mod1 := certified(t, "dev1/mod1", root, asIs)
		tests("a module's", "dev1/mod1", mqtt.Accepted, mod1)
		tests("a module's, for another", "dev1/mod2", no, mod1)
		tests("a module's, for its device", "dev1", no, mod1)
		tests("its device's, for a module", "dev1/mod1", no, dev1)
		tests("a module's without its device", "dev1/mod1", no, certified(t, "mod1", root, asIs))
		other := hubtest.Start(t, nil)
		ok[iothub.Device](t, other, "PUT /devices/dev1", `{"authentication":{"type":"certificateAuthority"}}`)
		if got := connectWith(t, other, "dev1", dev1); got != no {
			t.Errorf("a hub without CAs for devices: CONNACK %d", got)
		}
	})
}

// Without a token nothing expires: a device with a certificate stays as long as it pings.
func TestCertificateStays(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		cert := certified(t, "dev1", nil, asIs)
		sum := sha256.Sum256(cert.Leaf.Raw)
		ok[iothub.Device](t, s, "PUT /devices/dev1", selfSigned(hex.EncodeToString(sum[:]), ""))
		config := s.TLS(t)
		config.Certificates = []tls.Certificate{*cert}
		b := bareOn(t, tls.Client(dialRaw(t, s.MQTTS), config))
		b.connect(credentials{clientID: "dev1", username: "localhost/dev1"}, true, 600)
		for range 20 {
			time.Sleep(10 * time.Minute)
			b.alive()
		}
		if got := b.closed(); got != 15*time.Minute {
			t.Errorf("quiet for %s, want 15m", got)
		}
	})
}

func TestAuthenticationTypes(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		print1, print2 := strings.Repeat("ab", 20), strings.Repeat("CD", 32)
		shows := func(name string, d iothub.Device, auth, first, second string, keys bool) {
			t.Helper()
			a := d.Authentication
			text := func(p *string) string {
				if p == nil {
					return ""
				}
				return *p
			}
			hasKeys := len(a.SymmetricKey.Primary) > 0 && len(a.SymmetricKey.Secondary) > 0
			if a.Type != auth || text(a.X509Thumbprint.Primary) != first || text(a.X509Thumbprint.Secondary) != second || hasKeys != keys {
				t.Errorf("%s: got %s %q %q, keys %t", name, a.Type, text(a.X509Thumbprint.Primary), text(a.X509Thumbprint.Secondary), hasKeys)
			}
			q := query[iothub.Twin](t, s, `SELECT * FROM devices WHERE authenticationType = '`+auth+`'`, 10)
			if len(q) != 1 || q[0].AuthenticationType != auth || text(q[0].X509Thumbprint.Primary) != first {
				t.Errorf("%s: the query found %+v", name, q)
			}
		}
		put := func(body string) iothub.Device {
			t.Helper()
			return ok[iothub.Device](t, s, "PUT /devices/dev1", body, "If-Match", "*")
		}
		shows("made", ok[iothub.Device](t, s, "PUT /devices/dev1", `{}`), "sas", "", "", true)
		shows("thumbprint without type", put(`{"authentication":{"x509Thumbprint":{"primaryThumbprint":"`+print1+`"}}}`), "selfSigned", print1, "", false)
		shows("second added", put(`{"authentication":{"type":"SELFSIGNED","x509Thumbprint":{"secondaryThumbprint":"`+print2+`"}}}`), "selfSigned", print1, print2, false)
		shows("nothing said", put(`{"status":"enabled"}`), "selfSigned", print1, print2, false)
		shows("first taken back", put(selfSigned("", print2)), "selfSigned", "", print2, false)
		shows("authority", put(`{"authentication":{"type":"certificateAuthority"}}`), "certificateAuthority", "", "", false)
		shows("keys again", put(`{"authentication":{"type":"sas"}}`), "sas", "", "", true)
		put(selfSigned(print1, ""))
		shows("keys given", put(`{"authentication":{"symmetricKey":{"primaryKey":"AAAA"}}}`), "sas", "", "", true)

		refused(t, "no thumbprint", rest(t, s, "PUT /devices/new", `{"authentication":{"type":"selfSigned"}}`), iothub.CodeArgumentInvalid)
		refused(t, "short thumbprint", rest(t, s, "PUT /devices/new", selfSigned("abcd", "")), iothub.CodeArgumentInvalid)
		refused(t, "no hexadecimal", rest(t, s, "PUT /devices/new", selfSigned(strings.Repeat("xy", 20), "")), iothub.CodeArgumentInvalid)
		refused(t, "none", rest(t, s, "PUT /devices/new", `{"authentication":{"type":"none"}}`), iothub.CodeGenericBadRequest)
		refused(t, "nothing was made", rest(t, s, "GET /devices/new", ""), iothub.CodeDeviceNotFound)
		bulk := `[{"id":"b","importMode":"create","authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"` + print2 + `"}}}]`
		ok[iothub.BulkResult](t, s, "POST /devices", bulk)
		if d := ok[iothub.Device](t, s, "GET /devices/b", ""); d.Authentication.Type != "selfSigned" {
			t.Errorf("bulk: %s", d.Authentication.Type)
		}
	})
}
