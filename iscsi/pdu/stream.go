package pdu

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Faults of a peer's bytes; test with errors.Is. None of them can be mended on a connection: at error recovery level 0
// it is dropped (RFC 7143 7.6).
var (
	ErrHeaderDigest = errors.New("header digest is wrong")
	ErrDataDigest   = errors.New("data digest is wrong")
	ErrTooLong      = errors.New("segment is longer than was agreed")
	ErrMalformed    = errors.New("malformed PDU")
)

// castagnoli is the polynomial of both digests (RFC 7143 13.1).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// digest is the CRC32C in the byte order of the wire, which is the reverse of numbers' (RFC 3720 B.4 shows it).
func digest(d uint32) [4]byte {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], d)
	return b
}

// pad is how many zero bytes follow a segment of n bytes (11.1).
func pad(n int) int { return -n & 3 }

// Reader takes PDUs from a stream. Fields may be changed between PDUs. Not for concurrent use.
type Reader struct {
	HeaderDigest, DataDigest bool
	MaxData                  int // bytes, of one data segment
	MaxAHS                   int // bytes, of all additional header segments

	r    *bufio.Reader
	left int // of a data segment that was not taken yet
}

// NewReader returns a Reader without digests that takes segments of maxData bytes.
func NewReader(r io.Reader, maxData int) *Reader {
	return &Reader{MaxData: maxData, MaxAHS: 64, r: bufio.NewReaderSize(r, 64<<10)}
}

// Header reads a header and its additional segments, nil if there are none. The caller must take the data segment with
// Data or Skip before the next call. io.EOF means that the stream ended between PDUs.
func (r *Reader) Header() (*Header, []byte, error) {
	if r.left != 0 {
		return nil, nil, fmt.Errorf("%w: data segment was not read", ErrMalformed)
	}
	h := new(Header)
	if _, err := io.ReadFull(r.r, h[:]); err != nil {
		return nil, nil, err
	}
	ahs, err := r.additional(h)
	if err != nil {
		return nil, nil, err
	}
	if n := int(h.Get(DataLength)); n > r.MaxData {
		return nil, nil, fmt.Errorf("%w: %d bytes of data, at most %d", ErrTooLong, n, r.MaxData)
	} else if r.left = n; n > 0 && !Layouts[h.Op()].Data {
		return nil, nil, fmt.Errorf("%w: %v with data", ErrMalformed, h.Op())
	}
	return h, ahs, nil
}

// additional reads what lies between the basic header and the data, and checks the digest.
func (r *Reader) additional(h *Header) ([]byte, error) {
	n := 4 * int(h.Get(AHSLength))
	if n > r.MaxAHS {
		return nil, fmt.Errorf("%w: %d bytes of additional headers", ErrTooLong, n)
	}
	var ahs []byte
	if n > 0 {
		ahs = make([]byte, n)
		if _, err := io.ReadFull(r.r, ahs); err != nil {
			return nil, unexpected(err)
		}
	}
	if !r.HeaderDigest {
		return ahs, nil
	}
	sum := crc32.Update(crc32.Checksum(h[:], castagnoli), castagnoli, ahs)
	return ahs, r.check(sum, ErrHeaderDigest)
}

// DataLen is how many bytes of data follow the header read last.
func (r *Reader) DataLen() int { return r.left }

// Data reads the data segment into p, which must have exactly DataLen bytes.
func (r *Reader) Data(p []byte) error {
	if len(p) != r.left {
		return fmt.Errorf("%w: %d bytes of data, wanted %d", ErrMalformed, r.left, len(p))
	}
	r.left = 0
	if len(p) == 0 {
		return nil
	}
	if _, err := io.ReadFull(r.r, p); err != nil {
		return unexpected(err)
	}
	var zero [3]byte
	tail := zero[:pad(len(p))]
	if _, err := io.ReadFull(r.r, tail); err != nil {
		return unexpected(err)
	}
	if !r.DataDigest {
		return nil
	}
	return r.check(crc32.Update(crc32.Checksum(p, castagnoli), castagnoli, tail), ErrDataDigest)
}

// All returns the data segment in memory of its own, nil if there is none.
func (r *Reader) All() ([]byte, error) {
	if r.left == 0 {
		return nil, nil
	}
	p := make([]byte, r.left)
	return p, r.Data(p)
}

func (r *Reader) check(sum uint32, bad error) error {
	var got [4]byte
	if _, err := io.ReadFull(r.r, got[:]); err != nil {
		return unexpected(err)
	}
	if got != digest(sum) {
		return bad
	}
	return nil
}

// Buffered reports whether more bytes are here already.
func (r *Reader) Buffered() bool { return r.r.Buffered() > 0 }

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// PDU is one message.
type PDU struct {
	Header
	AHS  []byte // padded to words, as on the wire
	Data []byte
}

// Writer puts PDUs on a stream, which sees them on Flush. Not for concurrent use.
type Writer struct {
	HeaderDigest, DataDigest bool

	w *bufio.Writer
}

// NewWriter returns a Writer without digests.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 64<<10)} }

// Write sets the lengths in the header and writes p.
func (w *Writer) Write(p *PDU) error {
	if len(p.AHS)%4 != 0 || len(p.AHS) > 4*255 || len(p.Data) > 1<<24-1 {
		return fmt.Errorf("%w: %d bytes of additional headers, %d of data", ErrTooLong, len(p.AHS), len(p.Data))
	}
	p.Set(AHSLength, uint64(len(p.AHS)/4))
	p.Set(DataLength, uint64(len(p.Data)))
	_, _ = w.w.Write(p.Header[:]) // bufio keeps the first error
	_, _ = w.w.Write(p.AHS)
	if w.HeaderDigest {
		d := digest(crc32.Update(crc32.Checksum(p.Header[:], castagnoli), castagnoli, p.AHS))
		_, _ = w.w.Write(d[:])
	}
	if len(p.Data) == 0 {
		return w.err()
	}
	var zero [3]byte
	tail := zero[:pad(len(p.Data))]
	_, _ = w.w.Write(p.Data)
	_, _ = w.w.Write(tail)
	if w.DataDigest {
		d := digest(crc32.Update(crc32.Checksum(p.Data, castagnoli), castagnoli, tail))
		_, _ = w.w.Write(d[:])
	}
	return w.err()
}

func (w *Writer) err() error {
	_, err := w.w.Write(nil)
	return err
}

// Flush sends what was written.
func (w *Writer) Flush() error { return w.w.Flush() }
