package journal

import (
	"maps"
	"slices"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/sched"
)

// version is one content of a block, or its absence after Free. It never changes once published.
type version struct {
	b []byte // nil after Free
	g *group
}

// group is what one commit makes durable: a number of whole transactions. While it is the running group,
// transactions join it; sealed, it is written to the log; committed, it waits until its blocks are home.
// All fields are guarded by Journal.mu; what the commit reads of a sealed group does not change any more.
type group struct {
	last    Seq  // newest transaction in it
	ordered bool // file data must be stable before the commit block counts
	wanted  bool // someone waits: commit as soon as the one before is done

	entries  []*entry            // blocks with a version in this group
	contents int                 // how many of these versions are not frees
	revokes  map[uint64]struct{} // blocks whose older records must not be replayed
	owners   map[uint64]struct{} // whose blocks were changed or freed

	durable []func() // OnDurable, in order of publication
	stop    func() bool
	done    sched.Event // durable, or given up with err
	err     error

	seq     uint64 // number in the log
	pos     uint32 // place in the ring
	blocks  uint32 // length in the ring, 0 if nothing had to be logged
	pending int    // blocks whose newest durable version is in this group and not home yet
}

func newGroup(s sched.Scheduler) *group {
	return &group{revokes: map[uint64]struct{}{}, owners: map[uint64]struct{}{}, done: s.NewEvent()}
}

// touches reports whether the group changed anything of the owners.
func (g *group) touches(owners []uint64) bool {
	if g == nil {
		return false
	}
	for _, o := range owners {
		if _, ok := g.owners[o]; ok {
			return true
		}
	}
	return false
}

// logBlocks is how many blocks of the ring a group with so many contents and revokes takes.
func logBlocks(contents, revokes int) int {
	n := contents + revokes
	if n == 0 {
		return 0
	}
	return contents + (n+ondisk.DescEntries-1)/ondisk.DescEntries + 1
}

func (g *group) logBlocks() int { return logBlocks(g.contents, len(g.revokes)) }

// encode lays a sealed group out as it will lie in the ring from g.pos on: descriptors, each followed by its
// contents, then the commit block.
func (j *Journal) encode(g *group, epoch uint64) [][]byte {
	sb, slot, inc := j.cfg.Super, uint16(j.cfg.Slot), uint32(j.cfg.Incarnation)
	entries := make([]ondisk.DescEntry, 0, g.contents+len(g.revokes))
	for _, blk := range slices.Sorted(maps.Keys(g.revokes)) {
		entries = append(entries, ondisk.DescEntry{Block: blk, Revoke: true})
	}
	contents := make(map[uint64][]byte, g.contents)
	for _, e := range g.entries {
		if e.flight.b != nil {
			contents[e.blk] = e.flight.b
		}
	}
	for _, blk := range slices.Sorted(maps.Keys(contents)) {
		entries = append(entries, ondisk.DescEntry{Block: blk})
	}
	out := make([][]byte, 0, g.blocks)
	at := func() uint64 { return j.ringBlock(g.pos + uint32(len(out))) }
	for part := range slices.Chunk(entries, ondisk.DescEntries) {
		out = append(out, ondisk.EncodeJournalDesc(sb, &ondisk.JournalDesc{Seq: g.seq, Entries: part}, at(), slot, inc, epoch))
		for _, e := range part {
			if !e.Revoke {
				out = append(out, contents[e.Block])
			}
		}
	}
	sum := uint32(0)
	for _, b := range out {
		sum = ondisk.Checksum(sum, b)
	}
	c := &ondisk.JournalCommit{Seq: g.seq, Blocks: uint32(len(out)), Sum: sum}
	return append(out, ondisk.EncodeJournalCommit(sb, c, at(), slot, inc, epoch))
}
