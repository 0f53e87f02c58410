package mqtt

import "errors"

// ErrTooLarge reports a packet larger than a limit: the Reader's, or what the
// protocol itself can carry.
var ErrTooLarge = errors.New("mqtt: packet too large")

// Error is a breach of MQTT 3.1.1: a malformed packet that was read, or one that
// was to be written. A connection that carried a malformed packet must be closed
// [MQTT-4.8.0-1].
type Error struct {
	Type   Type   // of the packet; 0 if it is not known
	Clause string // such as "MQTT-3.1.2-3"; empty where the standard gives the rule no id
	Msg    string // the rule that was broken; nothing of the packet is in it
}

// Error returns for instance "mqtt: CONNECT: reserved flag is set [MQTT-3.1.2-3]".
func (e *Error) Error() string {
	s := "mqtt: " + e.Msg
	if e.Type != 0 {
		s = "mqtt: " + e.Type.String() + ": " + e.Msg
	}
	if e.Clause != "" {
		s += " [" + e.Clause + "]"
	}
	return s
}

func fault(t Type, clause, msg string) error {
	return &Error{Type: t, Clause: clause, Msg: msg}
}
