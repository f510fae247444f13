package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// record is one content in the log: where it lies and what it would do. 24 bytes, so that the index of the longest
// journal fits in a few megabytes.
type record struct {
	blk uint64
	lsn uint64
	pos uint32 // in the ring
}

// index is what a scan finds: for each block the one record to replay.
type index struct {
	records map[uint64]record
	groups  int
	revoked int    // records left out because of a revoke
	nextSeq uint64 // number that follows the last whole group
	nextPos uint32 // and its place
	lsn     uint64 // highest of all records and the head
}

// ringReader reads the ring block by block through one buffer.
type ringReader struct {
	dev   blockdev.Device
	first uint64 // block of the volume where the ring begins
	ring  uint32
	buf   []byte
	pos   uint32 // of the first block in buf
	n     uint32 // blocks in buf
}

// at returns block pos of the ring, counted on beyond its end, and its number on the volume. The bytes are valid until
// the next call.
func (r *ringReader) at(ctx context.Context, pos uint32) (b []byte, blk uint64, err error) {
	pos %= r.ring
	blk = r.first + uint64(pos)
	if pos < r.pos || pos >= r.pos+r.n {
		n := min(maxRun, r.ring-pos)
		if err := r.dev.ReadAt(ctx, r.buf[:n*ondisk.BlockSize], int64(blk)*ondisk.BlockSize); err != nil {
			r.n = 0
			return nil, blk, fmt.Errorf("read journal block %d: %w", blk, err)
		}
		r.pos, r.n = pos, n
	}
	off := (pos - r.pos) * ondisk.BlockSize
	return r.buf[off : off+ondisk.BlockSize], blk, nil
}

// errTorn ends a scan: what lies at the end of the log is not a whole group of this life of the node.
var errTorn = errors.New("torn")

// scanner walks the log from its tail.
type scanner struct {
	*ringReader
	sb  *ondisk.Super
	h   *ondisk.JournalHead
	idx *index
}

// scan reads all whole groups of a dirty journal. It stops at the first that is torn; if a later group proves that
// this one had been durable, the log is damaged and the error is ondisk.ErrCorrupt.
func scan(ctx context.Context, dev blockdev.Device, sb *ondisk.Super, h *ondisk.JournalHead) (*index, error) {
	buf := largeBufs.Get().(*[]byte)
	defer largeBufs.Put(buf)
	s := &scanner{&ringReader{dev: dev, first: sb.JournalStart(h.Slot) + ondisk.JournalHeads, ring: ringSize(sb), buf: *buf}, sb, h,
		&index{records: map[uint64]record{}, nextSeq: h.TailSeq, nextPos: h.Tail, lsn: h.LSN}}
	for left := s.ring; left > 0; {
		g, err := s.group(ctx, left)
		if errors.Is(err, errTorn) {
			break
		}
		if err != nil {
			return nil, err
		}
		s.idx.add(g, s.ring)
		left -= g.blocks
	}
	return s.idx, s.provesDamage(ctx)
}

// scanned is one whole group.
type scanned struct {
	blocks   uint32
	revokes  []uint64
	contents []record
}

// add makes the records of the next group those to replay. A revoke takes back the records of older groups, not those
// of its own: the block was freed before it was written again (J7).
func (x *index) add(g *scanned, ring uint32) {
	for _, blk := range g.revokes {
		if _, ok := x.records[blk]; ok {
			delete(x.records, blk)
			x.revoked++
		}
	}
	for _, r := range g.contents {
		x.records[r.blk] = r
		x.lsn = max(x.lsn, r.lsn)
	}
	x.groups++
	x.nextSeq++
	x.nextPos = (x.nextPos + g.blocks) % ring
}

// group reads the group that should begin at the end of what has been read, at most left blocks long.
func (s *scanner) group(ctx context.Context, left uint32) (*scanned, error) {
	g := &scanned{}
	sum := uint32(0)
	var illegal error // a finding that counts only if the group turns out to be whole
	next := func() (b []byte, blk uint64, err error) {
		if g.blocks >= left {
			return nil, 0, errTorn
		}
		b, blk, err = s.at(ctx, s.idx.nextPos+g.blocks)
		g.blocks++
		return b, blk, err
	}
	for {
		b, blk, err := next()
		if err != nil {
			return nil, err
		}
		if g.blocks > 1 && ondisk.CheckHeader(b, ondisk.TypeJournalCommit, blk, s.sb.UUID) == nil {
			return g, s.commit(b, blk, g.blocks-1, sum, illegal)
		}
		d, err := s.desc(b, blk)
		if err != nil {
			return nil, err
		}
		sum = ondisk.Checksum(sum, b)
		for _, e := range d.Entries {
			if e.Revoke {
				g.revokes = append(g.revokes, e.Block)
				if !journalled(s.sb, e.Block) {
					illegal = &ondisk.Corrupt{Struct: "journal descriptor", Block: blk, Field: "revoke", Got: e.Block}
				}
				continue
			}
			pos := (s.idx.nextPos + g.blocks) % s.ring
			b, _, err := next()
			if err != nil {
				return nil, err
			}
			sum = ondisk.Checksum(sum, b)
			if err := checkContent(s.sb, b, e.Block); err != nil {
				illegal = fmt.Errorf("record in ring block %d: %w", pos, err)
			}
			g.contents = append(g.contents, record{blk: e.Block, lsn: ondisk.LSN(b), pos: pos})
		}
	}
}

// checkContent makes sure that b may be written to blk.
func checkContent(sb *ondisk.Super, b []byte, blk uint64) error {
	t := ondisk.GetHeader(b).Type
	if err := ondisk.CheckHeader(b, t, blk, sb.UUID); err != nil {
		return err
	}
	return checkPlace(sb, blk, t)
}

// mine reports whether a valid descriptor or commit block was written by the life of the node that the head names.
func (s *scanner) mine(b []byte) bool {
	h := ondisk.GetHeader(b)
	return h.Slot == s.h.Slot && h.Incarnation == s.h.Incarnation
}

func (s *scanner) desc(b []byte, blk uint64) (*ondisk.JournalDesc, error) {
	if ondisk.CheckHeader(b, ondisk.TypeJournalDesc, blk, s.sb.UUID) != nil || !s.mine(b) {
		return nil, errTorn
	}
	d, err := ondisk.DecodeJournalDesc(s.sb, blk, b)
	if err != nil {
		return nil, err
	}
	if d.Seq != s.idx.nextSeq {
		return nil, errTorn
	}
	return d, nil
}

// commit judges the group by its commit block.
func (s *scanner) commit(b []byte, blk uint64, blocks, sum uint32, illegal error) error {
	c, err := ondisk.DecodeJournalCommit(s.sb, blk, b)
	if err != nil || !s.mine(b) || c.Seq != s.idx.nextSeq || c.Blocks != blocks || c.Sum != sum {
		return errTorn
	}
	if illegal != nil {
		return fmt.Errorf("group %d: %w", c.Seq, illegal)
	}
	return nil
}

// provesDamage looks for a later group than the first that is not whole. The owner begins a group only when the one
// before it is stable, so a valid descriptor or commit block with a higher number means that records are missing
// which somebody may have been told to be durable.
func (s *scanner) provesDamage(ctx context.Context) error {
	for i := range s.ring {
		b, blk, err := s.at(ctx, s.idx.nextPos+i)
		if err != nil {
			return err
		}
		var seq uint64
		switch ondisk.GetHeader(b).Type {
		case ondisk.TypeJournalDesc:
			if d, err := ondisk.DecodeJournalDesc(s.sb, blk, b); err == nil && s.mine(b) {
				seq = d.Seq
			}
		case ondisk.TypeJournalCommit:
			if c, err := ondisk.DecodeJournalCommit(s.sb, blk, b); err == nil && s.mine(b) {
				seq = c.Seq
			}
		}
		if seq > s.idx.nextSeq {
			return &ondisk.Corrupt{Struct: "journal", Block: s.first + uint64(s.idx.nextPos),
				Field: fmt.Sprintf("group %d (group %d in block %d shows that it was durable)", s.idx.nextSeq, seq, blk), Got: "damaged"}
		}
	}
	return nil
}
