package template

import "muster/internal/caret"

// SyntaxError tells why and where a text is not a template.
type SyntaxError struct {
	Template string // the text
	Off      int    // byte offset of the fault in Template
	Msg      string
}

// Error returns the place, counted in characters from one, and the fault.
func (e *SyntaxError) Error() string {
	return caret.Place(e.Template, e.Off) + ": " + e.Msg
}

// Caret returns the line of the template that holds the fault, and a line with
// a caret under the place.
func (e *SyntaxError) Caret() string { return caret.Draw(e.Template, e.Off) }

// PathError tells what is wrong with one entry of a tree.
type PathError struct {
	Path string // such as location.floors[2]; empty for the tree itself
	Err  error  // a *SyntaxError if the entry is a faulty template
}

// Error returns the path and what is wrong there.
func (e *PathError) Error() string {
	if e.Path == "" {
		return e.Err.Error()
	}
	return e.Path + ": " + e.Err.Error()
}

// Unwrap returns what is wrong, without the path.
func (e *PathError) Unwrap() error { return e.Err }
