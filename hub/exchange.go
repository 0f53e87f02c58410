package hub

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"muster/iothub"
)

const (
	bodyTimeout   = 30 * time.Second // for a request's body, from its header on
	answerTimeout = 30 * time.Second // for the client to take the answer
	closeTimeout  = time.Second      // the same once the hub closes

	knownBody = 64 << 10 // bytes: so much room is made for a body before it has come
)

// exchange is a request with its answer on their way. Its deadlines are those of the connection, as far as that has any;
// between body and answer there is none, since a method may take minutes.
type exchange struct {
	hub        *Hub
	w          http.ResponseWriter
	r          *http.Request
	guest      *guest
	control    *http.ResponseController
	authorized bool // by a good token
	complete   bool // the body was read to its end
}

// readBody reads the request's body. It ends when the hub does.
func (x *exchange) readBody() ([]byte, *iothub.Error) {
	if x.r.Body == nil || x.r.Body == http.NoBody {
		x.complete = true
		return nil, nil
	}
	_ = x.control.SetReadDeadline(time.Now().Add(bodyTimeout))
	release := x.whenClosed(func() { _ = x.control.SetReadDeadline(past) })
	body, err := x.readAll()
	release()
	var tooLarge *http.MaxBytesError
	switch {
	case x.hub.ctx.Err() != nil:
		return nil, errClosed()
	case errors.As(err, &tooLarge):
		x.hub.counters.badBodies.Add(1)
		return nil, errTooLarge("The request is larger than " + strconv.Itoa(maxBody) + " bytes.")
	case err != nil:
		x.hub.counters.badBodies.Add(1)
		return nil, errArgument("The request's body could not be read.")
	}
	x.complete = true
	_ = x.control.SetReadDeadline(time.Time{})
	return body, nil
}

// readAll reads the body, whose size most requests tell.
func (x *exchange) readAll() ([]byte, error) {
	n := x.r.ContentLength
	if n < 0 || n > knownBody {
		return io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxBody))
	}
	body := make([]byte, n)
	_, err := io.ReadFull(x.r.Body, body)
	return body, err
}

// whenClosed has f called if the hub closes before release is called. The hub closes the connections of its own servers
// itself, which ends whatever waits for them.
func (x *exchange) whenClosed(f func()) (release func() bool) {
	if x.guest.nc != nil {
		return func() bool { return true }
	}
	return context.AfterFunc(x.hub.ctx, f)
}

// dropBody makes the answer the last one on its connection, whose server would wait for the rest of the body otherwise.
func (x *exchange) dropBody() {
	if x.r.Body == nil || x.r.Body == http.NoBody {
		return
	}
	x.w.Header().Set("Connection", "close")
	_ = x.control.SetReadDeadline(past)
}

// write sends the answer.
func (x *exchange) write(answer func()) {
	timeout := answerTimeout
	if x.hub.ctx.Err() != nil {
		timeout = closeTimeout
	}
	_ = x.control.SetWriteDeadline(time.Now().Add(timeout))
	release := x.whenClosed(func() { _ = x.control.SetWriteDeadline(time.Now().Add(closeTimeout)) })
	answer()
	if err := x.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		x.hub.counters.lostAnswers.Add(1)
	}
	if release() {
		_ = x.control.SetWriteDeadline(time.Time{})
	}
}
