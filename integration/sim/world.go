package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/fs"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// World is one run.
type World struct {
	seed    uint64
	opt     Options
	hooks   Hooks
	s       *simsched.Scheduler
	rng     *rand.Rand // of hosts and clients
	disturb *rand.Rand // of faults
	sb      *ondisk.Super
	disk    *simdisk.Disk
	net     *network
	bytes   map[lockedByte]*process
	hosts   []*Host
	procs   []*process
	clients []*client
	judges  *judges
	stats   Stats
	final   Stats // as they were when the run ended
	faults  []Fault
	trace   io.Writer
	recent  []string

	lives   int // processes so far
	boots   int // of all machines
	dirs    []fs.Ino
	shared  []fs.Ino
	excl    fs.Ino
	idle    bool // clients stop
	calm    bool // no faults any more
	closing bool // everybody leaves
	ended   bool
	over    bool // nobody judges any more
	running int  // fault makers at work
	working int  // clients at work
}

// Fault is something that a judge found.
type Fault struct {
	Judge string
	What  string
	At    time.Duration
}

func (f Fault) String() string { return fmt.Sprintf("%v: %s: %s", f.At, f.Judge, f.What) }

// Hooks break covol on purpose, for tests of the judges.
type Hooks struct {
	// Locks replaces what a node's filesystem sees of the lock manager.
	Locks func(node string, lm fs.LockManager) fs.LockManager
	// Write drops a write that is not a compare-and-write if it returns true. mounted says that the node has started.
	Write func(node string, mounted bool, off int64, b []byte) (drop bool)
	// NoFlush makes flushes and fua do nothing.
	NoFlush bool
	// StillClock keeps the clock of a frozen process from going on, so that it believes in its lease when it is back.
	StillClock bool
	// After runs when faults are over and everybody is back, before the last look.
	After func(w *World)
}

const (
	sharedFiles = 4
	exclNames   = 3
	directories = 3
)

// Run runs a seed.
func Run(seed uint64, o Options, h Hooks, trace io.Writer) *Result {
	w := newWorld(seed, o, h, trace)
	w.event("seed %#x: %v", seed, o)
	w.run()
	return w.result()
}

func newWorld(seed uint64, o Options, h Hooks, trace io.Writer) *World {
	w := &World{
		seed: seed, opt: o, hooks: h, s: simsched.New(seed), trace: trace, bytes: map[lockedByte]*process{},
		rng: rand.New(rand.NewPCG(seed, 0x40571)), disturb: rand.New(rand.NewPCG(seed, 0xfa017)), stats: Stats{Faults: map[string]int{}},
	}
	w.judges = newJudges(w)
	img, sb := format(o)
	w.sb = sb
	w.disk = simdisk.New(simdisk.Config{Size: ondisk.MinVolume, SectorSize: o.SectorSize, Seed: seed, Traits: o.Traits, Base: img,
		CompareAndWrite: true, Wait: w.s.Sleep, Latency: latency, OnLand: w.landed})
	w.judges.begin(img)
	w.net = newNetwork(w, seed)
	for i := range o.Nodes {
		w.hosts = append(w.hosts, newHost(w, i))
	}
	return w
}

// latency is mostly that of a fast disk; now and then an I/O takes a good part of the bound of the fast profile.
func latency(rng *rand.Rand, op simdisk.Op, n int) time.Duration {
	if rng.IntN(400) == 0 {
		return time.Duration(rng.Int64N(int64(300 * time.Millisecond)))
	}
	return 50*time.Microsecond + time.Duration(rng.Int64N(int64(300*time.Microsecond))) + time.Duration(n/4096)*5*time.Microsecond
}

func (w *World) run() {
	defer w.stop()
	w.s.Go("tick", func() { // time goes on even when all processes are dead
		for !w.over {
			_ = w.s.Sleep(background, time.Second)
		}
	})
	w.s.Go("director", w.direct)
	for !w.ended && len(w.faults) == 0 {
		if err := w.runFor(50 * time.Millisecond); err != nil {
			w.fault("run", "%v", err)
		}
	}
}

// runFor lets time pass; a panic of a procedure is a finding like others.
func (w *World) runFor(d time.Duration) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return w.s.Run(w.s.Now() + d)
}

// stop winds everything down: all processes are dead, and what they were doing ends with errors. Procedures that do not
// end are left alone; to end them from outside would unlock what they have unlocked.
func (w *World) stop() {
	w.stats.Time, w.stats.Hash, w.stats.Lives = w.s.Now(), w.s.Hash(), w.lives
	w.final = w.stats
	w.over, w.ended, w.idle, w.calm, w.closing = true, true, true, true, true
	w.trace = nil
	for _, p := range w.procs {
		p.clock.dead = true
		p.clock.end.Set()
		p.over.Set()
		p.stop()
		for op := range p.ops {
			op.vanished = true
			op.done.Set()
		}
		if p.node != nil {
			p.node.Kill()
		}
	}
	_ = w.runFor(time.Minute)
	if w.final.Leaked = len(w.s.Parked()); w.final.Leaked == 0 {
		w.s.Stop()
	}
}

// direct is the course of a run.
func (w *World) direct() {
	for _, h := range w.hosts {
		w.s.Go("supervise "+h.name, h.supervise)
	}
	if !w.judges.liveness.everybody("at the start") || !w.prepare() {
		return
	}
	for _, h := range w.hosts {
		for range w.opt.Clients {
			c := newClient(w, h)
			w.s.Go(c.name, c.run)
		}
	}
	w.net.faults = w.opt.Net
	w.s.Go("faults", w.disturbAll)
	_ = w.s.Sleep(background, w.opt.Work)
	w.event("calm")
	w.calm = true
	w.net.heal()
	for _, h := range w.hosts {
		h.path.heal()
	}
	for w.running > 0 || w.anyFrozen() {
		_ = w.s.Sleep(background, 10*time.Millisecond)
	}
	if w.hooks.After != nil {
		w.hooks.After(w)
	}
	_ = w.s.Sleep(background, w.sb.Profile.Wait()) // what was noticed before may still be acted upon
	if !w.judges.liveness.everybody("after the faults") {
		return
	}
	w.idle = true
	if !w.judges.liveness.within("clients to end", func() bool { return w.working == 0 }) {
		return
	}
	if !w.judges.liveness.everybody("before the last look") {
		return
	}
	w.judges.files.lastLook()
	w.judges.shared.check()
	w.event("closing")
	w.closing = true
	if w.judges.liveness.leave() {
		w.judges.volume.end()
	}
	w.ended = true
}

func (w *World) anyFrozen() bool {
	for _, p := range w.procs {
		if !p.clock.dead && p.clock.frozen() {
			return true
		}
	}
	return false
}

// members is who is in the view on the disk.
func (w *World) members() map[view.Slot]view.Incarnation { return w.judges.lives.members() }

func (w *World) fault(judge, format string, args ...any) {
	if w.over {
		return
	}
	f := Fault{judge, fmt.Sprintf(format, args...), w.s.Now()}
	w.faults = append(w.faults, f)
	w.event("FAULT %v", f)
}

// prepare makes the directories and files that all share.
func (w *World) prepare() bool {
	p := w.hosts[0].proc
	op := p.call("prepare", func() error {
		v := p.node.Volume()
		mkdir := func(name string) (ino fs.Ino, err error) {
			err = v.Mkdir(background, fs.Caller{}, v.Root(), name, 0o755, func(a fs.Attr) { ino = a.Ino })
			return ino, err
		}
		for i := range directories {
			ino, err := mkdir(fmt.Sprintf("d%d", i))
			if err != nil {
				return err
			}
			w.dirs = append(w.dirs, ino)
		}
		dir, err := mkdir("shared")
		if err != nil {
			return err
		}
		if w.excl, err = mkdir("excl"); err != nil {
			return err
		}
		for i := range sharedFiles {
			var f fs.File
			err := v.Create(background, fs.Caller{}, dir, fmt.Sprintf("r%d", i), 0o644, 0, func(a fs.Attr, o fs.File) {
				w.shared, f = append(w.shared, a.Ino), o
			})
			if err != nil {
				return err
			}
			if _, err := f.Write(background, make([]byte, sectorBytes), 0); err != nil {
				return err
			}
			if err := f.Release(background); err != nil {
				return err
			}
		}
		return v.SyncAll(background)
	})
	if op.err != nil || op.vanished {
		w.fault("run", "prepare: %v", op.err)
	}
	return op.err == nil
}
