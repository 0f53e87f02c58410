package paho

import "github.com/eclipse/paho.mqtt.golang/packets"

// nullStore is a paho store that keeps nothing: a clean session resends
// nothing. It has no state, so that all clients may have the same.
type nullStore struct{}

func (nullStore) Open()                             {}
func (nullStore) Put(string, packets.ControlPacket) {}
func (nullStore) Get(string) packets.ControlPacket  { return nil }
func (nullStore) All() []string                     { return nil }
func (nullStore) Del(string)                        {}
func (nullStore) Close()                            {}
func (nullStore) Reset()                            {}
