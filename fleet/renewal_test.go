package fleet_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/fleet"
	"muster/fleet/paho"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// TestTokensAreRenewedAheadOfTheirEnd runs a fleet for hours on a hub that
// closes a connection when its token ends.
func TestTokensAreRenewedAheadOfTheirEnd(t *testing.T) {
	lostIn := func(renew bool) (stats fleet.Stats) {
		synctest.Test(t, func(t *testing.T) {
			const devices = 40
			hub := hubtest.Start(t, nil)
			f, err := fleet.New(fleet.Config{
				HostName: hub.Hub.ConnectionString().HostName, Groups: []fleet.Group{doors(t, devices)}, Driver: paho.Driver{},
				Dial:    func(ctx context.Context) (net.Conn, error) { return hub.MQTT.DialContext(ctx, "", "") },
				Connect: fleet.Connect{TokenLifetime: time.Hour, RenewTokens: renew},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Register(t.Context(), hub.Client()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { _ = f.Run(ctx) }) // nil, as other tests hold
			defer running.Wait()
			defer cancel()
			time.Sleep(5*time.Hour + time.Minute)
			stats = f.Stats()
			want(t, "online", stats.Online+stats.Connecting, devices)
		})
		return stats
	}
	if s := lostIn(true); s.Lost != 0 || s.Renewed < 6*40 || s.Renewed > 8*40 {
		t.Errorf("with renewal %d connections were lost and %d renewed; want 0, and 6 to 8 times 40 in five hours", s.Lost, s.Renewed)
	}
	if s := lostIn(false); s.Lost != 5*40 || s.Renewed != 0 {
		t.Errorf("without renewal %d connections were lost and %d renewed; want 5 times 40, and 0", s.Lost, s.Renewed)
	}
}

// TestRenewalWaitsForAnAnswer lets a device handle a call while its token is
// to be renewed.
func TestRenewalWaitsForAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := map[string]fleet.Method{"slow": {Latency: fleet.Latency{Median: 4 * time.Minute}}, "slower": {Latency: fleet.Latency{Median: time.Hour}}}
		w := start(t, nil, fleet.Config{
			Groups: []fleet.Group{withMethods(t, 1, slow)}, Connect: fleet.Connect{TokenLifetime: 10 * time.Minute, RenewTokens: true},
		}).ready()
		time.Sleep(5 * time.Minute)
		w.call("door-0", "slow", "r1", "")
		time.Sleep(4*time.Minute - time.Second) // the renewal is due 6 to 8 minutes after the connect
		want(t, "renewed before the answer", w.fleet.Stats().Renewed, 0)
		time.Sleep(3 * time.Second)
		want(t, "answers", len(w.hub.Published("$iothub/methods/res/200/?$rid=r1")), 1)
		want(t, "renewed after the answer", w.fleet.Stats().Renewed, 1)
		want(t, "online", w.fleet.Stats().Online, 1)
		w.call("door-0", "slower", "r2", "") // no answer is waited for beyond the token's end
		time.Sleep(10 * time.Minute)
		want(t, "renewed without an answer", w.fleet.Stats().Renewed, 2)
		want(t, "lost", w.fleet.Stats().Lost, 0)
	})
}

// TestATokenServesUntilItIsRenewed drops a connection and looks at the tokens.
func TestATokenServesUntilItIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, fleet.Config{Groups: []fleet.Group{doors(t, 1)}, Connect: fleet.Connect{TokenLifetime: time.Hour, RenewTokens: true}}).ready()
		time.Sleep(10 * time.Minute)
		if err := w.hub.Drop("door-0"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		connects := w.hub.Events(mqtt.TypeConnect)
		if len(connects) < 3 || connects[0].Payload != connects[1].Payload || connects[1].Payload == connects[2].Payload {
			t.Errorf("%d connects; want 3 or more, the second with the token of the first, the third with another", len(connects))
		}
	})
}

func TestSecretKeysAndMarks(t *testing.T) {
	const secret = iothub.Secret("0123456789abcdef0123456789abcdef")
	// openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
	want(t, "key", fleet.SecretKey(secret, "door-1").Base64(), "ZvwPKLb7B1PD36O5tUvRrnnoZWIcFV1YyWjYl4J3bkk=")
	mark := fleet.Mark(secret, "door-1")
	raw, err := base64.RawURLEncoding.DecodeString(mark)
	if err != nil || len(raw) != 18 || strings.HasPrefix(fleet.SecretKey(secret, "door-1").Base64(), mark[:8]) {
		t.Errorf("Mark() = %q, %v; want 18 bytes that are not the key's", mark, err)
	}
	if again := fleet.Mark(secret, "door-1"); again != mark || fleet.Mark(secret, "door-2") == mark || fleet.Mark(secret+"x", "door-1") == mark {
		t.Errorf("Mark() = %q, then %q; want one mark for each device and secret", mark, again)
	}
	for s, want := range map[iothub.Secret]string{
		"":        "the fleet's secret is missing",
		"passwrd": "the fleet's secret has 7 bytes, it needs at least 16",
		secret:    "<nil>",
	} {
		if got := fmt.Sprint(fleet.CheckSecret(s)); got != want {
			t.Errorf("CheckSecret of %d bytes = %s, want %s", len(s), got, want)
		}
	}
}

func TestAdoptTakesOverTheHubsTwin(t *testing.T) {
	g := doors(t, 3)
	g.Tags = tree(t, map[string]any{"site": "north"})
	f, err := fleet.New(fleet.Config{HostName: "h", Groups: []fleet.Group{g}})
	if err != nil {
		t.Fatal(err)
	}
	wantMatch(t, f, "tags.site = 'north'", 0, 1, 2)
	f.Adopt(1, []byte(`{"site":"south"}`), []byte(`{"floor":3}`), []byte(`{"fw":"2"}`))
	wantMatch(t, f, "tags.site = 'north'", 0, 2)
	wantMatch(t, f, "properties.desired.floor = 3 AND properties.reported.fw = '2'", 1)
	f.Adopt(1, nil, nil, nil)
	wantMatch(t, f, "tags.site = 'north'", 0, 1, 2)
}
