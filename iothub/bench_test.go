package iothub_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"muster/iothub"
)

// BenchmarkInvokeMethod measures calls against a server on loopback; both ends
// run in this process.
func BenchmarkInvokeMethod(b *testing.B) {
	c := loopback(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"status":200,"payload":{"Response":"lockDoor called successfully"}}`)
	})
	m := iothub.Method{MethodName: "lockDoor", Payload: json.RawMessage(`{"lockTime":"10m"}`)}
	run := func(name string, traced bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ctx := b.Context()
					if traced {
						ctx = iothub.WithTrace(ctx, &iothub.Trace{Wrote: func(int) {}})
					}
					if _, err := c.InvokeMethod(ctx, "door-00001", m); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	run("plain", false)
	run("traced", true)
}

// instant answers at once, without a network.
type instant struct{ body string }

func (i instant) RoundTrip(r *http.Request) (*http.Response, error) {
	return answer(200, i.body)(r)
}

// BenchmarkInvokeMethodAlone measures the client without net/http's transport.
func BenchmarkInvokeMethodAlone(b *testing.B) {
	c := newClient(b, instant{`{"status":200,"payload":{"Response":"lockDoor called successfully"}}`}, nil)
	m := iothub.Method{MethodName: "lockDoor", Payload: json.RawMessage(`{"lockTime":"10m"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.InvokeMethod(b.Context(), "door-00001", m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewToken(b *testing.B) {
	key := mustKey(b, vectorKey)
	resource, expiry := iothub.DeviceResource("myhub.azure-devices.net", "door-00001"), time.Now().Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		_ = iothub.NewToken(resource, key, "", expiry)
	}
}

func BenchmarkVerifyToken(b *testing.B) {
	key := mustKey(b, vectorKey)
	text := iothub.NewToken(iothub.DeviceResource("myhub.azure-devices.net", "door-00001"), key, "", time.Now())
	b.ReportAllocs()
	for b.Loop() {
		token, err := iothub.ParseToken(text)
		if err != nil || !token.SignedBy(key) {
			b.Fatal(err)
		}
	}
}

func BenchmarkMergePatch(b *testing.B) {
	doc := []byte(`{"site":"north","building":43,"floor":3,"door":{"locked":true,"since":"2024-01-02T03:04:05Z"}}`)
	patch := []byte(`{"building":44,"door":{"locked":false},"floor":null}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := iothub.MergePatch(doc, patch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseTopic(b *testing.B) {
	run := func(name, topic string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := iothub.ParseTopic(topic); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("request", iothub.MethodRequestTopic("lockDoor", "1f"))
	run("response", iothub.MethodResponseTopic(200, "1f"))
}
