package check

import (
	"fmt"
	"maps"
	"slices"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// checkJournals judges the journal of every slot and lays what the dirty ones hold over the device.
func (c *checker) checkJournals() error {
	best := map[uint64]record{}
	for slot := range uint16(c.sb.Slots) {
		head, which, err := c.journalHead(slot)
		if err != nil {
			return err
		}
		if head == nil || head.Clean {
			continue
		}
		c.rep.DirtyJournals = append(c.rep.DirtyJournals, view.Slot(slot))
		l := &log{c: c, slot: slot, head: head, which: which, records: map[uint64]record{}, revokes: map[uint64]uint64{}}
		if l.damage, err = l.read(); err != nil {
			return err
		}
		c.logs = append(c.logs, l)
		if l.damage != "" {
			c.tell(JournalDamaged, atSlot(slot, l.block(l.pos)), "the journal is damaged: %s", l.damage)
			if c.rescue == nil {
				continue
			}
		}
		c.tell(JournalDirty, atSlot(slot, c.sb.JournalStart(slot)), "the journal must be replayed: %s, %s",
			plural(l.transactions, "transaction"), plural(uint64(len(l.records)), "block"))
		c.rep.Stats.LogTransactions += l.transactions
		for blk, r := range l.live() {
			if old, ok := best[blk]; !ok || r.lsn > old.lsn {
				best[blk] = r
			}
		}
		if err := c.grow(int64(len(best)) * 64); err != nil {
			return err
		}
	}
	if c.o.NoOverlay {
		return nil
	}
	return c.lay(best)
}

// lay puts the records into the overlay that replay would bring home.
func (c *checker) lay(best map[uint64]record) error {
	overlay := map[uint64]uint64{}
	for _, blk := range slices.Sorted(maps.Keys(best)) {
		b, err := c.r.raw(c.ctx, blk)
		if err != nil && !isFinding(err) {
			return err
		}
		if err == nil && c.isOurs(b, blk) && ondisk.LSN(b) >= best[blk].lsn {
			continue
		}
		overlay[blk] = best[blk].at
	}
	c.r.overlay = overlay
	c.rep.Stats.LogBlocks = uint64(len(overlay))
	return nil
}

// isOurs reports whether b is a whole block of this volume that was written for place blk.
func (c *checker) isOurs(b []byte, blk uint64) bool {
	return ondisk.CheckHeader(b, ondisk.GetHeader(b).Type, blk, c.sb.UUID) == nil
}

// journalHead returns the head that counts, and which it is; nil if there is none.
func (c *checker) journalHead(slot uint16) (head *ondisk.JournalHead, counts int, err error) {
	var bad []error
	for which := range ondisk.JournalHeads {
		b, err := c.r.raw(c.ctx, c.sb.JournalStart(slot)+uint64(which))
		if err != nil && !isFinding(err) {
			return nil, 0, err
		}
		var h *ondisk.JournalHead
		if err == nil {
			h, err = ondisk.DecodeJournalHead(c.sb, slot, which, b)
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		if head == nil || h.Seq > head.Seq {
			head, counts = h, which
		}
	}
	at := atSlot(slot, c.sb.JournalStart(slot))
	switch len(bad) {
	case ondisk.JournalHeads:
		c.tell(JournalNoHead, at, "no head of the journal is valid (%s)", reason(bad[0]))
	case 1:
		c.tell(JournalHead, at, "one head of the journal is not valid (%s)", reason(bad[0]))
	}
	return head, counts, nil
}

// record is the newest content of a block in a log.
type record struct {
	at  uint64 // block of the journal that holds it
	lsn uint64
	seq uint64 // of its transaction
}

// log reads one dirty journal.
type log struct {
	c    *checker
	slot uint16
	head *ondisk.JournalHead
	// which of the two heads that is.
	which  int
	pos    uint32 // place in the ring that is read next
	seq    uint64 // number that follows the last whole transaction
	damage string // why what follows must not be replayed, "" if there is none

	records      map[uint64]record
	revokes      map[uint64]uint64 // highest transaction that revoked the block
	transactions uint64
}

func (l *log) ring() uint32 { return l.c.sb.JournalBlocks - ondisk.JournalHeads }

// block is the block of the volume at place pos of the ring.
func (l *log) block(pos uint32) uint64 {
	return l.c.sb.JournalStart(l.slot) + ondisk.JournalHeads + uint64(pos%l.ring())
}

// live are the records that no later transaction revokes.
func (l *log) live() map[uint64]record {
	maps.DeleteFunc(l.records, func(blk uint64, r record) bool { return l.revokes[blk] > r.seq })
	return l.records
}

// read collects all whole transactions from the tail on. damage says why the log must not be replayed.
func (l *log) read() (damage string, err error) {
	l.pos = l.head.Tail
	seq := l.head.TailSeq
	l.seq = seq
	for used := uint32(0); used < l.ring(); {
		t, err := l.transaction(seq, l.ring()-used)
		if err != nil {
			return "", err
		}
		if t == nil {
			break
		}
		if t.damage != "" {
			return t.damage, nil
		}
		for _, r := range t.records {
			l.records[r.home] = record{at: r.at, lsn: r.lsn, seq: seq}
		}
		for _, blk := range t.revokes {
			l.revokes[blk] = seq
		}
		l.transactions++
		l.pos = (l.pos + t.blocks) % l.ring()
		used += t.blocks
		seq++
		l.seq = seq
	}
	return l.later(seq)
}

type homed struct{ home, at, lsn uint64 }

type transaction struct {
	blocks  uint32 // commit block included
	records []homed
	revokes []uint64
	damage  string // whole, and yet it says what cannot be
}

// transaction reads the one that begins at l.pos; nil if it is not whole or not the expected one.
func (l *log) transaction(seq uint64, room uint32) (*transaction, error) {
	t := &transaction{}
	sum := uint32(0)
	next := func() ([]byte, uint64, error) {
		blk := l.block(l.pos + t.blocks)
		b, err := l.c.r.raw(l.c.ctx, blk)
		if err == nil {
			t.blocks++
		}
		return b, blk, err
	}
	torn := func(err error) (*transaction, error) {
		if err == nil || isFinding(err) {
			return nil, nil
		}
		return nil, err
	}
	for t.blocks < room {
		b, blk, err := next()
		if err != nil {
			return torn(err)
		}
		if !l.isMine(b, blk) {
			return nil, nil
		}
		if ondisk.GetHeader(b).Type == ondisk.TypeJournalCommit {
			commit, err := ondisk.DecodeJournalCommit(l.c.sb, blk, b)
			if err != nil || t.blocks == 1 || commit.Seq != seq || commit.Blocks != t.blocks-1 || commit.Sum != sum {
				return nil, nil
			}
			return t, nil
		}
		d, err := ondisk.DecodeJournalDesc(l.c.sb, blk, b)
		if err != nil && ondisk.GetHeader(b).Type == ondisk.TypeJournalDesc {
			t.damage = fmt.Sprintf("block %d: %s", blk, reason(err))
			return t, nil
		}
		if err != nil || d.Seq != seq {
			return nil, nil
		}
		sum = ondisk.Checksum(sum, b)
		for _, e := range d.Entries {
			if e.Revoke {
				if !l.c.isHome(e.Block) {
					t.damage = fmt.Sprintf("it revokes block %d, where no metadata may lie", e.Block)
				}
				t.revokes = append(t.revokes, e.Block)
				continue
			}
			if t.blocks >= room {
				return nil, nil
			}
			b, blk, err := next()
			if err != nil {
				return torn(err)
			}
			sum = ondisk.Checksum(sum, b)
			t.take(l.c, e.Block, blk, b)
		}
	}
	return nil, nil
}

// take adds the content b, found in block at, of block home.
func (t *transaction) take(c *checker, home, at uint64, b []byte) {
	switch {
	case t.damage != "":
	case !c.isOurs(b, home):
		t.damage = fmt.Sprintf("its record of block %d is not a block of this volume", home)
	case !slices.Contains(c.homeTypes(home), ondisk.GetHeader(b).Type):
		t.damage = fmt.Sprintf("it has a record of block %d, where no %s may lie", home, ondisk.GetHeader(b).Type)
	default:
		t.records = append(t.records, homed{home, at, ondisk.LSN(b)})
	}
}

// isMine reports whether b, found in block blk, is whole and was written by the life of the node that the head names.
func (l *log) isMine(b []byte, blk uint64) bool {
	h := ondisk.GetHeader(b)
	return l.c.isOurs(b, blk) && h.Slot == l.slot && h.Incarnation == l.head.Incarnation
}

// isHome reports whether a journal may speak of block blk.
func (c *checker) isHome(blk uint64) bool { return len(c.homeTypes(blk)) > 0 }

// homeTypes are the types of blocks that a journal may bring home to blk: records and tree nodes, headers and bitmaps
// of groups, space blocks, the grow block.
func (c *checker) homeTypes(blk uint64) []ondisk.Type {
	switch {
	case blk == ondisk.GrowBlock:
		return []ondisk.Type{ondisk.TypeGrow}
	case c.sb.IsMetaPlace(blk):
		return []ondisk.Type{ondisk.TypeInode, ondisk.TypeNode}
	case blk >= c.sb.SpaceBlock(0) && blk < c.sb.SpaceBlock(uint16(c.sb.Slots)):
		return []ondisk.Type{ondisk.TypeSpace}
	}
	g, ok := c.sb.GroupOf(blk)
	if !ok || blk-c.sb.GroupFirst(g) >= uint64(c.sb.GroupMetaBlocks()) {
		return nil
	}
	if blk == c.sb.GroupFirst(g) {
		return []ondisk.Type{ondisk.TypeGroup}
	}
	return []ondisk.Type{ondisk.TypeBitmap}
}

// later looks for a transaction behind the first one that is not whole: each is begun only when the one before is
// stable, so there can be none unless the log is damaged.
func (l *log) later(seq uint64) (damage string, err error) {
	for i := range l.ring() {
		blk := l.block(l.pos + i)
		b, err := l.c.r.raw(l.c.ctx, blk)
		if err != nil {
			if isFinding(err) {
				continue
			}
			return "", err
		}
		found := uint64(0)
		if !l.isMine(b, blk) {
			continue
		}
		if commit, err := ondisk.DecodeJournalCommit(l.c.sb, blk, b); err == nil {
			found = commit.Seq
		} else if d, err := ondisk.DecodeJournalDesc(l.c.sb, blk, b); err == nil {
			found = d.Seq
		}
		if found > seq && found-seq <= uint64(l.ring()) {
			return fmt.Sprintf("transaction %d is not whole, but transaction %d behind it was begun", seq, found), nil
		}
	}
	return "", nil
}
