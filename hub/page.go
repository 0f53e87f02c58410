package hub

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"math"
	"net/http"
	"slices"
	"strconv"

	"muster/internal/query"
	"muster/iothub"
)

// maxPage is the largest page of a query, and the usual one.
const maxPage = 100

// cursor is where a page ends: after that device; or before that row of that job. It names places in an order that
// changes of twins and jobs do not disturb, so that pages neither repeat nor skip.
type cursor struct {
	seq uint64 // of a device or job
	row uint64
}

// token returns the cursor as a continuation token of a query, opaque to clients.
func (c cursor) token(text string) string {
	b := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(text)))
	b = binary.AppendUvarint(binary.AppendUvarint(b, c.seq), c.row)
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor reads a token back; it must be one of the same query. An absent token is the beginning.
func parseCursor(token, text string) (c cursor, ok bool) {
	if token == "" {
		return cursor{}, true
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 6 || binary.BigEndian.Uint32(b) != crc32.ChecksumIEEE([]byte(text)) {
		return cursor{}, false
	}
	seq, n := binary.Uvarint(b[4:])
	if n <= 0 {
		return cursor{}, false
	}
	row, m := binary.Uvarint(b[4+n:])
	return cursor{seq, row}, m > 0 && row <= math.MaxInt32
}

// page is a request for a page of a query, and the answer to it while it is put together.
type page struct {
	text  string // what the continuation token belongs to
	size  int
	start cursor

	body  []byte // a JSON array without its end
	items int
	next  *cursor // where another page begins; nil = there is none
}

// newPage reads the paging headers of a request.
func newPage(header http.Header, text string) (*page, *iothub.Error) {
	p := &page{text: text, size: maxPage, body: []byte{'['}}
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

// room reports whether the page has room for an item, which begins at that cursor; if not, the next page begins there.
func (p *page) room(at cursor) bool {
	if p.items < p.size {
		return true
	}
	p.next = &at
	return false
}

// begin prepares the body for one more item.
func (p *page) begin() {
	if p.items > 0 {
		p.body = append(p.body, ',')
	}
	p.items++
}

// devices fills the page with the twins that a condition selects.
func (h *Hub) devices(ctx context.Context, p *page, where *query.Condition) *iothub.Error {
	last := p.start.seq
	m := matcher{where: where}
	for _, d := range h.candidates(where, p.start.seq) {
		if h.stopped(ctx) {
			return errClosed()
		}
		if !m.matches(d) {
			continue
		}
		if !p.room(cursor{seq: last}) {
			return nil
		}
		p.begin()
		d.snapshot(&m.row)
		p.body = m.row.appendTwin(p.body)
		last = d.seq
	}
	return nil
}

// deviceJobs fills the page with the job rows that a condition selects.
func (h *Hub) deviceJobs(ctx context.Context, p *page, where *query.Condition) *iothub.Error {
	ids, limited := where.JobIDs()
	for _, j := range h.jobs.from(p.start.seq) {
		if limited && !slices.Contains(ids, j.spec.id) {
			continue
		}
		first := 0
		if j.seq == p.start.seq {
			first = int(p.start.row)
		}
		if more, err := j.appendRows(ctx, p, where, first); err != nil || !more {
			return err
		}
	}
	return nil
}

// appendRows fills the page with rows of one job; it reports false when the page is full.
func (j *job) appendRows(ctx context.Context, p *page, where *query.Condition, first int) (bool, *iothub.Error) {
	var space [64]row
	r := &jobRow{job: j}
	for rows := j.chunk(first, space[:]); len(rows) > 0; rows = j.chunk(first, space[:]) {
		if j.hub.stopped(ctx) {
			return false, errClosed()
		}
		for i := range rows {
			r.row = &rows[i]
			if !where.Match(r) {
				continue
			}
			if !p.room(cursor{j.seq, uint64(first + i)}) {
				return false, nil
			}
			p.begin()
			p.body = r.append(p.body)
		}
		first += len(rows)
	}
	return true, nil
}
