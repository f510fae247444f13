package check_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/check"
	"github.com/covol/covol/ondisk/check/checktest"
	"github.com/covol/covol/ondisk/sched"
)

// withNlink is a record of /a/one with another link count: it tells which version of the block was judged.
func (v *vol) withNlink(ino uint64, nlink byte) []byte {
	b := v.read(ino)
	b[ondisk.HeaderSize+12] = nlink
	v.stamp(b)
	return b
}

func codes(t *testing.T, v *vol, o check.Options) []check.Code {
	t.Helper()
	r, err := check.Check(context.Background(), v.dev, o)
	require.NoError(t, err)
	return slices.DeleteFunc(r.Codes(check.Info), func(c check.Code) bool { return c == check.BeyondEOF || c == check.JournalDirty })
}

func TestLogIsLaidOverTheDevice(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(v *vol, one uint64)
		want []check.Code
	}{
		{"newest of two transactions", func(v *vol, one uint64) {
			v.journal(1, 0, txn{write: [][]byte{v.withNlink(one, 5)}}, txn{write: [][]byte{v.withNlink(one, 1)}})
		}, nil},
		{"a bad version is judged", func(v *vol, one uint64) {
			v.journal(1, 0, txn{write: [][]byte{v.withNlink(one, 5)}})
		}, []check.Code{check.NlinkFile}},
		{"the device is newer", func(v *vol, one uint64) {
			old := v.withNlink(one, 5)
			v.put(one, v.withNlink(one, 1))
			v.journal(1, 0, txn{write: [][]byte{old}})
		}, nil},
		{"the device is damaged, the log is old", func(v *vol, one uint64) {
			b := v.read(one)
			v.journal(1, 0, txn{write: [][]byte{b}})
			v.edit(one, func(b []byte) { ondisk.Stamp(b, 1<<40, 1, 0, 1) })
			v.spoil(one)
		}, nil},
		{"newest of two slots", func(v *vol, one uint64) {
			bad, good := v.withNlink(one, 5), v.withNlink(one, 1)
			v.journal(1, 0, txn{write: [][]byte{good}})
			v.journal(2, 0, txn{write: [][]byte{bad}})
		}, nil},
		{"revoked", func(v *vol, one uint64) {
			v.journal(1, 0, txn{write: [][]byte{v.withNlink(one, 5)}}, txn{revoke: []uint64{one}})
		}, nil},
		{"a revoke does not touch its own transaction", func(v *vol, one uint64) {
			v.journal(1, 0, txn{write: [][]byte{v.withNlink(one, 5)}, revoke: []uint64{one}})
		}, []check.Code{check.NlinkFile}},
		{"a revoke does not touch later ones", func(v *vol, one uint64) {
			v.journal(1, 0, txn{revoke: []uint64{one}}, txn{write: [][]byte{v.withNlink(one, 5)}})
		}, []check.Code{check.NlinkFile}},
		{"a damaged log is not laid over", func(v *vol, one uint64) {
			starts := v.journal(1, 0, txn{write: [][]byte{v.withNlink(one, 5)}}, txn{}, txn{revoke: []uint64{one}})
			v.spoil(v.ringBlock(1, starts[1]))
		}, []check.Code{check.JournalDamaged}},
		{"another life of the node", func(v *vol, one uint64) {
			v.journal(1, 0, txn{write: [][]byte{v.withNlink(one, 5)}})
			v.put(v.sb.JournalStart(1), ondisk.EncodeJournalHead(v.sb, &ondisk.JournalHead{Slot: 1, Incarnation: 4, Seq: 10, TailSeq: 40}, 0))
		}, nil},
		{"the other head counts", func(v *vol, one uint64) {
			v.journal(1, 0, txn{write: [][]byte{v.withNlink(one, 5)}})
			v.put(v.sb.JournalStart(1)+1, ondisk.EncodeJournalHead(v.sb, &ondisk.JournalHead{Slot: 1, Incarnation: 3, Seq: 10, TailSeq: 41, Clean: true}, 1))
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := busy(t, 0)
			v.write()
			c.run(v, v.inoOf("a", "one"))
			assert.ElementsMatch(t, c.want, codes(t, v, check.Options{}))
		})
	}
}

// TestOverlayIsWhatReplayMakes holds two readers of the log to each other: what check sees through the overlay is
// what it sees on the device after package journal has replayed.
func TestOverlayIsWhatReplayMakes(t *testing.T) {
	base := busy(t, 0)
	base.write()
	rounds := 60
	if testing.Short() {
		rounds = 40
	}
	damaged, dirty := 0, 0
	for seed := range uint64(rounds) {
		v := *base
		v.dev = base.dev.Clone()
		randomLogs(&v, rand.New(rand.NewPCG(seed, 1)))
		before, err := check.Check(context.Background(), v.dev, check.Options{})
		require.NoError(t, err, "seed %d", seed)
		for slot := range view.Slot(v.sb.Slots) {
			_, err := journal.Replay(context.Background(), v.dev, v.sb, slot, journal.ReplayOptions{Sched: sched.Real{}})
			bad := slices.ContainsFunc(before.Findings, func(f check.Finding) bool {
				return f.Code == check.JournalDamaged && *f.Where.Slot == slot
			})
			require.Equal(t, bad, err != nil, "seed %d slot %d: check says damaged: %v, replay says %v", seed, slot, bad, err)
			if bad {
				require.ErrorIs(t, err, ondisk.ErrCorrupt)
				damaged++
			}
		}
		dirty += len(before.DirtyJournals)
		after, err := check.Check(context.Background(), v.dev, check.Options{NoOverlay: true})
		require.NoError(t, err, "seed %d", seed)
		require.Equal(t, withoutJournals(before), withoutJournals(after), "seed %d", seed)
	}
	assert.Positive(t, damaged)
	assert.Greater(t, dirty, damaged)
}

func withoutJournals(r *check.Report) (all []string) {
	for _, f := range r.Findings {
		if f.Code < check.JournalNoHead || f.Code > check.JournalDirty {
			all = append(all, f.String())
		}
	}
	return append(all, fmt.Sprintf("%+v", r.Stats.ClustersFree))
}

// randomLogs writes logs of versions of a few blocks into some slots, some of them damaged or stale.
func randomLogs(v *vol, rng *rand.Rand) {
	blocks := []uint64{v.inoOf("a"), v.inoOf("big"), v.inoOf("a", "one"), v.nodes[v.inoOf("a", "deep")][1], v.sb.GroupFirst(2),
		v.sb.MetaBitmapBlock(0, 0), v.sb.SpaceBlock(1), v.sb.OrphanBlock(0), ondisk.GrowBlock, v.sb.GroupFirst(8) + 900}
	for slot := range uint16(v.sb.Slots) {
		if rng.IntN(3) == 0 {
			continue
		}
		var all []txn
		for range rng.IntN(6) {
			var t txn
			for _, blk := range blocks {
				switch rng.IntN(8) {
				case 0:
					t.revoke = append(t.revoke, blk)
				case 1, 2:
					t.write = append(t.write, randomVersion(v, rng, blk))
				}
			}
			if len(t.write)+len(t.revoke) > 0 {
				all = append(all, t)
			}
		}
		ring := v.sb.JournalBlocks - ondisk.JournalHeads
		pos := uint32(rng.IntN(int(ring)))
		starts := v.journal(slot, pos, all...)
		if len(starts) > 0 && rng.IntN(3) == 0 {
			v.spoil(v.ringBlock(slot, starts[rng.IntN(len(starts))]+uint32(rng.IntN(2))))
		}
		if rng.IntN(4) == 0 {
			v.spoil(blocks[rng.IntN(len(blocks))])
		}
	}
}

// randomVersion is a block with some byte changed and a random LSN; a block that was never written becomes a record.
func randomVersion(v *vol, rng *rand.Rand, blk uint64) []byte {
	b := v.read(blk)
	if h := ondisk.GetHeader(b); h.Block != blk {
		b = ondisk.NewBlock(ondisk.TypeInode, blk, v.sb.UUID, blk, 1)
	}
	if rng.IntN(2) == 0 {
		b[ondisk.HeaderSize+rng.IntN(60)] ^= 1
	}
	ondisk.Stamp(b, uint64(rng.IntN(3000)), 1, 0, 1)
	ondisk.Seal(b)
	return b
}

func TestDirtyVolumeIsNotWritten(t *testing.T) {
	v := busy(t, 0)
	v.write()
	v.journal(0, 5, txn{write: [][]byte{v.copyOf(v.inoOf("a"))}, revoke: []uint64{v.inoOf("big")}})
	before := v.dev.Hash()
	r := checktest.MustBeClean(t, v.dev)
	assert.Equal(t, before, v.dev.Hash())
	assert.Equal(t, []view.Slot{0}, r.DirtyJournals)
	assert.EqualValues(t, 1, r.Stats.LogTransactions)
	assert.EqualValues(t, 1, r.Stats.LogBlocks)
}
