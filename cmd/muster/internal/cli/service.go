package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/pflag"

	"muster/iothub"
)

// serviceVariable names the service connection string, as the samples of
// Azure IoT Hub do.
const serviceVariable = "IOTHUB_CONNECTION_STRING"

// patience is how long a command repeats a request that fails in passing.
const patience = 30 * time.Second

// serviceFlags say which hub a command speaks to.
type serviceFlags struct{ hub, url, ca string }

func (s *serviceFlags) register(f *pflag.FlagSet) {
	f.StringVar(&s.hub, "hub", "", "service connection string, a secret (default $"+serviceVariable+")")
	f.StringVar(&s.url, "url", "", "where the hub's REST side is (default https:// and the HostName)")
	f.StringVar(&s.ca, "ca", "", "PEM file of the authorities to trust, in place of the system's")
}

// client returns a client of the hub, and the hub's name.
func (s *serviceFlags) client() (client *iothub.Client, host string, err error) {
	cs, err := connectionString("--hub", s.hub, serviceVariable)
	if err != nil {
		return nil, "", err
	}
	config, err := tlsConfig(s.ca, "", "")
	if err != nil {
		return nil, "", err
	}
	client, err = iothub.NewClient(cs, &iothub.ClientOptions{
		BaseURL: s.url, TLS: config, UserAgent: "muster/" + version, Retry: iothub.RetryOptions{For: patience},
	})
	if err != nil {
		return nil, "", withStatus(exitUsage, err)
	}
	return client, cs.HostName, nil
}

// connectionString reads a connection string from a flag or else a variable.
// It is quoted in no error.
func connectionString(flag, value, variable string) (iothub.ConnectionString, error) {
	from := flag
	if value == "" {
		value, from = os.Getenv(variable), variable
	}
	if value == "" {
		return iothub.ConnectionString{}, withStatus(exitUsage, fmt.Errorf("no connection string: set %s, or give %s", variable, flag))
	}
	cs, err := iothub.ParseConnectionString(strings.TrimSpace(value))
	if err != nil {
		return cs, withStatus(exitUsage, fmt.Errorf("%s: %w", from, err))
	}
	return cs, nil
}

// tlsConfig returns a configuration that trusts the authorities of a file, if
// one is named, and shows a certificate, if one is.
func tlsConfig(ca, cert, key string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, withStatus(exitUsage, fmt.Errorf("--ca: %w", err))
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, withStatus(exitUsage, fmt.Errorf("--ca %s: holds no certificate", ca))
		}
	}
	if (cert == "") != (key == "") {
		return nil, withStatus(exitUsage, errors.New("--cert and --key: give both or neither"))
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, withStatus(exitUsage, fmt.Errorf("--cert: %w", err))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// printable makes what came over the network fit for one line of a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
