package check

import (
	"fmt"

	"github.com/covol/covol/ondisk"
)

// ring writes transactions of a repair into the clean journal of one slot, as if its last life had gone on.
type ring struct {
	r     *repairer
	sb    *ondisk.Super
	head  ondisk.JournalHead // the one that counts
	which int
	pos   uint32
}

// openRing finds a clean journal.
func (r *repairer) openRing(sb *ondisk.Super) (*ring, error) {
	c := newChecker(r.ctx, r.dev, Options{})
	c.sb = sb
	defer c.r.close()
	for slot := range uint16(sb.Slots) {
		h, which, err := c.journalHead(slot)
		if err != nil {
			return nil, err
		}
		if h != nil && h.Clean {
			return &ring{r: r, sb: sb, head: *h, which: which, pos: h.Tail}, nil
		}
	}
	return nil, fmt.Errorf("no journal is clean: nothing to write the plan through")
}

func (w *ring) size() uint32 { return w.sb.JournalBlocks - ondisk.JournalHeads }

// put writes a block at the next place of the ring.
func (w *ring) put(b []byte) error {
	err := w.r.write(w.next(), b, false)
	w.pos = (w.pos + 1) % w.size()
	return err
}

// next is the block of the volume at the next place of the ring.
func (w *ring) next() uint64 {
	return w.sb.JournalStart(w.head.Slot) + ondisk.JournalHeads + uint64(w.pos)
}

// setHead writes the head that does not count, which makes it the one that does.
func (w *ring) setHead(h ondisk.JournalHead) error {
	h.Seq = w.head.Seq + 1
	w.which = (w.which + 1) % ondisk.JournalHeads
	w.head = h
	return w.r.write(w.sb.JournalStart(h.Slot)+uint64(w.which), ondisk.EncodeJournalHead(w.sb, &h, w.which), true)
}

// transaction brings blocks of the plan home together.
func (w *ring) transaction(d *draft, blks []uint64) error {
	start, seq, inc := w.pos, w.head.TailSeq, w.head.Incarnation
	w.r.maxLSN++
	lsn := w.r.maxLSN
	image := func(blk uint64) ([]byte, error) {
		b, err := d.image(blk)
		if err != nil {
			return nil, err
		}
		ondisk.Stamp(b, lsn, w.r.maxEpoch, w.head.Slot, inc)
		ondisk.Seal(b)
		return b, nil
	}
	commit := &ondisk.JournalCommit{Seq: seq}
	put := func(b []byte) error {
		commit.Sum = ondisk.Checksum(commit.Sum, b)
		commit.Blocks++
		return w.put(b)
	}
	for left := blks; len(left) > 0; {
		n := min(len(left), ondisk.DescEntries)
		desc := &ondisk.JournalDesc{Seq: seq}
		for _, blk := range left[:n] {
			desc.Entries = append(desc.Entries, ondisk.DescEntry{Block: blk})
		}
		if err := put(ondisk.EncodeJournalDesc(w.sb, desc, w.next(), w.head.Slot, inc, w.r.maxEpoch)); err != nil {
			return err
		}
		for _, blk := range left[:n] {
			b, err := image(blk)
			if err != nil {
				return err
			}
			if err := put(b); err != nil {
				return err
			}
		}
		left = left[n:]
	}
	if err := w.put(ondisk.EncodeJournalCommit(w.sb, commit, w.next(), w.head.Slot, inc, w.r.maxEpoch)); err != nil {
		return err
	}
	if err := w.r.flush(); err != nil {
		return err
	}
	if err := w.setHead(ondisk.JournalHead{Slot: w.head.Slot, Incarnation: inc, TailSeq: seq, Tail: start, LSN: lsn}); err != nil {
		return err
	}
	for _, blk := range blks {
		b, err := image(blk)
		if err != nil {
			return err
		}
		if err := w.r.write(blk, b, false); err != nil {
			return err
		}
	}
	if err := w.r.flush(); err != nil {
		return err
	}
	return w.setHead(ondisk.JournalHead{Slot: w.head.Slot, Incarnation: inc, TailSeq: seq + 1, Tail: w.pos, Clean: true, LSN: lsn})
}
