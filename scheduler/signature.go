package scheduler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"

	"muster/internal/sample"
)

// markKey is the member that Job.Mark adds.
const markKey = "musterId"

// signature is by what a device's receipt is known: the method's name and its
// payload, or the desired patch.
type signature struct {
	kind      sample.ReceiptKind
	name      string
	raw       []byte // the content as it was given
	canonical []byte

	// seen is the content as devices get it, if that differs from raw only in
	// form: after the first receipt the bytes decide.
	seen atomic.Pointer[[]byte]
}

// signatureOf returns the signature of j, or nil if devices receive nothing.
func signatureOf(j *Job) *signature {
	g := &signature{kind: sample.MethodReceipt, name: j.MethodName}
	switch j.Kind {
	case Desired:
		g.kind, g.name = sample.DesiredReceipt, ""
	case Tags:
		return nil
	}
	g.raw = j.content()
	g.canonical = canonical(g.raw)
	return g
}

// same reports whether receipts of the two cannot be told apart.
func (g *signature) same(o *signature) bool {
	return g.kind == o.kind && g.name == o.name && bytes.Equal(g.canonical, o.canonical)
}

// is reports whether a receipt of this kind and name has exactly the bytes
// that are known of the signature. It does not allocate.
func (g *signature) is(r *sample.Receipt) bool {
	if g.kind != r.Kind || g.name != r.Name {
		return false
	}
	if bytes.Equal(g.raw, r.Payload) {
		return true
	}
	seen := g.seen.Load()
	return seen != nil && bytes.Equal(*seen, r.Payload)
}

// means reports whether the receipt, whose payload has the canonical form
// given, is the signature's in another form, and if so learns that form.
func (g *signature) means(r *sample.Receipt, form []byte) bool {
	if g.kind != r.Kind || g.name != r.Name || !bytes.Equal(g.canonical, form) {
		return false
	}
	learnt := bytes.Clone(r.Payload)
	g.seen.CompareAndSwap(nil, &learnt)
	return true
}

// canonical returns the one form of a JSON document: members sorted, numbers
// in shortest form, no white space. Nothing is null, as hubs send no payload;
// what is no JSON is its own form.
func canonical(doc []byte) []byte {
	if len(bytes.TrimSpace(doc)) == 0 {
		return []byte("null")
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil || dec.More() {
		return doc
	}
	out, err := json.Marshal(normalized(v))
	if err != nil {
		return doc
	}
	return out
}

// normalized brings the numbers of a decoded document into one form.
func normalized(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			v[key] = normalized(member)
		}
	case []any:
		for i := range v {
			v[i] = normalized(v[i])
		}
	case json.Number:
		return shortest(v)
	}
	return v
}

func shortest(n json.Number) json.Number {
	if i, err := n.Int64(); err == nil {
		return json.Number(strconv.FormatInt(i, 10))
	}
	f, err := n.Float64()
	if err != nil {
		return n
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return json.Number(strconv.FormatInt(int64(f), 10))
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
}

func isObject(doc []byte) bool {
	var members map[string]json.RawMessage
	return json.Unmarshal(doc, &members) == nil && members != nil
}

var (
	errMarkObject = errors.New("needs a payload that is an object")
	errMarkTaken  = fmt.Errorf("the payload has a member %q already", markKey)
)

// marked returns the object doc with id as its member markKey.
func marked(doc json.RawMessage, id string) (json.RawMessage, error) {
	if !isObject(doc) {
		return nil, errMarkObject
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(doc, &members); err != nil {
		return nil, err
	}
	if _, taken := members[markKey]; taken {
		return nil, errMarkTaken
	}
	members[markKey] = json.RawMessage(strconv.Quote(id))
	return json.Marshal(members)
}

// unmarked returns doc without a mark.
func unmarked(doc []byte) []byte {
	var members map[string]json.RawMessage
	if json.Unmarshal(doc, &members) != nil || members[markKey] == nil {
		return doc
	}
	delete(members, markKey)
	out, err := json.Marshal(members)
	if err != nil {
		return doc
	}
	return out
}
