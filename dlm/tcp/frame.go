package tcp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
)

// errFrame is the class of bytes that are no frame; the connection is of no more use.
var errFrame = errors.New("malformed frame")

const headerSize = 9

type message struct {
	channel byte
	body    []byte
}

func putHeader(h []byte, m message) {
	binary.LittleEndian.PutUint32(h, uint32(1+len(m.body)))
	h[8] = m.channel
	sum := crc32.Update(crc32.Checksum(h[8:headerSize], castagnoli), castagnoli, m.body)
	binary.LittleEndian.PutUint32(h[4:], sum)
}

// gather lays messages out for one write: small ones are copied behind each other into scratch, large ones go as
// they are.
func gather(messages []message, scratch []byte) (net.Buffers, []byte) {
	need := 0
	for _, m := range messages {
		need += headerSize
		if len(m.body) < copyBelow {
			need += len(m.body)
		}
	}
	if cap(scratch) < need {
		scratch = make([]byte, 0, 2*need)
	}
	scratch = scratch[:0] // never grows below, so parts stay where they are
	var parts net.Buffers
	start := 0
	for _, m := range messages {
		n := len(scratch)
		scratch = scratch[:n+headerSize]
		putHeader(scratch[n:], m)
		if len(m.body) < copyBelow {
			scratch = append(scratch, m.body...)
			continue
		}
		parts = append(parts, scratch[start:], m.body)
		start = len(scratch)
	}
	if start < len(scratch) {
		parts = append(parts, scratch[start:])
	}
	return parts, scratch
}

// readFrame reads one frame. The body is the caller's; it is not allocated before the length is known to be
// allowed.
func readFrame(r *bufio.Reader) (message, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return message{}, err
	}
	n := binary.LittleEndian.Uint32(h[:])
	if n == 0 || n > maxFrame {
		return message{}, fmt.Errorf("%w: length %d", errFrame, n)
	}
	m := message{channel: h[8], body: make([]byte, n-1)}
	if _, err := io.ReadFull(r, m.body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return message{}, err
	}
	want := binary.LittleEndian.Uint32(h[4:])
	if got := crc32.Update(crc32.Checksum(h[8:], castagnoli), castagnoli, m.body); got != want {
		return message{}, fmt.Errorf("%w: checksum %#x, want %#x", errFrame, got, want)
	}
	return m, nil
}
