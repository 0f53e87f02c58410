package report

import "io"

func (r *Report) writePage(w io.Writer) error { return nil }
