package hub

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	caName    = "muster hub root"
	caFile    = "ca.pem"     // the certificate, for clients
	caKeyFile = "ca-key.pem" // the key with its certificate: what counts

	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 365 * 24 * time.Hour
	clockSkew    = time.Hour // how far behind a client's clock may be
)

// CA is a certificate authority: what a hub's TLS clients have to trust. It is safe for concurrent use.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

// NewCA returns a new certificate authority with a key on P-256, held in memory alone.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the CA's key: %w", err)
	}
	now := time.Now()
	cert, err := sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: caName},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}, nil, key, key)
	if err != nil {
		return nil, fmt.Errorf("make the CA: %w", err)
	}
	return &CA{cert: cert, key: key}, nil
}

// OpenCA returns the certificate authority that is kept in a folder. The first call makes both; the folder and the
// key's file are for their owner only. Processes that open one folder at the same time get the same authority.
func OpenCA(dir string) (*CA, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	path := filepath.Join(dir, caKeyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = createCA(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	ca, err := parseCA(text)
	if err != nil {
		return nil, fmt.Errorf("open the CA %s: %w; without the file a new one is made", path, err)
	}
	ca.file = filepath.Join(dir, caFile)
	if old, err := os.ReadFile(ca.file); err != nil || !bytes.Equal(old, ca.PEM()) {
		if err := replaceFile(ca.file, ca.PEM(), 0o644, os.Rename); err != nil {
			return nil, fmt.Errorf("open the CA: %w", err)
		}
	}
	return ca, nil
}

// createCA writes a new authority to path and returns the file's text: somebody else's if he was faster.
func createCA(path string) ([]byte, error) {
	ca, err := NewCA()
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), ca.PEM()...)
	if err := replaceFile(path, text, 0o600, os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}

// replaceFile writes a file beside path and puts it there by place: whole or not at all.
func replaceFile(path string, text []byte, mode fs.FileMode, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // for its owner only
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already if it was renamed
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return place(f.Name(), path)
}

// parseCA reads what createCA wrote.
func parseCA(text []byte) (*CA, error) {
	var ca CA
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			var key any
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
			ca.key, _ = key.(*ecdsa.PrivateKey)
		case "CERTIFICATE":
			ca.cert, err = x509.ParseCertificate(block.Bytes)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case ca.key == nil || ca.cert == nil:
		return nil, errors.New("not a key on P-256 and its certificate")
	case !ca.key.PublicKey.Equal(ca.cert.PublicKey):
		return nil, errors.New("key and certificate do not belong together")
	case !time.Now().Before(ca.cert.NotAfter):
		return nil, errors.New("the certificate has expired")
	}
	return &ca, nil
}

// PEM returns the certificate, without the key.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

// File returns the file that holds the certificate, for clients; none if the authority is in memory alone.
func (ca *CA) File() string { return ca.file }

// Issue returns a new certificate, valid for a year, of a server with these names and addresses.
func (ca *CA) Issue(names ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a server's key: %w", err)
	}
	now := time.Now()
	leaf := &x509.Certificate{
		NotBefore:   now.Add(-clockSkew),
		NotAfter:    now.Add(leafLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else if !slices.Contains(leaf.DNSNames, name) {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	cert, err := sign(leaf, ca.cert, key, ca.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issue a certificate for %q: %w", names, err)
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// sign makes a certificate of a template, with a random serial number. Without a parent it signs itself.
func sign(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	if parent == nil {
		parent = template
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(raw)
}
