package iothub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
)

// MaxPage is how many rows a page of results may have.
const MaxPage = 100

// Canonical names of the headers that page results.
const (
	headerContinuation = "X-Ms-Continuation"
	headerMaxItems     = "X-Ms-Max-Item-Count"
)

// Query runs a query and yields its rows one by one, each a value of its own.
// Pages of up to pageSize rows are asked for as they are needed; 0 leaves the
// size to the hub. It ends after an error.
func (c *Client) Query(ctx context.Context, sql string, pageSize int) iter.Seq2[json.RawMessage, error] {
	return c.rows(ctx, query(sql), pageSize, true)
}

// DeviceIDs yields the ids of the devices that a condition matches, the text
// after WHERE, and of all devices for an empty one. Pages and errors are as in
// Query. It asks for ids alone: twins are many times as much to write and to
// read.
func (c *Client) DeviceIDs(ctx context.Context, condition string, pageSize int) iter.Seq2[string, error] {
	sql := "SELECT deviceId FROM devices"
	if condition != "" {
		sql += " WHERE " + condition
	}
	return func(yield func(string, error) bool) {
		for row, err := range c.rows(ctx, query(sql), pageSize, false) {
			var id string
			if err == nil {
				id, err = readID(row)
			}
			if !yield(id, err) || err != nil {
				return
			}
		}
	}
}

// readID reads a row that has nothing but a device's id.
func readID(row []byte) (id string, err error) {
	value, ok := member(row, "deviceId")
	switch {
	case ok && plain(value):
		id = string(value[1 : len(value)-1])
	case ok:
		err = json.Unmarshal(value, &id)
	}
	if err != nil || id == "" {
		return "", errNoID
	}
	return id, nil
}

var errNoID = errors.New("read a row: it has no deviceId")

// query is the call that runs a query.
func query(sql string) call {
	body := marshal(struct {
		Query string `json:"query"`
	}{sql})
	return call{doing: "query", method: http.MethodPost, path: "/devices/query", body: body, repeat: always}
}

// rows makes a call page by page and yields the rows. Unless they are to be
// kept, each is valid until the next one.
func (c *Client) rows(ctx context.Context, k call, pageSize int, kept bool) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		k := k
		k.header = http.Header{}
		if pageSize > 0 {
			k.header.Set(headerMaxItems, strconv.Itoa(pageSize))
		}
		var p page
		k.read = p.read
		for {
			if kept {
				p.rows = nil
			}
			if _, err := c.do(ctx, k); err != nil {
				yield(nil, err)
				return
			}
			if !p.each(yield) || p.next == "" {
				return
			}
			k.header.Set(headerContinuation, p.next)
		}
	}
}

// page is one answer to a paged call.
type page struct {
	rows []byte // a JSON array
	next string // the token of the next page; empty for none
}

var errPage = errors.New("not a JSON array")

func (p *page) read(header http.Header, body []byte) error {
	i := skipSpace(body, 0)
	if !valid(body) || body[i] != '[' {
		return errPage
	}
	p.rows = append(p.rows[:0], body...)
	p.next = header.Get(headerContinuation)
	return nil
}

// each yields the rows of the page, and reports whether more are wanted.
func (p *page) each(yield func(json.RawMessage, error) bool) bool {
	for m := membersOf(p.rows); ; {
		_, row, ok := m.next()
		if !ok {
			return true
		}
		if !yield(row[:len(row):len(row)], nil) {
			return false
		}
	}
}

// decoded turns rows into values, which keep nothing of them.
func decoded[T any](rows iter.Seq2[json.RawMessage, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row, err := range rows {
			var v T
			if err == nil {
				if err = json.Unmarshal(row, &v); err != nil {
					err = fmt.Errorf("read a row: %w", err)
				}
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// parameter returns one more parameter of a URL, nothing for an empty value.
func parameter(name, value string) string {
	if value == "" {
		return ""
	}
	return "&" + name + "=" + url.QueryEscape(value)
}
