package mqtt_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/internal/mqtt"
)

// The fuzz targets compare the codec with that of the paho client. What this one
// accepts, paho decodes to the same fields; what either encodes, the other decodes
// to the same fields. What this one refuses is not compared: paho fills short
// packets with zeros.

const fuzzLimit = 1 << 16

// toPaho decodes a packet and returns it as paho would.
func toPaho(h mqtt.Header, body []byte) (packets.ControlPacket, error) {
	header := packets.FixedHeader{
		MessageType:     byte(h.Type),
		Dup:             h.Flags&8 != 0,
		Qos:             h.Flags >> 1 & 3,
		Retain:          h.Flags&1 != 0,
		RemainingLength: len(body),
	}
	switch h.Type {
	case mqtt.TypeConnect:
		p, err := mqtt.ParseConnect(body)
		return connectToPaho(header, p), err
	case mqtt.TypeConnack:
		p, err := mqtt.ParseConnack(body)
		return &packets.ConnackPacket{FixedHeader: header, SessionPresent: p.SessionPresent, ReturnCode: p.Code}, err
	case mqtt.TypePublish:
		p, err := mqtt.ParsePublish(h, body)
		header.Dup, header.Qos, header.Retain = p.Dup, p.QoS, p.Retain
		return &packets.PublishPacket{FixedHeader: header, TopicName: string(p.Topic), MessageID: p.ID, Payload: p.Payload}, err
	case mqtt.TypeSubscribe:
		p, err := mqtt.ParseSubscribe(body)
		out := &packets.SubscribePacket{FixedHeader: header, MessageID: p.ID}
		for f := range p.Filters() {
			out.Topics, out.Qoss = append(out.Topics, string(f.Topic)), append(out.Qoss, f.QoS)
		}
		return out, err
	case mqtt.TypeSuback:
		p, err := mqtt.ParseSuback(body)
		return &packets.SubackPacket{FixedHeader: header, MessageID: p.ID, ReturnCodes: p.Codes}, err
	case mqtt.TypeUnsubscribe:
		p, err := mqtt.ParseUnsubscribe(body)
		out := &packets.UnsubscribePacket{FixedHeader: header, MessageID: p.ID}
		for f := range p.Filters() {
			out.Topics = append(out.Topics, string(f))
		}
		return out, err
	}
	return plainToPaho(h.Type, header, body)
}

// plainToPaho is toPaho of the packets that hold an identifier or nothing.
func plainToPaho(t mqtt.Type, header packets.FixedHeader, body []byte) (packets.ControlPacket, error) {
	switch t {
	case mqtt.TypePingreq:
		return &packets.PingreqPacket{FixedHeader: header}, nil
	case mqtt.TypePingresp:
		return &packets.PingrespPacket{FixedHeader: header}, nil
	case mqtt.TypeDisconnect:
		return &packets.DisconnectPacket{FixedHeader: header}, nil
	}
	id, err := mqtt.ParseAck(body)
	switch t {
	case mqtt.TypePuback:
		return &packets.PubackPacket{FixedHeader: header, MessageID: id}, err
	case mqtt.TypePubrec:
		return &packets.PubrecPacket{FixedHeader: header, MessageID: id}, err
	case mqtt.TypePubrel:
		return &packets.PubrelPacket{FixedHeader: header, MessageID: id}, err
	case mqtt.TypePubcomp:
		return &packets.PubcompPacket{FixedHeader: header, MessageID: id}, err
	case mqtt.TypeUnsuback:
		return &packets.UnsubackPacket{FixedHeader: header, MessageID: id}, err
	}
	return nil, fmt.Errorf("reader let %v pass", t)
}

func connectToPaho(header packets.FixedHeader, p mqtt.Connect) *packets.ConnectPacket {
	return &packets.ConnectPacket{
		FixedHeader:      header,
		ProtocolName:     string(p.Protocol),
		ProtocolVersion:  p.Level,
		CleanSession:     p.CleanSession,
		WillFlag:         p.HasWill,
		WillQos:          p.WillQoS,
		WillRetain:       p.WillRetain,
		UsernameFlag:     p.HasUsername,
		PasswordFlag:     p.HasPassword,
		Keepalive:        p.KeepAlive,
		ClientIdentifier: string(p.ClientID),
		WillTopic:        string(p.WillTopic),
		WillMessage:      p.WillPayload,
		Username:         string(p.Username),
		Password:         p.Password,
	}
}

// appendPacket encodes a packet that toPaho returned. It reports false for those
// that the package does not encode.
func appendPacket(dst []byte, packet packets.ControlPacket) ([]byte, bool, error) {
	var err error
	switch p := packet.(type) {
	case *packets.ConnectPacket:
		if p.ProtocolVersion != 4 {
			return dst, false, nil
		}
		dst, err = mqtt.AppendConnect(dst, connectFromPaho(p))
	case *packets.ConnackPacket:
		dst = mqtt.AppendConnack(dst, p.SessionPresent, p.ReturnCode)
	case *packets.PublishPacket:
		dst, err = mqtt.AppendPublish(dst, publishFromPaho(p))
	case *packets.PubackPacket:
		dst = mqtt.AppendPuback(dst, p.MessageID)
	case *packets.SubscribePacket:
		dst, err = mqtt.AppendSubscribe(dst, p.MessageID, filtersFromPaho(p)...)
	case *packets.SubackPacket:
		dst = mqtt.AppendSuback(dst, p.MessageID, p.ReturnCodes...)
	case *packets.UnsubscribePacket:
		filters := make([][]byte, len(p.Topics))
		for i, topic := range p.Topics {
			filters[i] = []byte(topic)
		}
		dst, err = mqtt.AppendUnsubscribe(dst, p.MessageID, filters...)
	case *packets.UnsubackPacket:
		dst = mqtt.AppendUnsuback(dst, p.MessageID)
	case *packets.PingreqPacket:
		dst = mqtt.AppendPingreq(dst)
	case *packets.PingrespPacket:
		dst = mqtt.AppendPingresp(dst)
	case *packets.DisconnectPacket:
		dst = mqtt.AppendDisconnect(dst)
	default:
		return dst, false, nil
	}
	return dst, true, err
}

func connectFromPaho(p *packets.ConnectPacket) mqtt.Connect {
	return mqtt.Connect{
		Protocol:     []byte(p.ProtocolName),
		Level:        p.ProtocolVersion,
		CleanSession: p.CleanSession,
		KeepAlive:    p.Keepalive,
		ClientID:     []byte(p.ClientIdentifier),
		HasUsername:  p.UsernameFlag,
		Username:     []byte(p.Username),
		HasPassword:  p.PasswordFlag,
		Password:     p.Password,
		HasWill:      p.WillFlag,
		WillRetain:   p.WillRetain,
		WillQoS:      p.WillQos,
		WillTopic:    []byte(p.WillTopic),
		WillPayload:  p.WillMessage,
	}
}

func publishFromPaho(p *packets.PublishPacket) mqtt.Publish {
	return mqtt.Publish{
		Topic: []byte(p.TopicName), Payload: p.Payload,
		ID: p.MessageID, QoS: p.Qos, Retain: p.Retain, Dup: p.Dup,
	}
}

func filtersFromPaho(p *packets.SubscribePacket) []mqtt.Filter {
	filters := make([]mqtt.Filter, len(p.Topics))
	for i, topic := range p.Topics {
		filters[i] = mqtt.Filter{Topic: []byte(topic), QoS: p.Qoss[i]}
	}
	return filters
}

// decode decodes the one packet in wire.
func decode(wire []byte) (packets.ControlPacket, error) {
	r := mqtt.NewReader(bytes.NewReader(wire), mqtt.MaxPacket)
	h, body, err := r.Next()
	if err != nil {
		return nil, err
	}
	p, err := toPaho(h, body)
	if err != nil {
		return nil, err
	}
	if _, _, err := r.Next(); err != io.EOF {
		return nil, fmt.Errorf("behind the packet: %w", err)
	}
	return p, nil
}

// same compares packets; the length of the other encoder's header may differ.
func same(t *testing.T, what string, want, got packets.ControlPacket) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s differs (-want +got):\n%s", what, diff)
	}
}

// checkEncoders encodes a packet that this codec holds for well formed with both,
// and decodes what each wrote with both.
func checkEncoders(t *testing.T, want packets.ControlPacket) {
	t.Helper()
	var theirs bytes.Buffer
	if err := want.Write(&theirs); err != nil { // this also sets the remaining length
		t.Fatalf("paho cannot encode %v: %v", want, err)
	}
	wires := map[string][]byte{"paho's": theirs.Bytes()}
	ours, ok, err := appendPacket(nil, want)
	if err != nil {
		t.Fatalf("cannot encode %v: %v", want, err)
	}
	if ok {
		wires["our"] = ours
		if !bytes.Equal(ours, theirs.Bytes()) {
			t.Fatalf("encodings of %v differ:\nours %x\npaho %x", want, ours, theirs.Bytes())
		}
	}
	for whose, wire := range wires {
		got, err := decode(wire)
		if err != nil {
			t.Fatalf("cannot decode %s encoding %x: %v", whose, wire, err)
		}
		same(t, whose+" encoding decoded by us", want, got)
		got, err = packets.ReadPacket(bytes.NewReader(wire))
		if err != nil {
			t.Fatalf("paho cannot decode %s encoding %x: %v", whose, wire, err)
		}
		same(t, whose+" encoding decoded by paho", want, got)
	}
}

// FuzzStream reads a stream of packets with both codecs.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		"c000 d000 e000",
		"10 10 0004 4d515454 04 02 003c 0004 64657631",
		"10 24 0004 4d515454 04 f6 003c 0004 64657631 0001 77 0002 6279 0003 757372 0006 7061737377 64",
		"10 07 0004 4d515454 05",
		"10 0a 0006 4d5149736470 03 02",
		"2002 0000 2002 0005 2002 0100",
		"30 07 0003 612f62 6869",
		"3b 07 0001 61 0001 6869",
		"34 05 0001 61 0001",
		"3085 8080 00 0001 61 6263",
		"4002 0001 5002 0002 6202 0003 7002 0004 b002 0005",
		"82 0e 0001 0003 612f62 01 0003 2b2f23 00",
		"90 05 0001 00 01 80",
		"a2 0a 0001 0003 612f62 0001 23",
		"30ffffff7f",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		src := bytes.NewReader(stream)
		r := mqtt.NewReader(iotest.OneByteReader(src), fuzzLimit) // never reads ahead of a packet
		for start := 0; ; {
			h, body, err := r.Next()
			if err != nil {
				return
			}
			wire := stream[start : len(stream)-src.Len()]
			start += len(wire)
			ours, err := toPaho(h, body)
			if err != nil {
				return
			}
			theirs, err := packets.ReadPacket(bytes.NewReader(wire))
			if c, ok := ours.(*packets.ConnectPacket); ok && c.ProtocolVersion != 4 {
				theirs, ok := theirs.(*packets.ConnectPacket) // we read no further, so paho may fail
				if !ok || theirs.ProtocolName != c.ProtocolName || theirs.ProtocolVersion != c.ProtocolVersion {
					t.Fatalf("paho reads %x as %v", wire, theirs)
				}
				continue
			}
			if err != nil {
				t.Fatalf("paho refuses %x: %v", wire, err)
			}
			same(t, "packet decoded by paho", ours, theirs)
			checkEncoders(t, ours)
		}
	})
}

// FuzzConnect encodes a CONNECT of any fields.
func FuzzConnect(f *testing.F) {
	f.Add(uint8(0x02), uint16(60), "dev1", "", []byte(nil), "", []byte(nil))
	f.Add(uint8(0xf6), uint16(0), "", "w/t", []byte("gone"), "user", []byte("pass"))
	f.Add(uint8(0xc2), uint16(65535), "é", "", []byte{}, "hub/dev/?api-version=2021-04-12", []byte("\xff\x00"))
	f.Add(uint8(0x1c), uint16(1), "dev\x00", "#", []byte{}, "\xff", []byte{})
	f.Fuzz(func(t *testing.T, flags uint8, keepAlive uint16, id, willTopic string, will []byte, user string, password []byte) {
		p := &packets.ConnectPacket{
			FixedHeader:  packets.FixedHeader{MessageType: packets.Connect},
			ProtocolName: "MQTT", ProtocolVersion: 4,
			CleanSession: flags&2 != 0, WillFlag: flags&4 != 0, WillQos: flags >> 3 & 3, WillRetain: flags&0x20 != 0,
			PasswordFlag: flags&0x40 != 0, UsernameFlag: flags&0x80 != 0,
			Keepalive: keepAlive, ClientIdentifier: id,
		}
		if p.WillFlag {
			p.WillTopic, p.WillMessage = willTopic, will
		}
		if p.UsernameFlag {
			p.Username = user
		}
		if p.PasswordFlag {
			p.Password = password
		}
		if _, err := mqtt.AppendConnect(nil, connectFromPaho(p)); err == nil {
			checkEncoders(t, p)
		}
	})
}

// FuzzPublish encodes a PUBLISH of any fields.
func FuzzPublish(f *testing.F) {
	f.Add(uint8(0), uint16(0), "devices/dev1/messages/events/", []byte(`{"t":1}`))
	f.Add(uint8(0x3), uint16(1), "$iothub/methods/POST/lockDoor/?$rid=1", []byte{})
	f.Add(uint8(0xc), uint16(65535), "é", []byte("\xff"))
	f.Add(uint8(0x6), uint16(0), "a/+", []byte(nil))
	f.Fuzz(func(t *testing.T, flags uint8, id uint16, topic string, payload []byte) {
		p := &packets.PublishPacket{
			FixedHeader: packets.FixedHeader{
				MessageType: packets.Publish,
				Dup:         flags&8 != 0, Qos: flags >> 1 & 3, Retain: flags&1 != 0,
			},
			TopicName: topic, MessageID: id, Payload: payload,
		}
		if _, err := mqtt.AppendPublish(nil, publishFromPaho(p)); err == nil {
			checkEncoders(t, p)
		}
	})
}

// FuzzSubscribe encodes a SUBSCRIBE and an UNSUBSCRIBE of any two filters.
func FuzzSubscribe(f *testing.F) {
	f.Add(uint16(1), "$iothub/methods/POST/#", uint8(0), "$iothub/twin/res/#", uint8(1))
	f.Add(uint16(0), "a/+/b", uint8(2), "+", uint8(3))
	f.Add(uint16(65535), "+/#", uint8(2), "#/a", uint8(0))
	f.Fuzz(func(t *testing.T, id uint16, a string, qosA uint8, b string, qosB uint8) {
		header := packets.FixedHeader{MessageType: packets.Subscribe, Qos: 1}
		s := &packets.SubscribePacket{
			FixedHeader: header, MessageID: id,
			Topics: []string{a, b}, Qoss: []byte{qosA, qosB},
		}
		if _, err := mqtt.AppendSubscribe(nil, id, filtersFromPaho(s)...); err != nil {
			return
		}
		checkEncoders(t, s)
		header.MessageType = packets.Unsubscribe
		checkEncoders(t, &packets.UnsubscribePacket{FixedHeader: header, MessageID: id, Topics: s.Topics})
	})
}

// FuzzReader reads a stream in pieces of any size and wants the same packets and
// the same error as in one piece.
func FuzzReader(f *testing.F) {
	f.Add(unhex(f, "c000 3007 0003 612f62 6869"), uint8(1))
	f.Add(bytes.Repeat(unhex(f, "c000 3007 0003 612f62 6869"), 200), uint8(100))
	large, _ := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte("t"), Payload: make([]byte, 3000)})
	f.Add(append(large, 0xc0, 0), uint8(250))
	f.Fuzz(func(t *testing.T, stream []byte, chunk uint8) {
		want, wantErr := readAll(mqtt.NewReader(bytes.NewReader(stream), fuzzLimit))
		src := bytes.NewReader(stream)
		got, err := readAll(mqtt.NewReader(readerFunc(func(p []byte) (int, error) {
			return src.Read(p[:min(len(p), 1+int(chunk))])
		}), fuzzLimit))
		if diff := cmp.Diff(want, got); diff != "" || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("in pieces of %d: %v, want %v (-want +got):\n%s", 1+int(chunk), err, wantErr, diff)
		}
	})
}
