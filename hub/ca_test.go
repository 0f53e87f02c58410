package hub_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"muster/hub"
)

func openCA(t testing.TB, dir string) *hub.CA {
	t.Helper()
	ca, err := hub.OpenCA(dir)
	if err != nil {
		t.Fatalf("OpenCA: %v", err)
	}
	return ca
}

func TestOpenCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	ca := openCA(t, dir)
	modes := func() (found []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, info.Mode().String()+" "+e.Name())
		}
		return found
	}
	want := []string{"-rw------- ca-key.pem", "-rw-r--r-- ca.pem"}
	if got := modes(); !slices.Equal(got, want) {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v (%v), want its owner's", info.Mode(), err)
	}
	text, err := os.ReadFile(ca.File())
	if err != nil || !bytes.Equal(text, ca.PEM()) || strings.Contains(string(text), "PRIVATE") {
		t.Errorf("%s holds %s (%v), want the certificate", ca.File(), text, err)
	}
	if err := os.WriteFile(ca.File(), []byte("lost"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again := openCA(t, dir); !bytes.Equal(again.PEM(), ca.PEM()) {
		t.Error("the second call returns another CA")
	}
	if text, err := os.ReadFile(ca.File()); err != nil || !bytes.Equal(text, ca.PEM()) {
		t.Errorf("the damaged certificate was left: %s (%v)", text, err)
	}
}

func TestOpenCAAtOnce(t *testing.T) {
	dir := t.TempDir()
	var opening sync.WaitGroup
	cas := make([]*hub.CA, 16)
	for i := range cas {
		opening.Go(func() { cas[i], _ = hub.OpenCA(dir) })
	}
	opening.Wait()
	for i, ca := range cas {
		if ca == nil || !bytes.Equal(ca.PEM(), cas[0].PEM()) {
			t.Fatalf("call %d returned another CA", i)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("the folder holds %v", left)
	}
}

func TestOpenCADamaged(t *testing.T) {
	good, other := t.TempDir(), t.TempDir()
	openCA(t, good)
	openCA(t, other)
	key, err := os.ReadFile(filepath.Join(good, "ca-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(filepath.Join(other, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	tests := func(name, text, want string) {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "ca-key.pem"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := hub.OpenCA(dir)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	private, _, _ := strings.Cut(string(key), "-----BEGIN CERTIFICATE")
	tests("empty", "", "not a key on P-256 and its certificate")
	tests("no certificate", private, "not a key on P-256 and its certificate")
	tests("another's certificate", private+string(cert), "do not belong together")
	tests("not DER", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "x509:")
	if _, err := hub.OpenCA(filepath.Join(good, "ca.pem")); err == nil {
		t.Error("a file as folder is accepted")
	}
}
