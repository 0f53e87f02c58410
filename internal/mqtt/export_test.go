package mqtt

// BufferSize returns the size of the buffer that r holds now.
func (r *Reader) BufferSize() int { return len(r.buf) }
