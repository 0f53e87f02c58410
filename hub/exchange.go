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
)

// exchange is a request with its answer on their way. Its deadlines are those of the connection, as far as that has any;
// between body and answer there is none, since a method may take minutes.
type exchange struct {
	hub        *Hub
	w          http.ResponseWriter
	r          *http.Request
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
	release := context.AfterFunc(x.hub.ctx, func() { _ = x.control.SetReadDeadline(past) })
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxBody))
	if !release() {
		return nil, errClosed()
	}
	var tooLarge *http.MaxBytesError
	switch {
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
	release := context.AfterFunc(x.hub.ctx, func() { _ = x.control.SetWriteDeadline(time.Now().Add(closeTimeout)) })
	answer()
	if err := x.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		x.hub.counters.lostAnswers.Add(1)
	}
	if release() {
		_ = x.control.SetWriteDeadline(time.Time{})
	}
}
