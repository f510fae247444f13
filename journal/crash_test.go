package journal

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/sched/simsched"
)

var seedFlag = flag.Uint64("seed", 0, "run this seed only")

// seeds are the seeds of a test; -seed runs one of them alone.
func seeds(t *testing.T, short, long int) []uint64 {
	if *seedFlag != 0 {
		return []uint64{*seedFlag}
	}
	n := long
	if testing.Short() || raceEnabled {
		n = short
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = uint64(i + 1)
	}
	return all
}

// The world of the workload: blocks that are written whole, counters that several transactions update at once, and
// places for file data.
const (
	worldBlocks   = 30
	worldCounters = 3
	worldWorkers  = 3
	worldBulk     = 30
	worldBulkAt   = 100  // meta() number of the first block of large transactions
	worldData     = 5000 // meta() number of the first data block: far from the metadata
)

// effect is what one published transaction did, for the oracle.
type effect struct {
	writes   map[uint64]uint64 // block: value
	frees    []uint64
	counters map[uint64]uint64 // block: added
	data     map[uint64]uint64 // ordered file data
}

// Marks on the tape.
type (
	syncedMark Seq                                // everything up to here was acknowledged
	dataMark   struct{ blk, v uint64 }            // a freed block holds file data now, acknowledged by Barrier
	homeMark   struct{ values map[uint64]uint64 } // FlushOwner has returned; nothing older may ever come back
)

type workload struct {
	t       testing.TB
	sb      *ondisk.Super
	s       *simsched.Scheduler
	tape    *tape
	j       *Journal
	rng     *rand.Rand
	effects []effect // index is Seq-1
	value   uint64   // distinct for every write
	free    []uint64 // places that a worker may take
	own     [worldWorkers][]uint64
	current map[uint64]uint64 // value of each owned block
	failed  error             // first error that the journal gave
	running int
	left    sched.Event
}

// runWorkload runs a random workload of three workers on a small ring, under a deterministic scheduler.
func runWorkload(t testing.TB, seed uint64, steps, failAt int) *workload {
	sb := testSuper()
	s := simsched.New(seed)
	w := &workload{t: t, sb: sb, s: s, rng: rand.New(rand.NewPCG(seed, 2)), current: map[uint64]uint64{}}
	w.tape = newTape(fresh(sb, worldCounters), seed, s.Sleep)
	w.tape.failAt = failAt
	for i := range worldBlocks {
		w.free = append(w.free, meta(sb, worldCounters+i))
	}
	s.Go("main", func() {
		c := config(sb, w.tape)
		c.Sched, c.CommitEvery, c.CheckpointIdle = s, 20*time.Millisecond, 200*time.Millisecond
		c.CacheBytes = 1
		var err error
		if w.j, err = Open(ctx, c); err != nil {
			w.failed = err
			return
		}
		w.running, w.left = worldWorkers, s.NewEvent()
		for i := range worldWorkers {
			s.Go(fmt.Sprint("worker ", i), func() {
				for range steps {
					if w.failed != nil {
						break
					}
					w.step(i)
				}
				if w.running--; w.running == 0 {
					w.left.Set()
				}
			})
		}
		_ = w.left.Wait(ctx)
		if err := w.j.Close(ctx); w.failed == nil {
			w.failed = err
		}
		w.j.Kill()
	})
	require.NoError(t, s.Run(time.Hour), "seed %d", seed)
	return w
}

// step is one thing that a worker does. Each worker is an owner; counters belong to owner 100.
func (w *workload) step(me int) {
	owner := uint64(me + 1)
	var err error
	switch k := w.rng.IntN(20); {
	case k < 13:
		err = w.transaction(me, owner)
	case k < 16:
		seq := Seq(len(w.effects))
		err = w.j.SyncAll(ctx)
		if err == nil {
			w.tape.mark(syncedMark(seq))
			err = w.s.Sleep(ctx, time.Duration(w.rng.IntN(3))*time.Millisecond)
		}
	case k < 17:
		err = w.flushOwner(me, owner)
	case k < 18:
		err = w.readBack(me, owner)
	case k < 19: // let a checkpoint run beside everything else
		w.j.mu.Lock()
		w.j.checkpointLocked(0)
		w.j.mu.Unlock()
	default:
		err = w.s.Sleep(ctx, time.Duration(w.rng.IntN(30))*time.Millisecond)
	}
	if err != nil && w.failed == nil {
		w.failed = err
	}
}

func (w *workload) transaction(me int, owner uint64) error {
	x := w.j.Begin()
	e := effect{writes: map[uint64]uint64{}, counters: map[uint64]uint64{}, data: map[uint64]uint64{}}
	put := func(blk uint64) {
		w.value++
		e.writes[blk] = w.value
		x.Write(blk, owner, node(w.sb, blk, w.value))
	}
	for range w.rng.IntN(4) {
		switch k := w.rng.IntN(10); {
		case k < 3 && len(w.free) > 0: // a new block
			i := w.rng.IntN(len(w.free))
			blk := w.free[i]
			w.free = append(w.free[:i], w.free[i+1:]...)
			w.own[me] = append(w.own[me], blk)
			put(blk)
		case k < 5 && len(w.own[me]) > 0: // free one
			i := w.rng.IntN(len(w.own[me]))
			blk := w.own[me][i]
			x.Free(blk)
			delete(e.writes, blk)
			e.frees = append(e.frees, blk)
			if w.rng.IntN(3) == 0 { // and write it again at once
				put(blk)
				break
			}
			w.own[me] = append(w.own[me][:i], w.own[me][i+1:]...)
			w.afterFree(x, blk)
		case len(w.own[me]) > 0:
			put(w.own[me][w.rng.IntN(len(w.own[me]))])
		}
	}
	if c := w.rng.IntN(2 * worldCounters); c < worldCounters {
		blk := meta(w.sb, c)
		if _, err := x.Read(ctx, blk, ondisk.TypeNode, 100); err != nil {
			return err
		}
		e.counters[blk] = w.value + 1
		x.Update(blk, 100, addValue(w.value+1))
	}
	if w.rng.IntN(4) == 0 {
		w.value++
		blk := meta(w.sb, worldData) + w.value
		e.data[blk] = w.value
		if err := w.tape.WriteAt(ctx, node(w.sb, blk, w.value), int64(blk)*ondisk.BlockSize, false); err != nil {
			return err
		}
		x.Ordered()
	}
	if w.rng.IntN(8) == 0 { // much at once, to fill the ring
		for i := range worldBulk {
			put(meta(w.sb, worldBulkAt+me*worldBulk+i))
		}
	}
	seq, err := x.Publish(ctx)
	if err != nil {
		return err
	}
	if int(seq) > len(w.effects) { // else the transaction was empty
		w.effects = append(w.effects, e)
	}
	for blk, v := range e.writes {
		w.current[blk] = v
	}
	return nil
}

// afterFree decides what becomes of a freed block: metadata again at once, or, once that is allowed, file data.
func (w *workload) afterFree(x *Txn, blk uint64) {
	if w.rng.IntN(4) > 0 {
		x.OnDurable(func() { w.free = append(w.free, blk) })
		return
	}
	x.OnDurable(func() {
		w.value++
		v := w.value
		err := w.tape.WriteAt(ctx, node(w.sb, blk, v), int64(blk)*ondisk.BlockSize, false)
		if err == nil {
			err = w.j.Barrier(ctx)
		}
		if err == nil {
			w.tape.mark(dataMark{blk, v})
		} else if w.failed == nil {
			w.failed = err
		}
	})
}

func (w *workload) flushOwner(me int, owner uint64) error {
	values := map[uint64]uint64{}
	for _, blk := range w.own[me] {
		values[blk] = w.current[blk]
	}
	if err := w.j.FlushOwner(ctx, owner); err != nil {
		return err
	}
	if w.j.HasDirty(owner) {
		return errors.New("dirty after FlushOwner")
	}
	for blk, v := range values {
		if got := home(w.t, w.tape.Device, w.sb, blk); got != v {
			return fmt.Errorf("block %d at home is %d after FlushOwner, want %d", blk, got, v)
		}
	}
	w.tape.mark(homeMark{values})
	return w.j.Drop(owner)
}

func (w *workload) readBack(me int, owner uint64) error {
	for _, blk := range w.own[me] {
		b, err := w.j.Read(ctx, blk, ondisk.TypeNode, owner)
		if err != nil {
			return err
		}
		if got := value(b); got != w.current[blk] {
			return fmt.Errorf("block %d reads %d, want %d", blk, got, w.current[blk])
		}
	}
	return nil
}

// judge is the oracle: what replay made of a crash must be a whole prefix of what was published, with everything
// that was acknowledged in it.
func (w *workload) judge(dev *memdev.Device, acked Seq, data map[uint64]uint64) error {
	have := map[uint64]uint64{}
	read := func(blk uint64) uint64 {
		v, ok := have[blk]
		if !ok {
			v = ^uint64(0)
			if b := getBlock(dev, blk); ondisk.GetHeader(b).Block == blk {
				v = value(b)
			}
			have[blk] = v
		}
		return v
	}
	for blk, v := range data {
		if got := read(blk); got != v {
			return fmt.Errorf("freed block %d was reused for data %d, replay made it %d", blk, v, got)
		}
	}
	model := map[uint64]uint64{}
	for c := range worldCounters {
		model[meta(w.sb, c)] = 0
	}
	why := ""
	for p := 0; ; p++ {
		if p >= int(acked) {
			if why = mismatch(model, read); why == "" {
				return nil
			}
		}
		if p == len(w.effects) {
			return fmt.Errorf("no prefix from %d to %d explains the volume; with all: %s", acked, p, why)
		}
		e := w.effects[p]
		for _, blk := range e.frees {
			delete(model, blk)
		}
		for blk, v := range e.writes {
			model[blk] = v
		}
		for blk, d := range e.counters {
			model[blk] += d
		}
		for blk, v := range e.data {
			model[blk] = v
		}
	}
}

func mismatch(model map[uint64]uint64, read func(uint64) uint64) string {
	for blk, v := range model {
		if got := read(blk); got != v {
			return fmt.Sprintf("block %d is %d, want %d", blk, got, v)
		}
	}
	return ""
}

// fates are the outcomes to try for n pending writes: nothing and everything survive, every subset while there are
// few, else a sample, and a sample of torn ones.
func fates(n, samples int, rng *rand.Rand) []func(i int) fate {
	all := []func(i int) fate{func(int) fate { return lost }}
	if n == 0 {
		return all
	}
	all = append(all, func(int) fate { return kept })
	if n <= 3 {
		for mask := 1; mask < 1<<n-1; mask++ {
			all = append(all, func(i int) fate { return fate(mask >> i & 1) })
		}
	} else {
		for range samples {
			mask := rng.Uint64()
			all = append(all, func(i int) fate { return fate(mask >> (i % 64) & 1) })
		}
	}
	for range samples {
		seed := rng.Uint64()
		all = append(all, func(i int) fate { return fate(rand.New(rand.NewPCG(seed, uint64(i))).IntN(3)) })
	}
	return all
}

// TestCrashAnywhere cuts the power between any two events of a random workload.
func TestCrashAnywhere(t *testing.T) {
	states := 0
	for _, seed := range seeds(t, 1, 12) {
		w := runWorkload(t, seed, 40, 0)
		require.NoError(t, w.failed, "seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 3))
		acked, data := Seq(0), map[uint64]uint64{}
		w.tape.moments(func(m moment) {
			switch k := m.event.mark.(type) {
			case syncedMark:
				acked = max(acked, Seq(k))
			case dataMark:
				data[k.blk] = k.v
			}
			if m.event.kind != writeBegins && m.event.kind != marked {
				return // what may be left now could have been left before, and nothing more was acknowledged
			}
			for i, keep := range fates(len(m.pending), 2, rng) {
				dev := m.outcome(geometry(w.sb), keep, rng)
				where := fmt.Sprintf("-seed=%d, after event %d, outcome %d", seed, m.after, i)
				_, err := Replay(ctx, dev, w.sb, 0, ReplayOptions{Sched: sched.Real{}})
				require.NoError(t, err, where)
				require.NoError(t, w.judge(dev, acked, data), where)
				states++
			}
		})
	}
	t.Logf("%d crash states", states)
}
