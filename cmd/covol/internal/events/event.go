package events

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
	"unicode/utf8"
)

// Kind says what has happened.
type Kind string

// Kinds of events. They are words of scripts: new ones may come, none is renamed.
const (
	Mounted    Kind = "mounted"     // programs may use the mount
	Unmounted  Kind = "unmounted"   // it has ended, cleanly or not
	Joined     Kind = "joined"      // a node is in the view
	Left       Kind = "left"        // a node is out of it, in order
	Suspected  Kind = "suspected"   // no sign of life of a node
	Dead       Kind = "dead"        // and this is proven: the text says how
	Fenced     Kind = "fenced"      // a node cannot write any more
	Recovered  Kind = "recovered"   // what a dead node held is free again
	Replayed   Kind = "replayed"    // its journal has been brought home
	Paused     Kind = "paused"      // I/O waits
	Stalled    Kind = "stalled"     // I/O does not come back, heartbeats get through
	Resumed    Kind = "resumed"     // and goes on
	Withdrawn  Kind = "withdrawn"   // this node has stopped using the volume
	Aborted    Kind = "aborted"     // the end of a mount was forced
	Asked      Kind = "asked"       // a person has asked for something
	StoreFault Kind = "event-store" // events are missing, and why
)

// Event is one thing that has happened, as this node saw it. A zero field does not apply.
type Event struct {
	Time        time.Time `json:"time"`
	Kind        Kind      `json:"kind"`
	Node        string    `json:"node,omitempty"` // that it happened to
	Slot        *int      `json:"slot,omitempty"`
	Incarnation uint32    `json:"incarnation,omitempty"`
	Epoch       uint64    `json:"epoch,omitempty"`
	Text        string    `json:"text,omitempty"` // for people
}

// maxText bounds Event.Text, in bytes: errors may hold anything.
const maxText = 4 << 10

// cut bounds what an event takes.
func (e *Event) cut() {
	if len(e.Text) <= maxText {
		return
	}
	n := maxText
	for !utf8.RuneStart(e.Text[n]) {
		n--
	}
	e.Text = e.Text[:n] + "..."
}

// Keys of the store: 'e', the time and the number, so that order of keys is order of time.
const (
	eventPrefix = 'e'
	keySize     = 1 + 8 + 8
)

func eventKey(t time.Time, seq uint64) []byte {
	k := make([]byte, 0, keySize)
	k = append(k, eventPrefix)
	k = binary.BigEndian.AppendUint64(k, uint64(t.UnixNano()))
	return binary.BigEndian.AppendUint64(k, seq)
}

// seqOf is the number in a key.
func seqOf(key []byte) (uint64, error) {
	if len(key) != keySize || key[0] != eventPrefix {
		return 0, fmt.Errorf("key %x is none of an event", key)
	}
	return binary.BigEndian.Uint64(key[9:]), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errSpoilt = errors.New("checksum is wrong")

// seal puts a checksum of key and value before the value.
func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return append(binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(value)), sum), value...)
}

// unseal undoes seal.
func unseal(key, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 {
		return nil, errSpoilt
	}
	value := sealed[4:]
	if binary.LittleEndian.Uint32(sealed) != crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value) {
		return nil, errSpoilt
	}
	return value, nil
}

// encode is the value of an event under its key.
func (e *Event) encode(key []byte) ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return seal(key, b), nil
}

// decode reads the value of a key. Any bytes may come.
func decode(key, sealed []byte) (Event, error) {
	b, err := unseal(key, sealed)
	if err != nil {
		return Event{}, err
	}
	var e Event
	if err := json.Unmarshal(b, &e); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	return e, nil
}
