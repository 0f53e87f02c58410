package memnet

// TryRead reads what has arrived as Read does, and never waits: if there is
// nothing to read its error is syscall.EAGAIN.
func (c *conn) TryRead(p []byte) (int, error) {
	n, err := c.in().tryRead(p)
	return n, c.readError(err)
}

// TellRead has tell called whenever there is something that a TryRead would not
// have returned before: bytes, the end, or the own Close. So a reader needs no
// goroutine that waits. tell is called by whoever writes or closes, with no lock
// held, and must not block. Deadlines are not told. What has happened before is
// not told either: who has set tell tries once.
func (c *conn) TellRead(tell func()) {
	h := c.in()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tell = tell
}
