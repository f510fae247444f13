package check_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/check"
)

// fault is one thing done to a busy volume, and what check must say of it.
type fault struct {
	name  string
	want  check.Code
	also  []check.Code  // what cannot but follow from it
	model func(v *vol)  // before the volume is written
	raw   func(v *vol)  // after it was written
	o     check.Options // how to check
	dev   func(v *vol) blockdev.Device

	cluster uint32 // bytes, 0 for 4 KiB
}

// run makes the volume, checks it, and returns the report.
func (f fault) run(t *testing.T) *check.Report {
	v := busy(t, f.cluster)
	if f.model != nil {
		f.model(v)
	}
	v.write()
	if f.raw != nil {
		f.raw(v)
	}
	var dev blockdev.Device = v.dev
	if f.dev != nil {
		dev = f.dev(v)
	}
	r, err := check.Check(context.Background(), dev, f.o)
	require.NoError(t, err)
	return r
}

func TestEveryFaultIsFoundAndNothingElse(t *testing.T) {
	for _, f := range faults() {
		t.Run(string(f.want)+" "+f.name, func(t *testing.T) {
			r := f.run(t)
			want := append(slices.Clone(f.also), f.want)
			slices.Sort(want)
			got := r.Codes(check.Info)
			if f.want != check.BeyondEOF {
				got = slices.DeleteFunc(got, func(c check.Code) bool { return c == check.BeyondEOF })
			}
			assert.Equal(t, slices.Compact(want), got, "%v", r.Findings)
			for _, x := range r.Findings {
				assert.NotEmpty(t, x.Text)
				assert.NotEmpty(t, x.Fix)
			}
		})
	}
}

func TestEveryCodeHasATest(t *testing.T) {
	tested := map[check.Code]bool{}
	for _, f := range faults() {
		tested[f.want] = true
	}
	for _, k := range check.Kinds {
		assert.True(t, tested[k.Code], "no fault expects %s: %s", k.Code, k.Title)
	}
}

func faults() []fault {
	return slices.Concat(volumeFaults(), journalFaults(), groupFaults(), inodeFaults(), treeFaults(), nameFaults(), systemFaults())
}

// spoil is a fault that damages a block so that its CRC fails.
func spoil(blk func(sb *ondisk.Super) uint64) func(v *vol) {
	return func(v *vol) { v.spoil(blk(v.sb)) }
}

func at(blk uint64) func(*ondisk.Super) uint64 { return func(*ondisk.Super) uint64 { return blk } }

func volumeFaults() []fault {
	copyWith := func(change func(sb *ondisk.Super)) func(v *vol) {
		return func(v *vol) {
			sb := *v.sb
			change(&sb)
			v.put(ondisk.SuperCopyBlock, ondisk.EncodeSuper(&sb, ondisk.SuperCopyBlock))
		}
	}
	return []fault{
		{name: "crc", want: check.SuperInvalid, raw: spoil(at(ondisk.SuperBlock))},
		{name: "zeros", want: check.SuperInvalid, raw: func(v *vol) { v.put(0, make([]byte, ondisk.BlockSize)) }},
		{name: "only the last copy is left", want: check.SuperInvalid, also: []check.Code{check.SuperCopyInvalid}, raw: func(v *vol) {
			v.spoil(ondisk.SuperBlock)
			v.spoil(ondisk.SuperCopyBlock)
		}},
		{name: "crc", want: check.SuperCopyInvalid, raw: spoil(at(ondisk.SuperCopyBlock))},
		{name: "last block", want: check.SuperCopyInvalid, raw: spoil(func(sb *ondisk.Super) uint64 { return sb.Blocks - 1 })},
		{name: "unknown feature", want: check.SuperCopyInvalid, raw: copyWith(func(sb *ondisk.Super) { sb.Incompat = 1 << 40 })},
		{name: "label", want: check.SuperCopyDiffers, raw: copyWith(func(sb *ondisk.Super) { sb.Label = "other" })},
		{name: "uuid", want: check.SuperCopyDiffers, raw: copyWith(func(sb *ondisk.Super) { sb.UUID[0]++ })},
		{name: "crc", want: check.GrowInvalid, raw: spoil(at(ondisk.GrowBlock))},
		{name: "too many groups", want: check.GrowInvalid, raw: func(v *vol) { v.edit(ondisk.GrowBlock, func(b []byte) { b[80] = 200 }) }},
		{name: "crc", want: check.ViewInvalid, raw: spoil(at(ondisk.ViewBlock))},
		{name: "crc", want: check.SlotInvalid, raw: spoil(func(sb *ondisk.Super) uint64 { return sb.SlotBlock(2) })},
		{name: "crc", want: check.BallotInvalid, raw: spoil(func(sb *ondisk.Super) uint64 { return sb.BallotBlock(1) })},
		{name: "free slot", want: check.MemberNoSlot, raw: func(v *vol) {
			v.put(ondisk.ViewBlock, ondisk.EncodeView(v.sb, &ondisk.View{Epoch: 4, Members: []uint32{0, 3, 0, 0}}))
		}},
		{name: "incarnation not claimed yet", want: check.MemberNoSlot, raw: func(v *vol) {
			v.put(v.sb.SlotBlock(1), ondisk.EncodeSlot(v.sb, &ondisk.Slot{Index: 1, State: ondisk.SlotActive, Incarnation: 2, Epoch: 4}))
			v.put(ondisk.ViewBlock, ondisk.EncodeView(v.sb, &ondisk.View{Epoch: 4, Members: []uint32{0, 3, 0, 0}}))
		}},
		{name: "slot ahead of the view", want: check.SlotAhead, raw: func(v *vol) {
			v.put(v.sb.SlotBlock(1), ondisk.EncodeSlot(v.sb, &ondisk.Slot{Index: 1, State: ondisk.SlotActive, Incarnation: 1, Epoch: 99}))
		}},
		{name: "crc", want: check.SpaceInvalid, raw: spoil(func(sb *ondisk.Super) uint64 { return sb.SpaceBlock(1) })},
		{name: "clusters", want: check.FreeCount, raw: func(v *vol) { v.edit(v.sb.SpaceBlock(0), func(b []byte) { b[80]++ }) }},
		{name: "inodes", want: check.InodeCount, raw: func(v *vol) { v.edit(v.sb.SpaceBlock(1), func(b []byte) { b[88]++ }) }},
		{name: "one kept", want: check.TooMany, also: []check.Code{check.SuperCopyInvalid}, o: check.Options{MaxFindings: 1}, raw: func(v *vol) {
			v.spoil(ondisk.SuperCopyBlock)
			v.spoil(ondisk.GrowBlock)
		}},
		{name: "a cluster", want: check.DataUnreadable, o: check.Options{Deep: true}, dev: func(v *vol) blockdev.Device {
			e := v.inodes[v.inoOf("a", "one")].extents[0]
			return &badSectors{Device: v.dev, off: int64(e.Physical+2)*int64(v.sb.ClusterSize) + 512}
		}},
	}
}

// badSectors cannot read the 512 bytes at off.
type badSectors struct {
	blockdev.Device
	off int64
}

func (d *badSectors) ReadAt(ctx context.Context, p []byte, off int64) error {
	if off <= d.off && d.off < off+int64(len(p)) {
		return blockdev.ErrMedium
	}
	return d.Device.ReadAt(ctx, p, off)
}
