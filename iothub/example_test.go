package iothub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"muster/iothub"
)

// A service calls a direct method of a device. The hub here is a server that
// says what a device would.
func ExampleClient() {
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/twins/door-1/methods" {
			e := iothub.Error{StatusCode: 404, Code: iothub.CodeDeviceNotFound, Name: "DeviceNotFound", Message: "no such device"}
			w.WriteHeader(e.StatusCode)
			_, _ = w.Write(e.Body())
			return
		}
		_, _ = io.WriteString(w, `{"status":200,"payload":{"Response":"locked"}}`)
	}))
	defer hub.Close()

	cs, err := iothub.ParseConnectionString("HostName=hub.example;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0")
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := iothub.NewClient(cs, &iothub.ClientOptions{BaseURL: hub.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	lock := iothub.Method{MethodName: "lockDoor", Payload: json.RawMessage(`{"lockTime":"10m"}`)}
	result, err := client.InvokeMethod(context.Background(), "door-1", lock)
	fmt.Println(result.Status, string(result.Payload), err)

	_, err = client.InvokeMethod(context.Background(), "door-2", lock)
	fmt.Println(iothub.HasCode(err, iothub.CodeDeviceNotFound))
	fmt.Println(err)
	fmt.Println(cs)
	// Output:
	// 200 {"Response":"locked"} <nil>
	// true
	// invoke method on door-2: hub answered 404 DeviceNotFound (404001): no such device
	// HostName=hub.example;SharedAccessKeyName=service;SharedAccessKey=***
}

// A device signs a token for itself and connects with it.
func ExampleNewToken() {
	key, err := iothub.ParseKey("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	if err != nil {
		fmt.Println(err)
		return
	}
	host, device := "myhub.azure-devices.net", "dev1"
	fmt.Println(iothub.Username(host, device))
	fmt.Println(iothub.NewToken(iothub.DeviceResource(host, device), key, "", time.Unix(1700000000, 0)))
	// Output:
	// myhub.azure-devices.net/dev1/?api-version=2021-04-12
	// SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdev1&sig=wosmA3uJK9T0mdB5CIYn%2BsAVA2ODflnucuvNO5S6mbM%3D&se=1700000000
}

// A twin patch deletes what is null and merges the rest.
func ExampleMergePatch() {
	merged, err := iothub.MergePatch([]byte(`{"building":43,"floor":3}`), []byte(`{"floor":null,"door":{"locked":true}}`))
	fmt.Println(string(merged), err)
	// Output: {"building":43,"door":{"locked":true}} <nil>
}
