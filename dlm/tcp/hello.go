package tcp

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"

	"github.com/covol/covol/cluster/view"
)

// hello opens a connection: the dialer's first, then the acceptor's, which carries the verdict.
//
//	 0  8 bytes  magic "covoldlm"
//	 8  le16     version
//	10  u8       verdict; 0 in the dialer's
//	11  16 bytes UUID of the volume
//	27  le16     slot of the sender
//	29  le32     incarnation of the sender
//	33  le16     slot that the sender means to reach
//	35  le32     incarnation that the sender means to reach
//	39  le32     CRC32C of the bytes before
type hello struct {
	version uint16
	verdict verdict
	volume  [16]byte
	from    view.NodeID
	to      view.NodeID
}

const (
	helloMagic = "covoldlm"
	helloSize  = 43
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type verdict uint8

const (
	welcome verdict = iota
	wrongVersion
	wrongVolume
	notMember
	oldIncarnation
	newIncarnation
	wrongReceiver
	wrongDirection
	wrongName
	verdicts
)

func (v verdict) String() string {
	switch v {
	case welcome:
		return "welcome"
	case wrongVersion:
		return "another protocol version"
	case wrongVolume:
		return "another volume"
	case notMember:
		return "not a member"
	case oldIncarnation:
		return "an old incarnation"
	case newIncarnation:
		return "an incarnation newer than the view here"
	case wrongReceiver:
		return "meant for another node or incarnation"
	case wrongDirection:
		return "the lower slot dials"
	case wrongName:
		return "a certificate of another node"
	default:
		return fmt.Sprintf("verdict %d", uint8(v))
	}
}

// mayBeNewer tells refusals that a newer view would turn into a welcome.
func (v verdict) mayBeNewer() bool {
	return v == notMember || v == newIncarnation || v == wrongReceiver
}

func (h *hello) append(b []byte) []byte {
	start := len(b)
	b = append(b, helloMagic...)
	b = binary.LittleEndian.AppendUint16(b, h.version)
	b = append(b, byte(h.verdict))
	b = append(b, h.volume[:]...)
	for _, n := range [...]view.NodeID{h.from, h.to} {
		b = binary.LittleEndian.AppendUint16(b, uint16(n.Slot))
		b = binary.LittleEndian.AppendUint32(b, uint32(n.Incarnation))
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func parseHello(b []byte) (hello, error) {
	var h hello
	le := binary.LittleEndian
	switch {
	case len(b) > 2 && b[0] == 0x16 && b[1] == 3: // a handshake record
		return h, fmt.Errorf("%w: the other side talks TLS, this one in clear", ErrRefused)
	case len(b) != helloSize || string(b[:8]) != helloMagic:
		return h, fmt.Errorf("%w: not a covol lock manager", ErrRefused)
	case le.Uint32(b[39:]) != crc32.Checksum(b[:39], castagnoli):
		return h, fmt.Errorf("%w: hello with a wrong checksum", ErrRefused)
	}
	h.version, h.verdict = le.Uint16(b[8:]), verdict(b[10])
	copy(h.volume[:], b[11:27])
	node := func(b []byte) view.NodeID {
		return view.NodeID{Slot: view.Slot(le.Uint16(b)), Incarnation: view.Incarnation(le.Uint32(b[2:]))}
	}
	h.from, h.to = node(b[27:]), node(b[33:])
	return h, nil
}

func readHello(r io.Reader) (hello, error) {
	b := make([]byte, helloSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return hello{}, fmt.Errorf("read hello: %w", err)
	}
	return parseHello(b)
}

// judge decides about a dialer's hello, and with TLS about whose certificate it showed.
func (t *Transport) judge(h *hello, conn net.Conn) (*peer, verdict, error) {
	p, v := t.judgeHello(h)
	if v != welcome {
		return nil, v, nil
	}
	if err := t.checkPeer(conn, p.name); err != nil {
		return nil, wrongName, err
	}
	return p, welcome, nil
}

func (t *Transport) judgeHello(h *hello) (*peer, verdict) {
	switch {
	case h.version != Version:
		return nil, wrongVersion
	case h.volume != t.cfg.Volume:
		return nil, wrongVolume
	case h.to != t.cfg.Self:
		return nil, wrongReceiver
	}
	t.mu.Lock()
	p := t.peers[h.from.Slot]
	t.mu.Unlock()
	switch {
	case p == nil:
		return nil, notMember
	case h.from.Incarnation < p.id.Incarnation:
		return nil, oldIncarnation
	case h.from.Incarnation > p.id.Incarnation:
		return nil, newIncarnation
	case h.from.Slot >= t.cfg.Self.Slot:
		return nil, wrongDirection
	}
	return p, welcome
}
