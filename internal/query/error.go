package query

import "muster/internal/caret"

// SyntaxError tells why and where a text is not a query or condition.
type SyntaxError struct {
	Query string // the text
	Off   int    // byte offset of the fault in Query
	Msg   string
}

// Error returns the place, counted in characters from one, and the fault.
func (e *SyntaxError) Error() string {
	return caret.Place(e.Query, e.Off) + ": " + e.Msg
}

// Caret returns the line of the query that holds the fault, and a line with a
// caret under the place.
func (e *SyntaxError) Caret() string { return caret.Draw(e.Query, e.Off) }
