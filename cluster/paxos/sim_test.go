package paxos

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
	"github.com/covol/covol/ondisk/sched/simsched"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "replay this seed of TestSim")
	seedsFlag = flag.Int("seeds", 16, "how many seeds TestSim runs")
)

// Random proposals of nodes that die and come back, on a disk whose writes tear, fail, come late and come after the
// death of their node; judged by what lands. Then the faults stop, and everybody gets its views through.
func TestSim(t *testing.T) {
	if *seedFlag != 0 {
		simulate(t, *seedFlag)
		return
	}
	for seed := uint64(1); seed <= uint64(*seedsFlag); seed++ {
		if !t.Run(fmt.Sprintf("%#x", seed), func(t *testing.T) { simulate(t, seed) }) {
			t.Fatalf("replay: go test ./cluster/paxos -run TestSim -seed=%#x", seed)
		}
	}
}

type world struct {
	t      *testing.T
	s      *simsched.Scheduler
	rng    *rand.Rand
	sb     *ondisk.Super
	disk   *simdisk.Disk
	hosts  int
	nodes  []*voter // by slot
	medium map[uint64][]byte

	decided map[uint64]uint64 // epoch to writer
	newest  uint64            // epoch of the newest view that has taken effect
	faults  []string
}

func newWorld(t *testing.T, seed uint64, slots uint32) *world {
	w := &world{t: t, s: simsched.New(seed), rng: rand.New(rand.NewPCG(seed, 3)), medium: map[uint64][]byte{}, decided: map[uint64]uint64{1: 0}, newest: 1}
	w.sb = &ondisk.Super{UUID: ondisk.UUID{7}, Blocks: ondisk.MinVolume / ondisk.BlockSize, Slots: slots, Profile: ondisk.Profiles[2]}
	traits := simdisk.Traits{LoseUnflushed: true, TearSectors: w.rng.IntN(2) == 0}
	w.disk = simdisk.New(simdisk.Config{Size: ondisk.MinVolume, SectorSize: 512, Seed: seed, Traits: traits, OnLand: w.landed})
	dev := w.disk.Path(0)
	put := func(blk uint64, b []byte) {
		require.NoError(t, dev.WriteAt(context.Background(), b, int64(blk)*ondisk.BlockSize, true))
	}
	put(ondisk.ViewBlock, ondisk.EncodeView(w.sb, &ondisk.View{Epoch: 1}))
	for i := range uint16(slots) {
		put(w.sb.BallotBlock(i), ondisk.EncodeBallot(w.sb, &ondisk.Ballot{Slot: i}))
	}
	w.disk.SetWait(w.s.Sleep)
	t.Cleanup(func() {
		for _, v := range w.nodes {
			v.kill(0)
		}
		_ = w.s.Run(w.s.Now() + 30*time.Second)
		w.s.Stop()
	})
	return w
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf("%v: ", w.s.Now())+fmt.Sprintf(format, args...))
}

// landed keeps the medium, block by block, and judges each that is whole.
func (w *world) landed(l simdisk.Landing) {
	blk, at := uint64(l.Off/ondisk.BlockSize), l.Off%ondisk.BlockSize
	if w.medium[blk] == nil {
		w.medium[blk] = make([]byte, ondisk.BlockSize)
	}
	copy(w.medium[blk][at:], l.Data)
	if blk == ondisk.ViewBlock {
		if v, err := ondisk.DecodeView(w.sb, w.medium[blk]); err == nil {
			if writer, ok := w.decided[v.Epoch]; !ok || writer != v.Writer {
				w.fault("the view block holds epoch %d by %d, decided was %d (%v)", v.Epoch, v.Writer, writer, ok)
			}
		}
		return
	}
	b, err := ondisk.DecodeBallot(w.sb, uint16(blk-w.sb.BallotBlock(0)), w.medium[blk])
	if err != nil || b.MBal == 0 {
		return
	}
	v := decidedBy(b)
	if v == nil {
		return
	}
	if writer, ok := w.decided[v.Epoch]; ok && writer != v.Writer {
		w.fault("epoch %d decided twice: by %d and %d", v.Epoch, writer, v.Writer)
	} else if !ok && v.Epoch != w.newest+1 {
		w.fault("epoch %d decided after %d", v.Epoch, w.newest)
	}
	w.decided[v.Epoch] = v.Writer
	w.newest = max(w.newest, v.Epoch)
}

// voter is one life of one node.
type voter struct {
	w    *world
	slot uint16
	life uint32
	host int
	dead bool
	prob float64 // of a fault
	dev  blockdev.Device
	wins int
}

func (w *world) vote(slot uint16, life uint32) *voter {
	w.hosts++
	v := &voter{w: w, slot: slot, life: life, host: w.hosts}
	v.dev = w.disk.Path(v.host)
	w.s.Go("voter", v.run)
	return v
}

// run proposes views and looks at the disk in between; a look that is clear shows all that took effect before it.
func (v *voter) run() {
	r := NewReader(v, v.w.sb, v.w.s)
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(v.host))
	reg := NewRegister(r, v.slot, v.life, rand.NewChaCha8(seed), func() bool { return !v.dead })
	for ctx := context.Background(); !v.dead; {
		newest := v.w.newest
		s, err := r.Read(ctx)
		if err == nil && s.Clear() && s.View.Epoch < newest {
			v.w.fault("slot %d saw epoch %d after %d had taken effect", v.slot, s.View.Epoch, newest)
		}
		if err == nil && s.View != nil && v.w.rng.IntN(3) > 0 {
			want := &ondisk.View{Epoch: s.View.Epoch + 1, Writer: v.w.rng.Uint64() | 1}
			if won, err := reg.Propose(ctx, s.View, want); won && err == nil {
				v.wins++
				if v.w.decided[want.Epoch] != want.Writer {
					v.w.fault("slot %d was told that it won epoch %d", v.slot, want.Epoch)
				}
			}
		}
		_ = v.w.s.Sleep(ctx, time.Duration(v.w.rng.IntN(300))*time.Millisecond)
	}
}

func (v *voter) kill(ghosts int) {
	if v.dead {
		return
	}
	v.dead = true
	v.w.disk.KillHost(v.host, ghosts)
	if ghosts > 0 {
		v.w.s.AfterFunc(time.Duration(v.w.rng.Int64N(int64(v.w.sb.Profile.IOBound))), func() { v.w.disk.DeliverGhosts() })
	}
}

var errInjected = errors.New("injected")

func (v *voter) Geometry() blockdev.Geometry     { return v.dev.Geometry() }
func (v *voter) Flush(ctx context.Context) error { return v.dev.Flush(ctx) }
func (v *voter) Discard(ctx context.Context, off, length int64) error {
	return v.dev.Discard(ctx, off, length)
}
func (v *voter) Close() error { return v.dev.Close() }
func (v *voter) ReadAt(ctx context.Context, p []byte, off int64) error {
	if v.w.rng.Float64() < v.prob {
		if v.w.rng.IntN(2) == 0 {
			return errInjected
		}
		_ = v.w.s.Sleep(ctx, v.late())
	}
	return v.dev.ReadAt(ctx, p, off)
}

// late is within the bound of one I/O.
func (v *voter) late() time.Duration {
	return time.Duration(v.w.rng.Int64N(int64(v.w.sb.Profile.IOBound)))
}

func (v *voter) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	if v.w.rng.Float64() >= v.prob {
		return v.dev.WriteAt(ctx, p, off, fua)
	}
	switch v.w.rng.IntN(4) {
	case 0:
		return errInjected
	case 1: // done, but reported as an error
		_ = v.dev.WriteAt(ctx, p, off, fua)
		return errInjected
	case 2: // late
		_ = v.w.s.Sleep(context.Background(), v.late())
		return v.dev.WriteAt(context.Background(), p, off, fua)
	}
	data, late := append([]byte(nil), p...), v.late() // reported as an error, done later
	v.w.s.Go("ghost", func() {
		_ = v.w.s.Sleep(context.Background(), late)
		_ = v.dev.WriteAt(context.Background(), data, off, fua)
	})
	return errInjected
}

func (w *world) check() {
	w.t.Helper()
	require.Empty(w.t, w.faults)
}

func simulate(t *testing.T, seed uint64) {
	w := newWorld(t, seed, 3+uint32(seed%3))
	p := w.sb.Profile
	for i := range uint16(w.sb.Slots) {
		w.nodes = append(w.nodes, w.vote(i, 1))
	}
	reborn := map[uint16]time.Duration{}
	for range 120 {
		i := w.rng.IntN(len(w.nodes))
		switch v := w.nodes[i]; w.rng.IntN(6) {
		case 0:
			if !v.dead {
				v.kill(w.rng.IntN(3))
				reborn[v.slot] = w.s.Now() + p.IOBound + p.Guard // V1
			}
		case 1:
			v.prob = []float64{0, 0.05, 0.3}[w.rng.IntN(3)]
		default:
			if v.dead && w.s.Now() >= reborn[v.slot] {
				w.nodes[i] = w.vote(v.slot, v.life+1)
			}
		}
		require.NoError(t, w.s.Run(w.s.Now()+time.Duration(w.rng.IntN(400))*time.Millisecond))
		w.check()
	}
	w.calm(2 + int(seed%2)*(len(w.nodes)-2))
}

// calm ends the faults: those nodes that are left, the first keep of them at least, get views through.
func (w *world) calm(keep int) {
	p := w.sb.Profile
	for i, v := range w.nodes {
		v.prob = 0
		if i < keep && v.dead {
			w.nodes[i] = nil
		} else if i >= keep {
			v.kill(0)
		}
	}
	require.NoError(w.t, w.s.Run(w.s.Now()+p.Wait()+p.IOBound)) // torn blocks of the dead are not waited for any longer
	var left []*voter
	for i := range w.nodes {
		if w.nodes[i] == nil {
			w.nodes[i] = w.vote(uint16(i), 100)
		}
		if !w.nodes[i].dead {
			w.nodes[i].wins = 0
			left = append(left, w.nodes[i])
		}
	}
	for end := w.s.Now() + time.Minute; ; {
		require.NoError(w.t, w.s.Run(w.s.Now()+50*time.Millisecond))
		w.check()
		done := true
		for _, v := range left {
			done = done && v.wins >= 3
		}
		if done {
			return
		}
		require.Less(w.t, w.s.Now(), end, "no view goes through")
	}
}
