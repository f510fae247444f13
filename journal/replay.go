package journal

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// ReplayOptions may be left zero, but for Sched.
type ReplayOptions struct {
	Sched sched.Scheduler // must be set
	Log   *slog.Logger    // nil: nothing is logged
}

// ReplayStats tells what a replay found and did.
type ReplayStats struct {
	Clean       bool             // there was nothing to replay
	Incarnation view.Incarnation // life of the node that wrote the journal
	Groups      int              // whole groups found
	Records     int              // blocks that they speak of
	Revoked     int              // records left out because the block was freed later
	Applied     int              // blocks written home
	LSN         uint64           // highest in the journal; give it to ObserveLSN
}

// Replay brings home what the dead owner of a slot left in its journal, and marks the journal clean. It may be
// interrupted anywhere and run again; however often it runs, the volume is the same in the end. The caller must hold
// the recovery of the slot, and the owner must be fenced (J3). If the journal is damaged the error is
// ondisk.ErrCorrupt and nothing has been written.
func Replay(ctx context.Context, dev blockdev.Device, sb *ondisk.Super, slot view.Slot, o ReplayOptions) (ReplayStats, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	st, err := replay(ctx, dev, sb, uint16(slot), o)
	if err != nil {
		return st, fmt.Errorf("replay slot %d: %w", slot, err)
	}
	o.Log.Info("journal: replayed", "slot", slot, "clean", st.Clean, "groups", st.Groups, "records", st.Records, "applied", st.Applied)
	return st, nil
}

func replay(ctx context.Context, dev blockdev.Device, sb *ondisk.Super, slot uint16, o ReplayOptions) (ReplayStats, error) {
	hs, err := readHeads(ctx, dev, sb, slot)
	if err != nil {
		return ReplayStats{}, err
	}
	h := hs.current()
	st := ReplayStats{Clean: h.Clean, Incarnation: view.Incarnation(h.Incarnation), LSN: h.LSN}
	if h.Clean {
		if other := hs.other(); other != nil && other.Clean {
			return st, nil
		}
		return st, putHead(ctx, dev, sb, nextClean(h, h.TailSeq, h.Tail, h.LSN), 1-hs.last)
	}
	idx, err := scan(ctx, dev, sb, h)
	if err != nil {
		return st, err
	}
	st.Groups, st.Records, st.Revoked, st.LSN = idx.groups, len(idx.records), idx.revoked, idx.lsn
	if st.Applied, err = apply(ctx, dev, sb, slot, idx, o); err != nil {
		return st, err
	}
	if err := dev.Flush(ctx); err != nil {
		return st, fmt.Errorf("flush: %w", err)
	}
	// The head that does not count first. From its write on the journal is clean; a crash between the two leaves
	// the second to the next run.
	clean := nextClean(h, idx.nextSeq, idx.nextPos, idx.lsn)
	for i, which := range [...]int{1 - hs.last, hs.last} {
		if i > 0 {
			clean = nextClean(clean, clean.TailSeq, clean.Tail, clean.LSN)
		}
		if err := putHead(ctx, dev, sb, clean, which); err != nil {
			return st, err
		}
	}
	return st, nil
}

func nextClean(h *ondisk.JournalHead, tailSeq uint64, tail uint32, lsn uint64) *ondisk.JournalHead {
	return &ondisk.JournalHead{Slot: h.Slot, Incarnation: h.Incarnation, Seq: h.Seq + 1, TailSeq: tailSeq, Tail: tail, Clean: true, LSN: lsn}
}

// apply writes home what the index holds, in portions of blocks that lie side by side.
func apply(ctx context.Context, dev blockdev.Device, sb *ondisk.Super, slot uint16, idx *index, o ReplayOptions) (applied int, err error) {
	var portions [][]record
	for _, blk := range slices.Sorted(maps.Keys(idx.records)) {
		r := idx.records[blk]
		if n := len(portions); n > 0 {
			p := portions[n-1]
			if p[len(p)-1].blk+1 == blk && len(p) < maxRun {
				portions[n-1] = append(p, r)
				continue
			}
		}
		portions = append(portions, []record{r})
	}
	counts := make([]int, len(portions))
	a := &applier{dev, sb, sb.JournalStart(slot) + ondisk.JournalHeads}
	err = fanOut(o.Sched, o.Sched.Go, len(portions), maxWriters, func(i int) (err error) {
		counts[i], err = a.portion(ctx, portions[i])
		return err
	})
	for _, n := range counts {
		applied += n
	}
	return applied, err
}

type applier struct {
	dev   blockdev.Device
	sb    *ondisk.Super
	first uint64 // block of the volume where the ring begins
}

// portion writes those records home whose place on disk holds something older, or nothing of this volume.
func (a *applier) portion(ctx context.Context, rs []record) (applied int, err error) {
	buf := blockdev.Alloc(len(rs) * ondisk.BlockSize)
	if err := a.dev.ReadAt(ctx, buf, int64(rs[0].blk)*ondisk.BlockSize); err != nil {
		return 0, fmt.Errorf("read blocks %d..%d: %w", rs[0].blk, rs[len(rs)-1].blk, err)
	}
	var runs []run
	for i, r := range rs {
		b := buf[i*ondisk.BlockSize : (i+1)*ondisk.BlockSize]
		if ondisk.CheckHeader(b, ondisk.GetHeader(b).Type, r.blk, a.sb.UUID) == nil && ondisk.LSN(b) >= r.lsn {
			continue
		}
		if err := a.readRecord(ctx, b, r); err != nil {
			return 0, err
		}
		runs = appendBlock(runs, r.blk, b)
		applied++
	}
	for _, r := range runs {
		if err := writeRun(ctx, a.dev, r); err != nil {
			return 0, err
		}
	}
	return applied, nil
}

// readRecord reads the content of a record again and makes sure that it still is what the scan saw.
func (a *applier) readRecord(ctx context.Context, b []byte, r record) error {
	at := a.first + uint64(r.pos)
	if err := a.dev.ReadAt(ctx, b, int64(at)*ondisk.BlockSize); err != nil {
		return fmt.Errorf("read journal block %d: %w", at, err)
	}
	if err := checkContent(a.sb, b, r.blk); err != nil {
		return fmt.Errorf("journal block %d, read again: %w", at, err)
	}
	if lsn := ondisk.LSN(b); lsn != r.lsn {
		return &ondisk.Corrupt{Struct: "journal record", Block: at, Field: "lsn, read again", Got: lsn, Want: r.lsn}
	}
	return nil
}
