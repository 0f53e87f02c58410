package hub

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/gorilla/websocket"
)

// Where and how the service speaks MQTT over WebSocket.
const (
	webSocketPath     = "/$iothub/websocket"
	webSocketProtocol = "mqtt"
)

// upgrader takes any origin: what a page may do is what its token proves.
var upgrader = websocket.Upgrader{
	HandshakeTimeout: connectTimeout,
	ReadBufferSize:   512,
	WriteBufferSize:  1024,
	WriteBufferPool:  &sync.Pool{}, // an idle connection has none
	Subprotocols:     []string{webSocketProtocol},
	CheckOrigin:      func(*http.Request) bool { return true },
	Error: func(w http.ResponseWriter, _ *http.Request, _ int, reason error) {
		writeError(w, errArgument(reason.Error()))
	},
}

// upgrade makes a request a device's connection. What the device sends with the request, before it has the answer,
// ends it.
func (h *Hub) upgrade(w http.ResponseWriter, r *http.Request) {
	if !slices.Contains(websocket.Subprotocols(r), webSocketProtocol) { // [MQTT-6.0.0-3]
		writeError(w, errArgument("The WebSocket's subprotocol must be mqtt."))
		return
	}
	below := wire{hub: h}
	ws, err := upgrader.Upgrade(hijacker{w, &below}, r, nil)
	if err != nil {
		h.log.Debug("WebSocket refused", "error", err) // the upgrader has answered
		return
	}
	messages := &stream{Conn: ws, below: &below}
	below.c.in, below.c.out = messages, messages
	h.welcome(below.c)
}

// hijacker gives the upgrader a wire for its connection.
type hijacker struct {
	http.ResponseWriter
	below *wire
}

// Hijack makes the connection a device's, and returns it as a wire.
func (j hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(j.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	j.below.Conn = nc
	j.below.c = newConn(j.below.hub, nc)
	return j.below, rw, nil
}

// wire is a device's network connection as its WebSocket sees it. A WebSocket does not survive a read that ran into its
// deadline; the device's connection moves deadlines on in the middle of a read (patient), so it must do that below the
// WebSocket.
type wire struct {
	net.Conn
	hub *Hub
	c   *conn
	err error // of the last read; for the reader alone
}

func (w *wire) Read(p []byte) (n int, err error) {
	n, err = patient{w.c}.Read(p)
	w.err = err
	return n, err
}

// Write fails once somebody has ended the connection: the WebSocket sets a deadline before each write, which may have
// replaced that of conn.end.
func (w *wire) Write(p []byte) (int, error) {
	if w.c.reason.Load() != uint32(endNone) {
		return 0, net.ErrClosed
	}
	return w.Conn.Write(p)
}

// stream is the bytes in a WebSocket's binary messages, however they are cut. It has one reader and one writer.
type stream struct {
	*websocket.Conn
	below   *wire
	message io.Reader // what is being read; nil = none
}

func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			kind, message, err := s.NextReader()
			if err != nil {
				return 0, s.cause(err)
			}
			if kind != websocket.BinaryMessage { // [MQTT-6.0.0-1]
				return 0, breach("a message that is not binary")
			}
			s.message = message
		}
		n, err := s.message.Read(p)
		if err == io.EOF {
			s.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, s.cause(err)
		}
	}
}

// cause returns the network's error if there was one, the peer's farewell as the end of the stream, and everything else
// as the peer's fault.
func (s *stream) cause(err error) error {
	var farewell *websocket.CloseError
	switch {
	case err == nil:
		return nil
	case s.below.err != nil:
		return s.below.err
	case errors.As(err, &farewell):
		return io.EOF
	}
	return breach(err.Error())
}

// Write sends one message.
func (s *stream) Write(p []byte) (int, error) {
	if err := s.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
