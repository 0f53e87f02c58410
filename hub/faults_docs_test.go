package hub_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/hub"
)

// What docs/hub.md shows of faults is what a shell, curl and openssl get.
func TestFaultDocs(t *testing.T) {
	for _, tool := range []string{"sh", "curl", "openssl", "od"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here", tool)
		}
	}
	page, err := os.ReadFile("../docs/hub.md")
	if err != nil {
		t.Fatal(err)
	}
	var script, want string
	for _, f := range fences(string(page)) {
		switch {
		case f.kind == "sh" && strings.Contains(f.text, "/muster/faults"):
			script = f.text
		case f.kind == "text" && script != "" && want == "":
			want = f.text
		}
	}
	if script == "" || want == "" {
		t.Fatal("docs/hub.md shows no request to /muster/faults and no answer")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(nil)
	var serving sync.WaitGroup
	serving.Go(func() { _ = h.ServeREST(l) })
	defer serving.Wait()
	defer h.Close()
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", script)
	cmd.Env = append(os.Environ(), "HUB=http://"+l.Addr().String(), "KEY="+h.ConnectionString().SharedAccessKey.Base64(), "no_proxy=*")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	last := out[bytes.LastIndex(out, []byte(`{"id"`)):]
	timeless := func(text string) map[string]any {
		doc := decoded[map[string]any](t, text)
		delete(doc, "begun")
		delete(doc, "lasted")
		return doc
	}
	if diff := cmp.Diff(timeless(want), timeless(string(last))); diff != "" {
		t.Errorf("answer (-page +hub):\n%s", diff)
	}
}
