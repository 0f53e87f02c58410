package hub

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"math"
	"net/http"
	"strconv"
	"sync"

	"muster/iothub"
)

// maxPage is the largest page of a query, and the usual one.
const maxPage = 100

// maxPageBytes ends a page before it has all its items: one more begins only below that size.
const maxPageBytes = 4 << 20

// pageBodies is a cache of memory without content: who reads the rows of a large job asks for many pages, one after the other.
var pageBodies = sync.Pool{New: func() any { return new([]byte) }}

// keptBody bounds the bodies that are kept for other pages.
const keptBody = 256 << 10

// cursor is where a page ends: after that device, before that row of that job, or after the group of that key. It names
// places in an order that changes of twins and jobs do not disturb, so that pages neither repeat nor skip.
type cursor struct {
	seq   uint64 // of a device or job
	row   uint64
	given uint64 // items on all pages so far, for TOP
	key   []byte
}

// token returns the cursor as a continuation token of a query, opaque to clients.
func (c cursor) token(text string) string {
	b := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(text)))
	b = binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(b, c.seq), c.row), c.given)
	b = append(b, c.key...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor reads a token back; it must be one of the same query. An absent token is the beginning.
func parseCursor(token, text string) (c cursor, ok bool) {
	if token == "" {
		return cursor{}, true
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 4 || binary.BigEndian.Uint32(b) != crc32.ChecksumIEEE([]byte(text)) {
		return cursor{}, false
	}
	b = b[4:]
	for _, number := range [...]*uint64{&c.seq, &c.row, &c.given} {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return cursor{}, false
		}
		*number, b = n, b[size:]
	}
	c.key = b
	return c, c.row <= math.MaxInt32 && c.given <= math.MaxInt32
}

// page is a request for a page of a query, and the answer to it while it is put together.
type page struct {
	text  string // what the continuation token belongs to
	size  int
	last  bool // size is all that may come at all
	start cursor

	space *[]byte // of pageBodies
	body  []byte  // a JSON array without its end
	items int
	next  *cursor // where another page begins; nil = there is none
}

// newPage reads the paging headers of a request.
func newPage(header http.Header, text string) (*page, *iothub.Error) {
	space := pageBodies.Get().(*[]byte)
	p := &page{text: text, size: maxPage, space: space, body: append((*space)[:0], '[')}
	if s := header.Get("x-ms-max-item-count"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, errArgument("x-ms-max-item-count must be a number from 1 to 100.")
		}
		p.size = min(n, maxPage)
	}
	var ok bool
	if p.start, ok = parseCursor(header.Get("x-ms-continuation"), text); !ok {
		return nil, errArgument("The continuation token is not one of this query.")
	}
	return p, nil
}

// limit lets no more than top items come on all pages together; 0 is no limit.
func (p *page) limit(top int) {
	if left := max(0, top-int(p.start.given)); top > 0 && left <= p.size {
		p.size, p.last = left, true
	}
}

// full reports whether the page has no room for one more item.
func (p *page) full() bool {
	return p.items >= p.size || len(p.body) >= maxPageBytes && p.items > 0
}

// done reports whether there is neither room for one more item nor a page after this one.
func (p *page) done() bool { return p.last && p.items >= p.size }

// room reports whether the page has room for an item, which begins at that cursor; if not, the next page begins there.
func (p *page) room(at cursor) bool {
	if !p.full() {
		return true
	}
	if !p.done() {
		next := at // a copy, as only a full page lets it escape
		next.given = p.start.given + uint64(p.items)
		p.next = &next
	}
	return false
}

// begin prepares the body for one more item.
func (p *page) begin() {
	if p.items > 0 {
		p.body = append(p.body, ',')
	}
	p.items++
}

func (p *page) reply(itemType string) reply {
	a := reply{body: append(p.body, ']'), space: p.space, itemType: itemType}
	if p.next != nil {
		a.next = p.next.token(p.text)
	}
	return a
}
