package mkfs

import (
	"context"
	"fmt"
	"time"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// Format makes a volume on dev and returns its superblock. Nothing is written if the device is refused: ErrTooSmall,
// ErrTooLarge, ErrOption, ErrOccupied, ErrInUse. After any other error the device holds the old volume or none.
func Format(ctx context.Context, dev blockdev.Device, o Options) (*ondisk.Super, error) {
	s, err := plan(dev.Geometry().Size, &o)
	if err != nil {
		return nil, fmt.Errorf("mkfs: %w", err)
	}
	old, err := mayOverwrite(ctx, dev, &o)
	if err != nil {
		return nil, fmt.Errorf("mkfs: %w", err)
	}
	f := &formatter{dev: dev, s: s, old: old, o: &o, ready: min(s.Groups, MaxReady)}
	f.total = int64(f.ready) + int64(s.Slots) + 4
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"wipe the old superblock", f.wipe},
		{"discard", f.discard},
		{"write fixed blocks", f.fixed},
		{"write journals", f.journals},
		{"write groups", f.groups},
		{"write superblock", f.supers},
	} {
		if err := step.run(ctx); err != nil {
			return nil, fmt.Errorf("mkfs: %s: %w", step.name, err)
		}
	}
	return s, nil
}

type formatter struct {
	dev         blockdev.Device
	s, old      *ondisk.Super // old may be nil
	o           *Options
	ready       uint32 // groups to format
	done, total int64
}

func (f *formatter) step() {
	f.done++
	f.o.Progress(f.done, f.total)
}

// write puts consecutive blocks at blk, at most 1 MiB at a time.
func (f *formatter) write(ctx context.Context, blk uint64, blocks [][]byte) error {
	const most = 256
	for len(blocks) > 0 {
		n := min(len(blocks), most)
		buf := blockdev.Alloc(n * ondisk.BlockSize)
		for i, b := range blocks[:n] {
			copy(buf[i*ondisk.BlockSize:], b)
		}
		if err := f.dev.WriteAt(ctx, buf, int64(blk)*ondisk.BlockSize, false); err != nil {
			return fmt.Errorf("block %d: %w", blk, err)
		}
		blk, blocks = blk+uint64(n), blocks[n:]
	}
	return nil
}

// wipe zeroes the superblock and all its copies that a later Open could find.
func (f *formatter) wipe(ctx context.Context) error {
	places := []uint64{ondisk.SuperBlock, ondisk.SuperCopyBlock, f.s.Blocks - 1}
	if f.old != nil && f.old.Blocks < f.s.Blocks {
		places = append(places, f.old.Blocks-1)
	}
	for _, blk := range places {
		if err := f.write(ctx, blk, [][]byte{nil}); err != nil {
			return err
		}
	}
	f.step()
	return f.dev.Flush(ctx)
}

// discardTime bounds how long a volume is discarded; what is left then is not.
const discardTime = 5 * time.Second

func (f *formatter) discard(ctx context.Context) error {
	defer f.step()
	if f.o.NoDiscard {
		return nil
	}
	size := int64(f.s.Blocks) * ondisk.BlockSize
	chunk := max(1<<30, size/256/ondisk.BlockSize*ondisk.BlockSize)
	began := time.Now()
	for off := int64(0); off < size && time.Since(began) < discardTime; off += chunk {
		if err := f.dev.Discard(ctx, off, min(chunk, size-off)); err != nil {
			return fmt.Errorf("at byte %d: %w", off, err)
		}
	}
	return nil
}

// fixed writes everything before the journals, zeros in what is not used: signatures of others end there too.
func (f *formatter) fixed(ctx context.Context) error {
	s := f.s
	area := make([][]byte, s.JournalStart(0))
	put := func(blk uint64, b []byte) {
		ondisk.Seal(b)
		area[blk] = b
	}
	put(ondisk.GrowBlock, ondisk.EncodeGrow(s, f.ready))
	put(ondisk.RootBlock, f.root())
	put(ondisk.ViewBlock, ondisk.EncodeView(s, &ondisk.View{Epoch: 1}))
	for slot := range uint16(s.Slots) {
		put(s.BallotBlock(slot), ondisk.EncodeBallot(s, &ondisk.Ballot{Slot: slot}))
		put(s.SlotBlock(slot), ondisk.EncodeSlot(s, &ondisk.Slot{Index: slot, State: ondisk.SlotFree}))
		put(s.SpaceBlock(slot), ondisk.EncodeSpace(s, &ondisk.Space{Slot: slot}))
		put(s.OrphanBlock(slot), f.system(s.OrphanBlock(slot)))
		put(s.FreeLogBlock(slot), f.system(s.FreeLogBlock(slot)))
	}
	defer f.step()
	return f.write(ctx, 0, area)
}

// inode makes a record with an empty index that takes all the room of the record.
func (f *formatter) inode(in ondisk.Inode) []byte {
	t := ondisk.TimeOf(f.o.Now())
	in.Generation, in.Change = 1, 1
	in.Atime, in.Mtime, in.Ctime, in.Btime = t, t, t, t
	in.Body = ondisk.BodyIndex
	in.Root = ondisk.InitNode(make([]byte, in.AttrRoom()), 0)
	return ondisk.EncodeInode(f.s.UUID, &in)
}

func (f *formatter) root() []byte {
	return f.inode(ondisk.Inode{Ino: ondisk.RootBlock, Mode: 0o040755, Nlink: 2})
}

// system makes the record of an index that belongs to a slot. It counts as linked, so that nobody takes it for an
// orphan.
func (f *formatter) system(ino uint64) []byte {
	return f.inode(ondisk.Inode{Ino: ino, Nlink: 1, Flags: ondisk.InodeSystem})
}

func (f *formatter) journals(ctx context.Context) error {
	for slot := range uint16(f.s.Slots) {
		heads := make([][]byte, ondisk.JournalHeads)
		for i := range heads {
			h := &ondisk.JournalHead{Slot: slot, Seq: uint64(i + 1), TailSeq: 1, Clean: true}
			heads[i] = ondisk.EncodeJournalHead(f.s, h, i)
		}
		if err := f.write(ctx, f.s.JournalStart(slot), heads); err != nil {
			return err
		}
		f.step()
	}
	return nil
}

func (f *formatter) groups(ctx context.Context) error {
	for g := range f.ready {
		blocks := ondisk.FormatGroup(f.s, g)
		for _, b := range blocks {
			ondisk.Seal(b)
		}
		if err := f.write(ctx, f.s.GroupFirst(g), blocks); err != nil {
			return err
		}
		f.step()
	}
	return f.dev.Flush(ctx)
}

func (f *formatter) supers(ctx context.Context) error {
	for _, places := range [][]uint64{{ondisk.SuperCopyBlock, f.s.Blocks - 1}, {ondisk.SuperBlock}} {
		for _, blk := range places {
			if err := f.write(ctx, blk, [][]byte{ondisk.EncodeSuper(f.s, blk)}); err != nil {
				return err
			}
		}
		if err := f.dev.Flush(ctx); err != nil {
			return err
		}
	}
	f.step()
	return nil
}
