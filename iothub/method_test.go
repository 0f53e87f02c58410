package iothub_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/iothub"
)

// methodDocs are calls, and what is none.
var methodDocs = []string{
	`{"methodName":"lockDoor","payload":{"lockTime":"10m"},"responseTimeoutInSeconds":60,"connectTimeoutInSeconds":0}`,
	`{"methodName":"lockDoor"}`,
	` { "methodName" : "m" , "payload" : [ 1 , "a b" ] } `,
	`{}`,
	`null`,
	`{"METHODNAME":"m","Payload":1,"responsetimeoutinseconds":5}`,
	`{"methodName":"m","methodname":"n"}`,
	`{"methodName":"m","methodName":null,"payload":1,"payload":null}`,
	`{"methodName":"a\u0062\ud83d\ude00","payload":"\u0061"}`,
	`{"methodName":"ü"}`,
	"{\"methodName\":\"\xff\",\"payload\":\"\xff\"}",
	`{"method\u004eame":"m"}`,
	`{"methodName":"m","other":{"a":[]}}`,
	`{"methodName":"m","responseTimeoutInSeconds":null,"connectTimeoutInSeconds":null}`,
	`{"methodName":"m","responseTimeoutInSeconds":5.0}`,
	`{"methodName":"m","responseTimeoutInSeconds":1e1}`,
	`{"methodName":"m","responseTimeoutInSeconds":-0}`,
	`{"methodName":"m","responseTimeoutInSeconds":"5"}`,
	`{"methodName":"m","responseTimeoutInSeconds":99999999999999999999}`,
	`{"methodName":7}`,
	`{"methodName":"m"`,
	`{"methodName":"m"} x`,
	`[]`,
	``,
}

// parsesAsJSON compares ParseMethod with what encoding/json makes of a text.
func parsesAsJSON(t *testing.T, doc string) {
	got, err := iothub.ParseMethod([]byte(doc))
	var want iothub.Method
	wantErr := json.Unmarshal([]byte(doc), &want)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("ParseMethod(%q) fails with %v, encoding/json with %v", doc, err, wantErr)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err == nil && diff != "" {
		t.Errorf("ParseMethod(%q) (-encoding/json +got):\n%s", doc, diff)
	}
}

func TestParseMethod(t *testing.T) {
	for _, doc := range methodDocs {
		parsesAsJSON(t, doc)
	}
}
