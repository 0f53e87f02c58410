package peers_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// page is docs/mqtt.md, as blocks of code.
type page []struct{ kind, code string }

// readPage reads the page's blocks, with the hub's address for the one in the page.
func readPage(t *testing.T, host string) page {
	t.Helper()
	text, err := os.ReadFile("../docs/mqtt.md")
	if err != nil {
		t.Fatal(err)
	}
	var p page
	for _, m := range regexp.MustCompile("(?ms)^```(sh|text|js)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		p = append(p, struct{ kind, code string }{m[1], strings.ReplaceAll(m[2], "localhost", host)})
	}
	return p
}

// with returns the blocks of that kind which have the text, one after the other.
func (p page) with(kind, text string) string {
	var all strings.Builder
	for _, b := range p {
		if b.kind == kind && strings.Contains(b.code, text) {
			all.WriteString(b.code)
		}
	}
	return all.String()
}

// matching returns a pattern for a line of output. Versions may differ: what waits for a change may need some.
func matching(line string) string {
	return regexp.MustCompile(`version(=|":)\d+`).ReplaceAllString("^"+regexp.QuoteMeta(strings.TrimSpace(line)), `version$1\d+`)
}

// TestByHand does what docs/mqtt.md shows: a device made of Mosquitto's tools, then one of mqtt.js.
func TestByHand(t *testing.T) {
	needProgram(t, "node")
	needProgram(t, "mosquitto_sub")
	bash := needProgram(t, "bash")
	needModules(t)
	hub := startHub(t, needAddress(t))
	p := readPage(t, hub.host)

	device := p.with("sh", "device create")
	hand := p.with("sh", "hand=(")
	out := hub.run(t, bash, "-euc", device+hand+
		p.with("sh", "messages/events")+p.with("sh", "rid=1' -m '{\"locked\":false}'")+p.with("sh", "lockDoor --query")+p.with("sh", "job watch"))
	if want := p.with("text", "rid=1 {\"lockTime\""); want == "" || !strings.Contains(out, want) {
		t.Errorf("the commands printed no %q but\n%s", want, out)
	}
	if !regexp.MustCompile(`(?m)^hand +completed +200 .*{"locked":true}$`).MatchString(out) {
		t.Errorf("the job by-hand did not succeed:\n%s", out)
	}

	// A notification is for whoever is connected then: the change is made until it is heard.
	listening := hub.start(t, nil, bash, "-euc", device+hand+"exec "+p.with("sh", "desired/#'"))
	for heard := false; !heard; {
		hub.run(t, bash, "-euc", p.with("sh", `{"building":43}`))
		select {
		case <-listening.ended:
			heard = true
		default:
		}
	}
	listening.await(t, matching(p.with("text", `{"building":43,"$version":2}`+"\n")))

	inNode := hub.start(t, []string{"SCRIPT=" + p.with("js", "mqtt.connect")}, bash, "-euc", device+`exec node -e "$SCRIPT"`)
	expected := strings.Split(strings.TrimSpace(p.with("text", "res/200")), "\n")
	inNode.await(t, matching(expected[0]))
	hub.run(t, bash, "-euc", p.with("sh", `{"floor":3}`))
	for _, line := range expected[1:] {
		inNode.await(t, matching(line)) // in this order
	}
}
