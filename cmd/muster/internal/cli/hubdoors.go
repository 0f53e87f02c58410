package cli

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"muster/hub"
)

// door is an address that the hub serves.
type door struct {
	serve    func(*hub.Hub, net.Listener) error
	listener net.Listener
}

// openDoors listens on every address that the flags give, or on none, and tells what it has bound.
func openDoors(flags hubFlags, ready *endpoints) ([]door, error) {
	var doors []door
	for _, d := range []struct {
		flag, addr string
		bound      *string
		serve      func(*hub.Hub, net.Listener) error
	}{
		{"--mqtt", flags.mqtt, &ready.MQTT, (*hub.Hub).ServeMQTT},
		{"--mqtts", flags.mqtts, &ready.MQTTS, (*hub.Hub).ServeMQTTS},
		{"--ws", flags.ws, &ready.WS, (*hub.Hub).ServeWebSocket},
		{"--http", flags.http, &ready.HTTP, (*hub.Hub).ServeREST},
		{"--https", flags.https, &ready.HTTPS, (*hub.Hub).ServeRESTS},
	} {
		if d.addr == "" {
			continue
		}
		l, err := net.Listen("tcp", d.addr)
		if err != nil {
			err = fmt.Errorf("%s %s: %w", d.flag, d.addr, err)
			for _, open := range doors {
				err = errors.Join(err, open.listener.Close())
			}
			return nil, err
		}
		*d.bound = l.Addr().String()
		doors = append(doors, door{d.serve, l})
	}
	return doors, nil
}

// openCA returns the CA of the data folder, or nil if nothing needs one.
func (f *hubFlags) openCA() (*hub.CA, error) {
	dir := f.data
	switch {
	case dir != "":
	case f.mqtts == "" && f.ws == "" && f.https == "":
		return nil, nil
	default:
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, withStatus(exitUsage, fmt.Errorf("--data: needed for the CA here: %w", err))
		}
		dir = filepath.Join(cache, "muster", "hub")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("--data %s: %w", f.data, err)
	}
	return hub.OpenCA(dir)
}

// readDeviceCAs reads the certificates of PEM files.
func readDeviceCAs(paths []string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("--device-ca: %w", err)
		}
		before := len(all)
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("--device-ca %s: %w", path, err)
			}
			all = append(all, cert)
		}
		if len(all) == before {
			return nil, fmt.Errorf("--device-ca %s: no certificate in it", path)
		}
	}
	return all, nil
}
