package dump

import (
	"fmt"
	"reflect"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/volume"
)

// supers prints the superblock that is in use, and what is wrong with the three that there are.
func (d *dumper) supers() []item {
	it := item{name: "superblock"}
	it.add(tableItems("super", ondisk.EncodeSuper(d.s, ondisk.SuperBlock))...)
	all := []item{it, d.geometry()}
	copies := item{name: "copies", list: true}
	for _, blk := range []uint64{ondisk.SuperBlock, ondisk.SuperCopyBlock, d.s.Blocks - 1} {
		state := item{name: fmt.Sprintf("block %d", blk), sub: []item{kv("block", blk)}}
		b, err := volume.ReadBlock(d.ctx, d.dev, blk)
		var got *ondisk.Super
		if err == nil {
			got, err = ondisk.DecodeSuper(b, blk)
		}
		switch {
		case err != nil:
			state.add(finding(err))
		case !reflect.DeepEqual(got, d.s):
			state.add(kv("finding", "valid, but differs from the superblock in use"))
			state.add(tableItems("super", b)...)
		default:
			state.add(kv("state", "good"))
		}
		copies.add(state)
	}
	return append(all, copies)
}

// geometry prints what follows from the superblock.
func (d *dumper) geometry() item {
	s := d.s
	it := item{name: "geometry"}
	it.add(kv("bytes", s.Blocks*ondisk.BlockSize), kv("journal start", s.JournalStart(0)),
		kv("group clusters", s.GroupClusters(0)), kv("group metadata blocks", s.GroupMetaBlocks()))
	grow, b, err := d.block("grow", ondisk.TypeGrow, ondisk.GrowBlock)
	if err == nil {
		ready, err := ondisk.DecodeGrow(s, b)
		it.add(kv("formatted groups", ready))
		if err != nil {
			it.add(finding(err))
		}
		return it
	}
	it.add(grow)
	return it
}

// slots prints the view, and slot, space and ballot block of each slot.
func (d *dumper) slots() []item {
	view, _, _ := d.block("view", ondisk.TypeView, ondisk.ViewBlock)
	all := []item{view}
	list := item{name: "slots", list: true}
	states := []string{"free", "joining", "active", "leaving"}
	for i := range uint16(d.s.Slots) {
		it, b, err := d.block(fmt.Sprintf("slot %d", i), ondisk.TypeSlot, d.s.SlotBlock(i))
		if err == nil {
			if slot, err := ondisk.DecodeSlot(d.s, i, b); err != nil {
				it.add(finding(err))
			} else {
				it.add(kv("says", states[slot.State]))
			}
		}
		space, _, _ := d.block("space", ondisk.TypeSpace, d.s.SpaceBlock(i))
		ballot, _, _ := d.block("ballot", ondisk.TypeBallot, d.s.BallotBlock(i))
		it.add(space, ballot)
		list.add(it)
	}
	return append(all, list)
}

func (d *dumper) group(n uint64) ([]item, error) {
	g := uint32(n)
	s := d.s
	_, b, err := d.block("grow", ondisk.TypeGrow, ondisk.GrowBlock)
	if err == nil {
		if ready, err := ondisk.DecodeGrow(s, b); err == nil && g >= ready {
			return []item{{name: fmt.Sprintf("group %d", g), sub: []item{kv("state", "not formatted yet"),
				kv("first block", s.GroupFirst(g)), kv("clusters", s.GroupClusters(g))}}}, nil
		}
	}
	head, b, err := d.block(fmt.Sprintf("group %d", g), ondisk.TypeGroup, s.GroupFirst(g))
	if err == nil {
		if _, err := ondisk.DecodeGroup(s, g, b); err != nil {
			head.add(finding(err))
		}
	}
	all := []item{head}
	for _, m := range []struct {
		name  string
		kind  uint32
		count uint32
		at    func(g, i uint32) uint64
	}{
		{"cluster bitmap", ondisk.ClusterBitmap, s.ClusterBitmapBlocks(), s.ClusterBitmapBlock},
		{"metadata bitmap", ondisk.MetaBitmap, s.MetaBitmapBlocks(), s.MetaBitmapBlock},
	} {
		for i := range m.count {
			it, b, err := d.block(fmt.Sprintf("%s %d", m.name, i), ondisk.TypeBitmap, m.at(g, i))
			if err == nil {
				if _, err := ondisk.BitmapBits(b, m.kind, i); err != nil {
					it.add(finding(err))
				}
			}
			all = append(all, it)
		}
	}
	return all, nil
}

// anyBlock prints a block as what its header says that it is.
func (d *dumper) anyBlock(blk uint64) ([]item, error) {
	b, err := volume.ReadBlock(d.ctx, d.dev, blk)
	if err != nil {
		return nil, err
	}
	if !volume.IsCovol(b) {
		return []item{{name: fmt.Sprintf("block %d", blk), sub: []item{kv("state", "not metadata")}}}, nil
	}
	typ := ondisk.GetHeader(b).Type
	if _, ok := ondisk.Layouts.Get(typ.String()); !ok {
		it := item{name: fmt.Sprintf("block %d", blk), sub: []item{kv("finding", fmt.Sprintf("unknown type %d", typ))}}
		it.add(tableItems("header", b)...)
		return []item{it}, nil
	}
	it, _, _ := d.block(fmt.Sprintf("%s in block %d", typ, blk), typ, blk)
	return []item{it}, nil
}
