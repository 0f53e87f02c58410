package dialer

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// farewell bounds the writing of a WebSocket's last frame.
const farewell = time.Second

// stream is the bytes in a WebSocket's binary messages, however they are cut,
// as a net.Conn. It has one reader.
type stream struct {
	*websocket.Conn
	message io.Reader // what is being read; nil: none

	// writing lets one message be written at a time, as the lock inside of a
	// net.Conn does, which a WebSocket has not.
	writing sync.Mutex
}

// Read reads on in the present message, or in the next one.
func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			kind, message, err := s.NextReader()
			if err != nil {
				return 0, ended(err)
			}
			if kind != websocket.BinaryMessage { // [MQTT-6.0.0-1]
				return 0, errors.New("websocket: a message that is not binary")
			}
			s.message = message
		}
		n, err := s.message.Read(p)
		if err == io.EOF {
			s.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, ended(err)
		}
	}
}

// ended returns the end of the connection, with or without a farewell, as that
// of the stream: MQTT has its own.
func ended(err error) error {
	if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure) {
		return io.EOF
	}
	return err
}

// Write sends one message.
func (s *stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close says farewell and closes the connection.
func (s *stream) Close() error {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = s.WriteControl(websocket.CloseMessage, bye, time.Now().Add(farewell)) // it is over either way
	return s.Conn.Close()
}

// SetWriteDeadline sets the deadline of writes, which a WebSocket keeps without
// a lock.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both deadlines.
func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}
