package check_test

import (
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/check"
)

// txn is one transaction of a journal written by hand.
type txn struct {
	write  [][]byte // whole blocks, sealed
	revoke []uint64
}

// ringBlock is the block of the volume at place pos of the ring of a slot.
func (v *vol) ringBlock(slot uint16, pos uint32) uint64 {
	return v.sb.JournalStart(slot) + ondisk.JournalHeads + uint64(pos%(v.sb.JournalBlocks-ondisk.JournalHeads))
}

// journal writes a dirty journal whose tail lies at pos, and returns for each transaction where it begins.
func (v *vol) journal(slot uint16, pos uint32, all ...txn) (starts []uint32) {
	const inc = 3
	seq := uint64(40)
	v.put(v.sb.JournalStart(slot), ondisk.EncodeJournalHead(v.sb, &ondisk.JournalHead{Slot: slot, Incarnation: inc, Seq: 9, TailSeq: seq, Tail: pos}, 0))
	for _, t := range all {
		starts = append(starts, pos)
		d := &ondisk.JournalDesc{Seq: seq}
		for _, blk := range t.revoke {
			d.Entries = append(d.Entries, ondisk.DescEntry{Block: blk, Revoke: true})
		}
		for _, b := range t.write {
			d.Entries = append(d.Entries, ondisk.DescEntry{Block: ondisk.GetHeader(b).Block})
		}
		c := &ondisk.JournalCommit{Seq: seq}
		for _, b := range append([][]byte{ondisk.EncodeJournalDesc(v.sb, d, v.ringBlock(slot, pos), slot, inc, 1)}, t.write...) {
			v.put(v.ringBlock(slot, pos), b)
			c.Sum = ondisk.Checksum(c.Sum, b)
			c.Blocks++
			pos++
		}
		v.put(v.ringBlock(slot, pos), ondisk.EncodeJournalCommit(v.sb, c, v.ringBlock(slot, pos), slot, inc, 1))
		pos++
		seq++
	}
	return starts
}

// copyOf is the block as it is, with a newer LSN.
func (v *vol) copyOf(blk uint64) []byte {
	b := v.read(blk)
	v.stamp(b)
	return b
}

func journalFaults() []fault {
	return []fault{
		{name: "both", want: check.JournalNoHead, raw: func(v *vol) {
			v.spoil(v.sb.JournalStart(1))
			v.spoil(v.sb.JournalStart(1) + 1)
		}},
		{name: "torn", want: check.JournalHead, raw: spoil(func(sb *ondisk.Super) uint64 { return sb.JournalStart(0) + 1 })},
		{name: "empty", want: check.JournalDirty, raw: func(v *vol) { v.journal(2, 0) }},
		{name: "wrapped", want: check.JournalDirty, raw: func(v *vol) {
			ring := v.sb.JournalBlocks - ondisk.JournalHeads
			v.journal(2, ring-2, txn{write: [][]byte{v.copyOf(v.inoOf("a")), v.copyOf(v.inoOf("big"))}})
		}},
		{name: "torn at the end", want: check.JournalDirty, raw: func(v *vol) {
			starts := v.journal(2, 10, txn{write: [][]byte{v.copyOf(v.inoOf("a"))}}, txn{write: [][]byte{v.copyOf(v.inoOf("big"))}})
			v.spoil(v.ringBlock(2, starts[1]+1))
		}},
		{name: "in the middle", want: check.JournalDamaged, raw: func(v *vol) {
			starts := v.journal(2, 10, txn{write: [][]byte{v.copyOf(v.inoOf("a"))}}, txn{write: [][]byte{v.copyOf(v.inoOf("big"))}})
			v.spoil(v.ringBlock(2, starts[0]+1))
		}},
		{name: "record of a slot block", want: check.JournalDamaged, raw: func(v *vol) {
			v.journal(2, 0, txn{write: [][]byte{v.copyOf(v.sb.SlotBlock(1))}})
		}},
		{name: "record of another volume", want: check.JournalDamaged, raw: func(v *vol) {
			b := v.copyOf(v.inoOf("a"))
			b[16]++
			ondisk.Seal(b)
			v.journal(2, 0, txn{write: [][]byte{b}})
		}},
		{name: "log hides damage", want: check.JournalDirty, raw: func(v *vol) {
			b := v.copyOf(v.inoOf("a"))
			v.journal(0, 0, txn{write: [][]byte{b}})
			v.spoil(v.inoOf("a"))
		}},
		{name: "raw", want: check.RecordInvalid, also: []check.Code{check.JournalDirty}, o: check.Options{NoOverlay: true}, raw: func(v *vol) {
			b := v.copyOf(v.inoOf("a", "fifo"))
			v.journal(0, 0, txn{write: [][]byte{b}})
			v.spoil(v.inoOf("a", "fifo"))
		}},
	}
}
