package check

import (
	"fmt"
	"maps"
	"slices"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// How a plan is written
//
//	1 copies of file data, into clusters that nobody has                   flush
//	2 copies of the superblock, flush, the superblock, flush; view, slots, ballots, heads of journals
//	3 everything else through the journal of one slot: the blocks and their commit block into the ring, flush; a head
//	  that names them, stable when done; the blocks to their homes, flush; a clean head
//
// Until the head of step 3 is written the volume is as damaged as before, and a second repair makes the same plan. From
// then on replay finishes the work, by a second repair or by the next mount. A plan that does not fit the ring goes
// through it in portions: trees and records in order of their inodes, an inode with all its nodes in one portion, then
// everything that a check can count again. No portion takes away what a later one needs: a tree gets its new nodes
// before or with its record, and files keep their names until another one is written.

// Replayed is a journal that was brought home.
type Replayed struct {
	Slot         view.Slot `json:"slot"`
	Transactions int       `json:"transactions"`
	Blocks       int       `json:"blocks"`
	// Given says what could not be brought home, "" if all was.
	Given string `json:"given_up,omitempty"`
}

// write writes one block.
func (r *repairer) write(blk uint64, b []byte, fua bool) error {
	a := blockdev.Alloc(ondisk.BlockSize)
	copy(a, b)
	if err := r.raw.WriteAt(r.ctx, a, int64(blk)*ondisk.BlockSize, fua); err != nil {
		return fmt.Errorf("write block %d: %w", blk, err)
	}
	return nil
}

func (r *repairer) flush() error {
	if err := r.raw.Flush(r.ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// replay brings home what the journals hold, as far as they are whole, and leaves them clean.
func (r *repairer) replay() error {
	c := newChecker(r.ctx, r.dev, Options{Progress: r.o.Progress, MaxFindings: r.o.MaxFindings})
	defer c.r.close()
	c.rescue = &rescue{}
	if err := c.checkSuper(); err != nil {
		return err
	}
	if err := c.checkJournals(); err != nil {
		return err
	}
	if len(c.logs) == 0 {
		return nil
	}
	for _, blk := range slices.Sorted(maps.Keys(c.r.overlay)) {
		b, err := c.r.block(r.ctx, blk)
		if err != nil {
			return err
		}
		if err := r.write(blk, b, false); err != nil {
			return err
		}
	}
	if err := r.flush(); err != nil {
		return err
	}
	for _, l := range c.logs {
		if err := r.closeLog(c, l); err != nil {
			return err
		}
	}
	return nil
}

// closeLog marks a journal clean: the head that does not count first, so that one is whole at any time.
func (r *repairer) closeLog(c *checker, l *log) error {
	for _, rec := range l.records {
		c.maxLSN = max(c.maxLSN, rec.lsn)
	}
	for i := range ondisk.JournalHeads {
		h := *l.head
		h.Seq, h.TailSeq, h.Tail, h.Clean, h.LSN = h.Seq+uint64(i)+1, l.seq, l.pos, true, max(h.LSN, c.maxLSN)
		if l.damage != "" {
			// Numbers behind the damage have been given out.
			h.TailSeq = max(freshSeq, l.seq+uint64(l.ring()))
		}
		which := (l.which + 1 + i) % ondisk.JournalHeads
		if err := r.write(c.sb.JournalStart(l.slot)+uint64(which), ondisk.EncodeJournalHead(c.sb, &h, which), true); err != nil {
			return err
		}
	}
	done := Replayed{Slot: view.Slot(l.slot), Transactions: int(l.transactions), Blocks: len(l.records), Given: l.damage}
	r.rep.Replayed = append(r.rep.Replayed, done)
	for i := range c.rep.Findings {
		f := &c.rep.Findings[i]
		if f.Code == JournalDamaged && *f.Where.Slot == done.Slot {
			text := plural(l.transactions, "transaction") + " before the damage replayed, the rest given up"
			r.rep.Repaired = append(r.rep.Repaired, Repaired{*f, text, 0})
		}
	}
	return nil
}

// apply writes the plan.
func (r *repairer) apply(d *draft, sb *ondisk.Super) error {
	n := 0
	put := func(blk uint64, b []byte) error { n++; return r.write(blk, b, false) }
	if err := d.each(fill, put); err != nil {
		return err
	}
	if n > 0 {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.rep.Blocks += n
	if err := r.applyDirect(d); err != nil {
		return err
	}
	var kinds [2][]uint64 // what cannot be counted again, and what can
	err := d.each(viaJournal, func(blk uint64, b []byte) error {
		k := 0
		switch ondisk.GetHeader(b).Type {
		case ondisk.TypeGrow, ondisk.TypeSpace, ondisk.TypeGroup, ondisk.TypeBitmap:
			k = 1
		}
		kinds[k] = append(kinds[k], blk)
		return nil
	})
	if err != nil || len(kinds[0])+len(kinds[1]) == 0 {
		return err
	}
	portions, err := r.portions(d, sb, kinds)
	if err != nil {
		return err
	}
	w, err := r.openRing(sb)
	if err != nil {
		return err
	}
	for _, p := range portions {
		if err := w.transaction(d, p); err != nil {
			return err
		}
		r.rep.Blocks += len(p)
	}
	return nil
}

// applyDirect writes what no journal holds.
func (r *repairer) applyDirect(d *draft) error {
	var first, second, rest []uint64
	images := map[uint64][]byte{}
	err := d.each(direct, func(blk uint64, b []byte) error {
		if r.o.Held[blk] != nil {
			r.held[blk] = slices.Clone(b) // the caller does it
			r.rep.Blocks++
			return nil
		}
		images[blk] = slices.Clone(b)
		switch {
		case blk == ondisk.SuperBlock:
			second = append(second, blk)
		case ondisk.GetHeader(b).Type == ondisk.TypeSuper:
			first = append(first, blk)
		default:
			rest = append(rest, blk)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, blks := range [][]uint64{first, second, rest} {
		for _, blk := range blks {
			if err := r.write(blk, images[blk], false); err != nil {
				return err
			}
		}
		if len(blks) > 0 {
			if err := r.flush(); err != nil {
				return err
			}
		}
	}
	r.rep.Blocks += len(images)
	return nil
}

// portions cuts the plan into transactions that fit the ring: one if it can be.
func (r *repairer) portions(d *draft, sb *ondisk.Super, kinds [2][]uint64) ([][]uint64, error) {
	most := ringRoom(sb)
	if n := len(kinds[0]) + len(kinds[1]); n <= most {
		return [][]uint64{slices.Sorted(slices.Values(slices.Concat(kinds[0], kinds[1])))}, nil
	}
	// Nodes at new places first: nothing leads to them yet. Then each inode with the nodes that it overwrites.
	var fresh []uint64
	units := map[uint64][]uint64{}
	for _, blk := range kinds[0] {
		b, err := d.image(blk)
		if err != nil {
			return nil, err
		}
		owner := ondisk.Owner(b)
		units[owner] = append(units[owner], blk)
	}
	var ordered [][]uint64
	for _, ino := range slices.Sorted(maps.Keys(units)) {
		if u := units[ino]; ino != 0 && len(u) > most {
			fresh = append(fresh, slices.DeleteFunc(slices.Clone(u), func(blk uint64) bool { return blk == ino })...)
			ordered = append(ordered, []uint64{ino})
		} else if ino != 0 {
			ordered = append(ordered, u)
		}
	}
	var out [][]uint64
	cur := []uint64{}
	add := func(u []uint64) {
		if len(cur)+len(u) > most {
			out, cur = append(out, cur), nil
		}
		cur = append(cur, u...)
	}
	single := func(all []uint64) {
		for _, blk := range all {
			add([]uint64{blk})
		}
	}
	single(fresh)
	for _, u := range ordered {
		add(u)
	}
	single(units[0]) // what belongs to nothing any more
	single(kinds[1])
	return append(out, cur), nil
}

// ringRoom is how many blocks one transaction can bring home.
func ringRoom(sb *ondisk.Super) int {
	ring := int(sb.JournalBlocks - ondisk.JournalHeads)
	return (ring - 1) * ondisk.DescEntries / (ondisk.DescEntries + 1)
}
