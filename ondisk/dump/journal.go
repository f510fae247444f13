package dump

import (
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/volume"
)

// journal prints the heads of the journal of a slot and the transactions that it holds from the tail on, up to the
// first that is not whole.
func (d *dumper) journal(n uint64) ([]item, error) {
	slot := uint16(n)
	start := d.s.JournalStart(slot)
	var all []item
	var best *ondisk.JournalHead
	for i := range ondisk.JournalHeads {
		it, b, err := d.block(fmt.Sprintf("head %d", i), ondisk.TypeJournalHead, start+uint64(i))
		if err == nil {
			h, err := ondisk.DecodeJournalHead(d.s, slot, i, b)
			if err != nil {
				it.add(finding(err))
			} else if best == nil || h.Seq > best.Seq {
				best = h
			}
		}
		all = append(all, it)
	}
	if best == nil {
		return append(all, kv("finding", "no valid head")), nil
	}
	state := "dirty"
	if best.Clean {
		state = "clean"
	}
	r := &ring{d: d, slot: slot, head: best, at: best.Tail, left: d.s.JournalBlocks - ondisk.JournalHeads}
	list := item{name: "transactions", list: true, sub: []item{}}
	for seq := best.TailSeq; ; seq++ {
		it, why := r.transaction(seq)
		if why != nil {
			return append(all, kv("state", state), list, kv("ends because", why.Error())), d.ctx.Err()
		}
		list.add(it)
	}
}

// ring reads a journal forwards.
type ring struct {
	d    *dumper
	slot uint16
	head *ondisk.JournalHead
	at   uint32 // next block of the ring
	left uint32 // blocks that have not been read yet
}

func (r *ring) next() (b []byte, blk uint64, err error) {
	if r.left == 0 {
		return nil, 0, fmt.Errorf("whole ring read")
	}
	size := r.d.s.JournalBlocks - ondisk.JournalHeads
	blk = r.d.s.JournalStart(r.slot) + ondisk.JournalHeads + uint64(r.at)
	b, err = volume.ReadBlock(r.d.ctx, r.d.dev, blk)
	r.at, r.left = (r.at+1)%size, r.left-1
	return b, blk, err
}

// transaction reads the transaction with that number; the error says why there is none.
func (r *ring) transaction(seq uint64) (item, error) {
	it := item{name: fmt.Sprintf("transaction %d", seq), sub: []item{kv("seq", seq), kv("at", r.at)}}
	writes := item{name: "writes", list: true, sub: []item{}}
	revokes := item{name: "revokes", list: true, sub: []item{}}
	sum, blocks := uint32(0), uint32(0)
	for {
		b, blk, err := r.next()
		if err != nil {
			return it, err
		}
		if h := ondisk.GetHeader(b); h.Type == ondisk.TypeJournalCommit {
			if err := r.commit(seq, blocks, sum, b, blk); err != nil {
				return it, err
			}
			it.add(kv("blocks", blocks+1), writes, revokes)
			return it, nil
		}
		desc, err := ondisk.DecodeJournalDesc(r.d.s, blk, b)
		if err != nil {
			return it, err
		}
		if err := r.belongs(b, blk, desc.Seq, seq); err != nil {
			return it, err
		}
		sum, blocks = ondisk.Checksum(sum, b), blocks+1
		for _, e := range desc.Entries {
			if e.Revoke {
				revokes.add(kv("block", e.Block))
				continue
			}
			c, _, err := r.next()
			if err != nil {
				return it, err
			}
			sum, blocks = ondisk.Checksum(sum, c), blocks+1
			h := ondisk.GetHeader(c)
			w := item{name: "block", value: fmt.Sprintf("%d %s owner %d lsn %d", e.Block, h.Type, h.Owner, h.LSN)}
			w.add(kv("block", e.Block), kv("type", h.Type.String()), kv("owner", h.Owner), kv("lsn", h.LSN))
			if err := ondisk.CheckHeader(c, h.Type, e.Block, r.d.s.UUID); err != nil {
				w.add(finding(err))
			}
			writes.add(w)
		}
	}
}

// commit holds the commit block to what was read before it.
func (r *ring) commit(seq uint64, blocks, sum uint32, b []byte, blk uint64) error {
	c, err := ondisk.DecodeJournalCommit(r.d.s, blk, b)
	if err != nil {
		return err
	}
	if err := r.belongs(b, blk, c.Seq, seq); err != nil {
		return err
	}
	if c.Blocks != blocks || c.Sum != sum {
		return fmt.Errorf("commit in block %d: %d blocks with sum %#x, found %d with %#x", blk, c.Blocks, c.Sum, blocks, sum)
	}
	return nil
}

// belongs holds a descriptor or commit to the transaction that is expected.
func (r *ring) belongs(b []byte, blk, got, want uint64) error {
	h := ondisk.GetHeader(b)
	switch {
	case h.Slot != r.slot || h.Incarnation != r.head.Incarnation:
		return fmt.Errorf("block %d: written by slot %d incarnation %d", blk, h.Slot, h.Incarnation)
	case got != want:
		return fmt.Errorf("block %d: transaction %d, want %d", blk, got, want)
	}
	return nil
}
