package fleet_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"muster/fleet"
)

// FuzzNotification holds the in-place cut of $version to what decoding the whole
// body gives.
func FuzzNotification(f *testing.F) {
	for _, body := range []string{
		`{"a":1,"$version":5}`, `{"$version":5}`, `{"$version":5,"a":1}`, `{ "a" : 1 , "$version" : 5 }`,
		`{"a":"\"$version\":5}","$version":5}`, `{"a":{"$version":5}}`, `{"a":1}`, `{}`, `[]`, `{"$version":-1}`,
		`{"a":",\"$version\":5}`, `{"a\",\"$version":5}`, `{"$version":1,"$version":2}`, `{"a":[{},"$version":5}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !json.Valid(body) {
			return // a hub's bodies are JSON; what else comes must only not panic
		}
		var members map[string]any
		isObject := json.Unmarshal(body, &members) == nil && members != nil
		patch, version, err := fleet.SplitVersion(slices.Clone(body))
		if err != nil || !isObject {
			return
		}
		var got map[string]any
		if err := json.Unmarshal(patch, &got); err != nil {
			t.Fatalf("patch of %s is %s: %v", body, patch, err)
		}
		if n, ok := members["$version"].(float64); ok && n != float64(version) {
			t.Errorf("version of %s: got %d, want %v", body, version, n)
		}
		delete(members, "$version")
		delete(got, "$version") // of a body with two
		if !reflect.DeepEqual(got, members) {
			t.Errorf("patch of %s: got %s", body, patch)
		}
	})
}
