package wire

import (
	"fmt"

	"github.com/covol/covol/cluster/view"
)

// Resource is the name of a thing that is locked.
type Resource struct {
	Kind uint8
	ID   uint64
}

const resourceSize = 9

// Kind is the first byte of a message.
type Kind uint8

// The kinds of messages. Numbers are never used again for something else.
const (
	KindLookup Kind = 1 + iota
	KindMaster
	KindDrop
	KindRequest
	KindGrant
	KindDeny
	KindCancel
	KindRelease
	KindBlocking
	KindRegister
	KindMarkers
	KindClaims
	KindReady
	KindDone
	kinds
)

// Kinds is one more than the highest kind.
const Kinds = int(kinds)

// Message is one of the message types of this package, by pointer.
type Message interface {
	Kind() Kind
	walk(*coder)
}

var makers = [kinds]struct {
	name, way, doc string
	make           func() Message
}{
	KindLookup:   {"Lookup", "user → directory", "who is the master of the resource? If nobody: I.", func() Message { return new(Lookup) }},
	KindMaster:   {"Master", "directory → user", "answer to Lookup and Claims.", func() Message { return new(Master) }},
	KindDrop:     {"Drop", "master → directory", "nobody holds or waits; I am the master no more.", func() Message { return new(Drop) }},
	KindRequest:  {"Request", "user → master", "a new lock, or a conversion of the one held.", func() Message { return new(Request) }},
	KindGrant:    {"Grant", "master → user", "the user holds the mode from now on.", func() Message { return new(Grant) }},
	KindDeny:     {"Deny", "master → user", "the request is over without a grant.", func() Message { return new(Deny) }},
	KindCancel:   {"Cancel", "user → master", "take the request out of the queue and deny it.", func() Message { return new(Cancel) }},
	KindRelease:  {"Release", "user → master", "the user holds no more than the mode, with its value block if it wrote one.", func() Message { return new(Release) }},
	KindBlocking: {"Blocking", "master → holder", "someone waits for a mode that the holder's does not allow.", func() Message { return new(Blocking) }},
	KindRegister: {"Register", "master → directory", "rebuild: all resources that the sender masters in the receiver's share.", func() Message { return new(Register) }},
	KindMarkers:  {"Markers", "directory → new directory", "rebuild: resources whose master is gone; not to be taken for unused.", func() Message { return new(Markers) }},
	KindClaims:   {"Claims", "holder → directory", "rebuild: what the sender holds of resources without a known master.", func() Message { return new(Claims) }},
	KindReady:    {"Ready", "member → all members", "rebuild: all my parts are sent.", func() Message { return new(Ready) }},
	KindDone:     {"Done", "member → all members", "rebuild: I have the Ready of all.", func() Message { return new(Done) }},
}

// String is the name of the message.
func (k Kind) String() string {
	if k > 0 && k < kinds {
		return makers[k].name
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Append encodes m behind b.
func Append(b []byte, m Message) []byte {
	c := coder{op: encoding, b: append(b, byte(m.Kind()))}
	m.walk(&c)
	return c.b
}

// Decode is the reverse of Append. Nothing of b is kept.
func Decode(b []byte) (Message, error) {
	if len(b) == 0 || b[0] == 0 || b[0] >= byte(kinds) {
		return nil, fmt.Errorf("%w: unknown kind", ErrMalformed)
	}
	m := makers[b[0]].make()
	c := coder{op: decoding, b: b[1:]}
	m.walk(&c)
	if c.err == nil && len(c.b) > 0 {
		c.fail("end", fmt.Sprintf("%d bytes too many", len(c.b)))
	}
	if c.err != nil {
		return nil, fmt.Errorf("%s: %w", m.Kind(), c.err)
	}
	return m, nil
}

// FrameSize is the size of a frame's header in bytes.
const FrameSize = 34

// Frame is the header of one datagram between two lives of two nodes.
type Frame struct {
	From  view.NodeID      // the sender; its slot must be the one the transport names
	To    view.Incarnation // the receiver's life that is meant
	Epoch view.Epoch       // the sender's epoch at the moment of sending
	Seq   uint64           // number of the message, from 1 for this pair of lives; 0: none inside
	Ack   uint64           // every message of the other direction up to this number has been received
}

func (f *Frame) walk(c *coder) {
	c.node("from", &f.From, "slot (le16) and incarnation (le32) of the sender")
	c.u32("to", (*uint32)(&f.To), "incarnation of the receiver that is meant")
	c.u64("epoch", (*uint64)(&f.Epoch), "the sender's epoch at the moment of sending")
	c.u64("seq", &f.Seq, "number of the message inside, from 1 for this pair of lives; 0: none, acknowledges only")
	c.u64("ack", &f.Ack, "every message of the other direction up to this number has arrived")
}

// AppendFrame encodes the header behind b; the message follows it.
func AppendFrame(b []byte, f *Frame) []byte {
	c := coder{op: encoding, b: b}
	f.walk(&c)
	return c.b
}

// DecodeFrame splits a datagram into its header and the message, which shares b.
func DecodeFrame(b []byte) (f Frame, message []byte, err error) {
	c := coder{op: decoding, b: b}
	f.walk(&c)
	if c.err == nil && (f.Seq == 0) != (len(c.b) == 0) {
		c.fail("seq", "a number without a message, or the reverse")
	}
	if c.err != nil {
		return Frame{}, nil, fmt.Errorf("frame: %w", c.err)
	}
	return f, c.b, nil
}
