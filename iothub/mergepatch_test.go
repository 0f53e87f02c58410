package iothub_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/iothub"
)

func TestPatchesAreMerged(t *testing.T) {
	try := func(doc, patch, want string) {
		t.Helper()
		d, p := []byte(doc), []byte(patch)
		got, err := iothub.MergePatch(d, p)
		if err != nil || string(got) != want {
			t.Errorf("MergePatch(%s, %s) = %s, %v, want %s", doc, patch, got, err, want)
		}
		if string(d) != doc || string(p) != patch {
			t.Errorf("MergePatch(%s, %s) changed its arguments", doc, patch)
		}
	}
	try(`{"a":1}`, `{"a":2}`, `{"a":2}`)
	try(`{"a":1}`, `{"b":2}`, `{"a":1,"b":2}`)
	try(`{"a":1,"b":2}`, `{"a":null}`, `{"b":2}`)
	try(`{"a":1}`, `{"a":null}`, `{}`)
	try(`{}`, `{"a":null}`, `{}`)
	try(``, `{"a":1}`, `{"a":1}`)
	try(`{"a":{"b":1,"c":2}}`, `{"a":{"b":null,"d":3}}`, `{"a":{"c":2,"d":3}}`)
	try(`{"a":[1,2]}`, `{"a":[null,{"b":null}]}`, `{"a":[null,{"b":null}]}`)
	try(`{"a":{"b":1}}`, `{"a":[1]}`, `{"a":[1]}`)
	try(`{"a":{"b":1}}`, `{"a":"x"}`, `{"a":"x"}`)
	try(`{"a":1}`, `{"a":{"b":2,"c":null}}`, `{"a":{"b":2}}`)
	try(`{}`, `{"a":{"b":null}}`, `{"a":{}}`)                    // dropped, and the parent stays
	try(`{}`, `{"a":{"b":{"c":null}}}`, `{"a":{"b":{}}}`)        // at any depth
	try(`{"a":{"b":1}}`, `{"a":{"b":null}}`, `{"a":{}}`)         // the same in an old one
	try(` { "a" : [ 1 , " x " ] } `, ` { } `, `{"a":[1," x "]}`) // compact, strings untouched
	try(`{"\u0061":1}`, `{"a":2}`, `{"a":2}`)
	try(`{"a":1}`, `{"\u0061":null}`, `{}`)
	try(`{"a\"b":1,"c":true}`, `{"a\"b":{"}":"{"},"c":false}`, `{"a\"b":{"}":"{"},"c":false}`)
	try(`{}`, `{"a":1,"a":2}`, `{"a":2}`)
	try(`{"a":0}`, `{"a":1,"a":null}`, `{}`)
	try(`{"a":-1.5e3,"b":null}`, `{"c":""}`, `{"a":-1.5e3,"b":null,"c":""}`)
}

func TestManyMembersAreMerged(t *testing.T) {
	doc, patch, want := map[string]int{}, map[string]any{}, map[string]int{}
	for i := range 500 {
		doc[fmt.Sprint("k", i)] = i
		switch i % 3 {
		case 0:
			patch[fmt.Sprint("k", i)] = nil
		case 1:
			patch[fmt.Sprint("k", i)], want[fmt.Sprint("k", i)] = -i, -i
		case 2:
			patch[fmt.Sprint("n", i)], want[fmt.Sprint("n", i)] = i, i
			want[fmt.Sprint("k", i)] = i
		}
	}
	d, _ := json.Marshal(doc)
	p, _ := json.Marshal(patch)
	merged, err := iothub.MergePatch(d, p)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]int
	if err := json.Unmarshal(merged, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("MergePatch of 500 members:\n%s", diff)
	}
}

func TestWhatIsNoObjectIsNotMerged(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	for _, c := range [][2]string{{`{}`, ``}, {`{}`, `1`}, {`{}`, `null`}, {`{}`, `[]`}, {`[]`, `{}`}, {`{}`, `{"a":}`}, {`{`, `{}`}, {`{}`, `{} {}`}, {`{}`, deep}} {
		if got, err := iothub.MergePatch([]byte(c[0]), []byte(c[1])); err == nil {
			t.Errorf("MergePatch(%.40s, %.40s) = %s, want an error", c[0], c[1], got)
		}
	}
}

// nested returns n objects in one another, of which the innermost holds value.
func nested(n int, value string) string {
	return strings.Repeat(`{"a":`, n) + value + strings.Repeat("}", n)
}

// manyMembers returns the members k0 to kn-1 of an object.
func manyMembers(n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	return strings.Join(members, ",")
}

func TestPatchesAreValidatedByTheServicesLimits(t *testing.T) {
	try := func(patch string, limit int, want string) {
		t.Helper()
		err := iothub.ValidatePatch("tags", []byte(patch), limit)
		switch {
		case want == "" && err != nil:
			t.Errorf("ValidatePatch(%.60s, %d): %v, want none", patch, limit, err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), "tags: ") || !strings.Contains(err.Error(), want)):
			t.Errorf("ValidatePatch(%.60s, %d): %v, want %q", patch, limit, err, want)
		}
	}
	str := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	try(`{}`, 1, "")
	try(`{"a":{"b":[1,true,"x",{"c":null}]},"d":null}`, 100, "")
	try(``, 0, "not JSON")
	try(`{"a":}`, 0, "not JSON")
	try(`null`, 0, "not a JSON object")
	try(`[1]`, 0, "not a JSON object")
	try("{\"a\":\"\xff\"}", 0, "UTF-8")
	try(`{"$version":1}`, 0, "$version")
	try(`{"a":{"$x":1}}`, 0, "$x")
	try(`{"a":[{"$x":1}]}`, 0, "$x")
	try(`{"a$":1}`, 0, "'$'")
	try(`{"a.b":1}`, 0, "'.'")
	try(`{"a b":null}`, 0, "' '")
	try(`{"a\u0020b":1}`, 0, "' '")
	try(`{"a\u0001":1}`, 0, "control")
	try(`{"a\u0085":1}`, 0, "control")
	try("{\"a\u0085\":1}", 0, "control")
	try(`{"ü-_/":1}`, 0, "")
	try(`{"a":1,"b":{"a":2},"\u0061":3}`, 0, `"a": is there twice`)
	try(`{"a":[{"b":null,"b":1}]}`, 0, `"b": is there twice`)
	try(`{`+manyMembers(100)+`,"k7":null}`, 0, `"k7": is there twice`)
	try(`{`+manyMembers(100)+`}`, 0, "")
	try(`{`+str(1024)+`:1}`, 0, "")
	try(`{`+str(1025)+`:1}`, 0, "1024 bytes")
	try(`{"a":`+str(4096)+`}`, 0, "")
	try(`{"a":`+str(4097)+`}`, 0, "4097 bytes")
	try(`{"a":4503599627370495,"b":-4503599627370496}`, 0, "")
	try(`{"a":4503599627370496}`, 0, "out of range")
	try(`{"a":[-4503599627370497]}`, 0, "out of range")
	try(`{"a":123456789012345678901234567890}`, 0, "out of range")
	try(`{"a":4503599627370496.5,"b":1e300}`, 0, "")
	try(nested(11, "1"), 0, "")           // ten objects below the section, and a value in the last
	try(nested(12, "1"), 0, "10 levels")  // eleven
	try(nested(11, "[]"), 0, "10 levels") // an array counts as a level
	try(nested(11, "null"), 0, "")        // a deletion
	try(nested(500, "1"), 0, "10 levels") // no deeper than needed
	try(`{"abc":1}`, 11, "")              // 3 + 8
	try(`{"abc":1}`, 10, "more than 10")  // one too many
	try(`{"ab":null,"d":true}`, 5, "")    // a deletion is free
	try(`{"a":{"b":[1,2,"xy"]}}`, 20, "") // 1 + 1 + 8 + 8 + 2
	try(`{"a":{"b":[1,2,"xy"]}}`, 19, "20 bytes")
	try(`{"a":[`+strings.Repeat("{},", 40)+`[]]}`, 32, "takes 130 bytes of JSON, more than 128") // structure is free, not endless
	try(`{"a":[`+strings.Repeat("null,", 40)+`null]}`, 32, "more than 128")
	try(`{"a":"`+strings.Repeat(`\u0001`, 40)+`"}`, 32, "more than 128")
	try(`{"a":`+strings.Repeat(" ", 200)+`"\" \\ "}`, 32, "") // space between tokens is none of it
}

// Blanks before a large document are stepped over once and not for each member, which would take minutes here.
func TestLeadingSpaceCostsNothing(t *testing.T) {
	doc := []byte(strings.Repeat(" ", 4<<20) + "{" + strings.Repeat(`"a":null,`, 100_000) + `"b":1}`)
	if got := iothub.SectionSize(doc); got != 9 {
		t.Errorf("SectionSize() = %d, want 9", got)
	}
	if got, err := iothub.MergePatch(nil, doc); string(got) != `{"b":1}` {
		t.Errorf("MergePatch() = %s, %v", got, err)
	}
}

func TestMergedSectionsAreChecked(t *testing.T) {
	try := func(doc string, limit int, want string) {
		t.Helper()
		err := iothub.CheckSection("tags", []byte(doc), limit)
		switch {
		case want == "" && err != nil:
			t.Errorf("CheckSection(%.60s, %d): %v, want none", doc, limit, err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), "tags: ") || !strings.Contains(err.Error(), want)):
			t.Errorf("CheckSection(%.60s, %d): %v, want %q", doc, limit, err, want)
		}
	}
	try(`{}`, 1, "")
	try(`{"abc":1}`, 11, "")
	try(`{"abc":1}`, 10, "11 bytes, more than 10")
	try(`{"a":[{},[],{}]}`, 4, "")
	try(`{"a":[{},[],{} ] }`, 4, "")
	try(`{"a":[{},[],{}]}`, 3, "takes 16 bytes of JSON, more than 12")
}

func TestSectionsAreMeasured(t *testing.T) {
	try := func(doc string, want int) {
		t.Helper()
		if got := iothub.SectionSize([]byte(doc)); got != want {
			t.Errorf("SectionSize(%s) = %d, want %d", doc, got, want)
		}
	}
	try(`{}`, 0)
	try(`{"a":1}`, 9)
	try(`{"a":-1.5e10}`, 9)
	try(`{"a":false}`, 5)
	try(`{"a":"\u0001x\u0085\n"}`, 2)
	try(`{"ü":"é"}`, 4)
	try(`{"a":{"b":{}}}`, 2)
	try(`{"a":[{"b":"c"},[true]]}`, 7)
	try(`{"a":1,"$metadata":{"a":{"$lastUpdated":"x"}},"$version":3}`, 9)
	try(`{"a":{"$version":1}}`, 17)
	try(`nothing`, 0)
}
