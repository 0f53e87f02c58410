package hub

import (
	"context"

	"muster/internal/query"
	"muster/iothub"
)

// runQuery answers a query with one page of rows.
func (h *Hub) runQuery(r *request) (reply, *iothub.Error) {
	var doc struct {
		Query string `json:"query"`
	}
	if err := r.decode(&doc); err != nil {
		return reply{}, err
	}
	q, parseErr := query.Parse(doc.Query)
	if parseErr != nil {
		return reply{}, errArgument("The query is invalid: " + parseErr.Error())
	}
	p, err := newPage(r.Header, doc.Query)
	if err != nil {
		return reply{}, err
	}
	p.limit(q.Top)
	switch {
	case q.Source == query.DeviceJobs:
		err = h.deviceJobs(r.Context(), p, q.Where)
	case q.Grouped():
		err = h.groups(r.Context(), p, q)
	default:
		err = h.twins(r.Context(), p, q)
	}
	if err != nil {
		return reply{}, err
	}
	return p.reply(itemType(q)), nil
}

// itemType returns what a query's rows are, in the service's words.
func itemType(q *query.Query) string {
	switch {
	case !q.Whole():
		return "Raw"
	case q.Source == query.DeviceJobs:
		return "DeviceJob"
	}
	return "Twin"
}

// twins fills the page with the twins that a query selects, or with what its list takes of them. A row shows what it was
// selected for: nothing changes in between.
func (h *Hub) twins(ctx context.Context, p *page, q *query.Query) *iothub.Error {
	last := p.start.seq
	m := newMatcher(q.Source, q.Where, nil)
	m.whole()
	var twin []byte
	for d := range h.candidates(q.Source, q.Where, p.start.seq) {
		switch {
		case p.done():
			return nil
		case h.stopped(ctx):
			return errClosed()
		case !m.selects(d):
			continue
		case !p.room(cursor{seq: last}):
			return nil
		}
		p.begin()
		last = d.seq
		if q.Whole() {
			p.body = m.row.appendTwin(p.body)
			continue
		}
		twin = m.row.appendTwin(twin[:0])
		p.body = q.AppendRow(p.body, twin)
	}
	return nil
}

// groups fills the page with the groups of the twins that a query selects. Each page counts anew, and goes on after the
// values of the last group before it.
func (h *Hub) groups(ctx context.Context, p *page, q *query.Query) *iothub.Error {
	groups := q.Groups(p.start.key, p.size+1)
	m := newMatcher(q.Source, q.Where, q.Paths())
	for d := range h.candidates(q.Source, q.Where, 0) {
		if h.stopped(ctx) {
			return errClosed()
		}
		if m.selects(d) {
			groups.Add(&m.row)
		}
	}
	var last []byte
	for _, group := range groups.Rows() {
		if !p.room(cursor{key: last}) {
			return nil
		}
		p.begin()
		p.body = group.Append(p.body)
		last = group.Key()
	}
	return nil
}
