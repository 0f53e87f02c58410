package hub_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"muster/hub"
)

// records are seeds of the fuzz targets, and what each kind of record looks like.
var records = []struct{ kind, content string }{
	{"device", `{"id":"a","created":946684800000000000,"etag":1,"auth":"sas","primary":"AAEC","secondary":"/w==","thumbprints":["",""],"version":1,` +
		`"tags":{},"desired":{"doc":{},"version":1,"stamps":{"own":[1,0],"rest":[1,0]}},"reported":{"doc":{},"version":1,"stamps":{"own":[1,0],"rest":[1,0]}}}`},
	{"device", `{"id":"a/m","parent":1,"created":1,"active":2,"etag":9,"disabled":true,"reason":"<é>","auth":"selfSigned","thumbprints":["0A","0b"],"statusAt":3,"connAt":4,"version":7,` +
		`"tags":{"a":{"<":"&"}},"desired":{"doc":{"x":{"y":[1,2]}},"version":3,"stamps":{"own":[5,3],"rest":[1,0],"kids":{"x":{"own":[5,3],"rest":[5,3],"kids":{"y":{"own":[5,3],"rest":[5,3]}}}}}},` +
		`"reported":{"doc":{"fw":"1.0"},"version":2,"stamps":{"own":[6,0],"rest":[1,0],"kids":{"fw":{"own":[6,0],"rest":[6,0]}}}},"session":true,"subs":7}`},
	{"job", `{"id":"job-1","created":946684800000000000,"request":"eyJ0eXBlIjoic2NoZWR1bGVVcGRhdGVUd2luIiwicXVlcnlDb25kaXRpb24iOiIqIiwidXBkYXRlVHdpbiI6eyJldGFnIjoiKiIsInRhZ3MiOnsiYSI6MX19fQ=="}`},
	{"state", `{"status":"running","started":1,"rows":10,"mark":8}`},
	{"state", `{"status":"failed","failure":"SQL query parse failed","ended":2,"rows":-1,"mark":0}`},
	{"row", `{"seq":1,"device":"a","status":0}`},
	{"row", `{"seq":1,"device":"a","status":2,"start":1,"end":2,"answer":200,"payload":"{ \"a\" : 1 }"}`},
	{"row", `{"seq":1,"device":"a","status":3,"start":1,"end":2,"error":{"code":504101,"status":504,"name":"GatewayTimeout","message":"no"}}`},
}

// FuzzRecord decodes records: what is accepted comes out as it went in, and makes a twin that is JSON.
func FuzzRecord(f *testing.F) {
	for _, r := range records {
		f.Add(r.kind, []byte(r.content))
	}
	f.Fuzz(func(t *testing.T, kind string, content []byte) {
		recode := hub.Records[kind]
		if recode == nil {
			return
		}
		once, err := recode(content)
		if err != nil {
			return
		}
		twice, err := recode(once)
		if err != nil || string(once) != string(twice) {
			t.Errorf("%s %q: encoded as %s, then as %s (%v)", kind, content, once, twice, err)
		}
		if kind != "device" {
			return
		}
		if twin, err := hub.TwinOf(content); err != nil || !json.Valid(twin) {
			t.Errorf("device %q: the twin is %s (%v)", content, twin, err)
		}
	})
}

func TestRecordsSurvive(t *testing.T) {
	for _, r := range records {
		got, err := hub.Records[r.kind]([]byte(r.content))
		if want := r.content; err != nil || string(got) != want && string(got) != want+"\n" {
			t.Errorf("%s\n got %s (%v)\nwant %s", r.kind, got, err, want)
		}
	}
}

func TestRecordsThatAreRefused(t *testing.T) {
	tests := func(kind, content, want string) {
		t.Helper()
		if _, err := hub.Records[kind]([]byte(content)); err == nil || err.Error() != want {
			t.Errorf("%s %s: %v, want %s", kind, content, err, want)
		}
	}
	section := `{"doc":{},"version":1,"stamps":{"own":[1,0],"rest":[1,0]}}`
	tests("device", `{"id":"a b"}`, "the device's id is not valid")
	tests("device", `{"id":"a","auth":"none"}`, `device a: authentication "none" is not known`)
	tests("device", `{"id":"a","auth":"sas","version":0}`, "device a: a version is not positive")
	tests("device", `{"id":"a","auth":"sas","version":1,"tags":[],"desired":`+section+`,"reported":`+section+`}`, "device a: a section of the twin is not an object")
	tests("job", `{"id":"j","created":1,"request":"e30="}`, "job j: queryCondition is required.")
	tests("state", `{"status":"odd"}`, `status "odd" is not known`)
	tests("state", `{"status":"running","rows":-2}`, "the number of rows is out of range")
	tests("row", `{"device":"a","status":9}`, "device a: status and error do not fit")
	tests("row", `{"device":"a","status":2,"payload":"{"}`, "device a: the answer is not JSON")
}

// What cannot be a store's folder is refused, with the folder's name, and left as it is.
func TestOpenStoreRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hub.db")
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := hub.OpenStore(dir)
	if want := "open the hub's store in " + dir + ": hub.db is damaged, or not a hub's: invalid database"; err == nil || err.Error() != want {
		t.Errorf("open: %v, want %s", err, want)
	}
	if got, _ := os.ReadFile(path); string(got) != "something else" {
		t.Errorf("the file was changed")
	}
	good := t.TempDir()
	first, err := hub.OpenStore(good)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = hub.OpenStore(good)
	if want := "open the hub's store in " + good + ": it is in use by another hub"; err == nil || err.Error() != want {
		t.Errorf("open a second time: %v, want %s", err, want)
	}
}
