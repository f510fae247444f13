package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/covol/covol/cluster/view"
)

// ErrMalformed is the class of everything that is wrong with bytes from the network.
var ErrMalformed = errors.New("malformed lock message")

// MaxValue is the size of the largest lock value block, in bytes.
const MaxValue = 64

const maxMode = 5

// Field is one line of a message's table.
type Field struct{ Name, Type, Doc string }

type operation uint8

const (
	encoding operation = iota
	decoding
	describing
)

// coder is one reading of a message's description.
type coder struct {
	op     operation
	b      []byte // appended to when encoding, consumed when decoding
	err    error
	fields []Field
	prefix string
}

func (c *coder) field(name, typ, doc string) bool {
	if c.op == describing {
		c.fields = append(c.fields, Field{c.prefix + name, typ, doc})
		return false
	}
	return c.err == nil
}

func (c *coder) fail(name, why string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s: %s", ErrMalformed, name, why)
	}
}

// take consumes n bytes when decoding; zero bytes stand in once an error is found.
func (c *coder) take(name string, n int) []byte {
	if c.err != nil || len(c.b) < n {
		c.fail(name, "cut short")
		return make([]byte, n)
	}
	p := c.b[:n:n]
	c.b = c.b[n:]
	return p
}

func (c *coder) raw8(name string, v *uint8) {
	if c.op == encoding {
		c.b = append(c.b, *v)
		return
	}
	*v = c.take(name, 1)[0]
}

func (c *coder) raw16(name string, v *uint16) {
	if c.op == encoding {
		c.b = binary.LittleEndian.AppendUint16(c.b, *v)
		return
	}
	*v = binary.LittleEndian.Uint16(c.take(name, 2))
}

func (c *coder) raw32(name string, v *uint32) {
	if c.op == encoding {
		c.b = binary.LittleEndian.AppendUint32(c.b, *v)
		return
	}
	*v = binary.LittleEndian.Uint32(c.take(name, 4))
}

func (c *coder) raw64(name string, v *uint64) {
	if c.op == encoding {
		c.b = binary.LittleEndian.AppendUint64(c.b, *v)
		return
	}
	*v = binary.LittleEndian.Uint64(c.take(name, 8))
}

func (c *coder) u64(name string, v *uint64, doc string) {
	if c.field(name, "le64", doc) {
		c.raw64(name, v)
	}
}

func (c *coder) u32(name string, v *uint32, doc string) {
	if c.field(name, "le32", doc) {
		c.raw32(name, v)
	}
}

func (c *coder) epoch(v *view.Epoch) {
	if c.field("epoch", "le64", "the epoch it belongs to; in any other it is dropped") {
		c.raw64("epoch", (*uint64)(v))
	}
}

func (c *coder) rawResource(name string, v *Resource) {
	c.raw8(name, &v.Kind)
	c.raw64(name, &v.ID)
}

func (c *coder) resource(v *Resource) {
	if c.field("resource", "resource", "kind (u8) and number (le64)") {
		c.rawResource("resource", v)
	}
}

func (c *coder) rawNode(name string, v *view.NodeID) {
	c.raw16(name, (*uint16)(&v.Slot))
	c.raw32(name, (*uint32)(&v.Incarnation))
}

func (c *coder) node(name string, v *view.NodeID, doc string) {
	if c.field(name, "node", doc) {
		c.rawNode(name, v)
	}
}

// upTo is a byte of at most max.
func (c *coder) upTo(name, typ string, v *uint8, max uint8, doc string) {
	if !c.field(name, typ, doc) {
		return
	}
	c.raw8(name, v)
	if *v > max {
		c.fail(name, fmt.Sprintf("%d is above %d", *v, max))
	}
}

func (c *coder) mode(name string, v *uint8, doc string) { c.upTo(name, "mode", v, maxMode, doc) }

func (c *coder) flag(name string, v *bool, doc string) {
	if !c.field(name, "bool", doc) {
		return
	}
	var b uint8
	if *v {
		b = 1
	}
	c.raw8(name, &b)
	if b > 1 {
		c.fail(name, "neither 0 nor 1")
	}
	*v = b == 1
}

// value is a value block: a length byte and as many bytes.
func (c *coder) value(name string, v *[]byte, doc string) {
	if !c.field(name, "bytes8", doc) {
		return
	}
	n := uint8(len(*v))
	c.raw8(name, &n)
	if n > MaxValue {
		c.fail(name, fmt.Sprintf("%d bytes, at most %d", n, MaxValue))
		return
	}
	if c.op == encoding {
		c.b = append(c.b, *v...)
		return
	}
	*v = nil
	if n > 0 {
		*v = append([]byte(nil), c.take(name, int(n))...)
	}
}

// list is a count and as many items of at least size bytes each, so that a count that the bytes cannot hold is
// refused before anything is allocated.
func list[T any](c *coder, name, typ, doc string, v *[]T, size int, item func(*coder, *T)) {
	if !c.field(name, typ, doc) {
		if c.op == describing && typ == "list" {
			outer := c.prefix
			c.prefix += name + "."
			item(c, new(T))
			c.prefix = outer
		}
		return
	}
	n := uint32(len(*v))
	c.raw32(name, &n)
	if c.op == decoding {
		if int64(n)*int64(size) > int64(len(c.b)) {
			c.fail(name, fmt.Sprintf("%d items in %d bytes", n, len(c.b)))
			return
		}
		*v = nil
		if n > 0 {
			*v = make([]T, n)
		}
	}
	for i := range *v {
		item(c, &(*v)[i])
	}
}

func (c *coder) resources(name string, v *[]Resource, doc string) {
	list(c, name, "resources", doc, v, resourceSize, func(c *coder, r *Resource) { c.rawResource(name, r) })
}

func (c *coder) nodes(name string, v *[]view.NodeID, doc string) {
	list(c, name, "nodes", doc, v, 6, func(c *coder, n *view.NodeID) { c.rawNode(name, n) })
}
