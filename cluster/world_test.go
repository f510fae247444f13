package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// world is a simulated disk with the nodes that share it.
type world struct {
	t     testing.TB
	s     *simsched.Scheduler
	rng   *rand.Rand // of the test's own choices; the scheduler has another one
	sb    *ondisk.Super
	disk  *simdisk.Disk
	locks map[[2]int64]*proc // machine, byte
	mute  map[[2]string]bool // what the first node says does not reach the second
	procs []*proc
	judge *judge
	trace io.Writer

	calming bool // faults are over
}

func fastProfile() ondisk.Profile { return ondisk.Profiles[2] }

func newWorld(t testing.TB, seed uint64, slots uint32, caw bool) *world {
	w := &world{t: t, s: simsched.New(seed), rng: rand.New(rand.NewPCG(seed, 7)), locks: map[[2]int64]*proc{},
		mute: map[[2]string]bool{}}
	t.Cleanup(w.stop)
	w.sb = &ondisk.Super{UUID: ondisk.UUID{1, 2, 3}, Blocks: ondisk.MinVolume / ondisk.BlockSize, Slots: slots,
		JournalBlocks: ondisk.MinJournal, ClusterSize: 4096, Profile: fastProfile()}
	w.judge = newJudge(w)
	if !caw {
		w.judge.votes = newVoteJudge(w.judge)
	}
	w.disk = simdisk.New(simdisk.Config{Size: ondisk.MinVolume, SectorSize: 4096, Seed: seed, CompareAndWrite: caw,
		Traits: simdisk.Traits{LoseUnflushed: true}, OnLand: w.judge.landed})
	dev := w.disk.Path(0)
	v := &ondisk.View{Members: make([]uint32, slots), Recovering: make([]uint32, slots)}
	w.put(dev, ondisk.ViewBlock, ondisk.EncodeView(w.sb, v))
	for i := range uint16(slots) {
		w.put(dev, w.sb.BallotBlock(i), ondisk.EncodeBallot(w.sb, &ondisk.Ballot{Slot: i}))
		w.put(dev, w.sb.SlotBlock(i), ondisk.EncodeSlot(w.sb, &ondisk.Slot{Index: i}))
		w.put(dev, w.sb.JournalStart(i), make([]byte, ondisk.BlockSize))
	}
	w.disk.SetWait(w.s.Sleep)
	w.s.Go("tick", func() { // time goes on even when all processes are dead
		for w.s.Sleep(context.Background(), time.Second) == nil {
		}
	})
	return w
}

// stop ends the world when nothing is inside the disk any more.
func (w *world) stop() {
	for _, p := range w.procs {
		p.dead = true
	}
	_ = w.s.Run(w.s.Now() + 10*time.Second)
	w.s.Stop()
}

func (w *world) put(dev blockdev.Device, blk uint64, b []byte) {
	require.NoError(w.t, dev.WriteAt(context.Background(), b, int64(blk)*ondisk.BlockSize, true))
}

// run lets virtual time pass until cond holds, or fails after limit.
func (w *world) run(limit time.Duration, what string, cond func() bool) {
	w.t.Helper()
	for end := w.s.Now() + limit; !cond(); {
		if w.s.Now() >= end {
			for _, p := range w.procs {
				if p.node != nil && !p.dead {
					st := p.node.Status()
					w.t.Logf("%v: %v (%v) epoch %d, waits %v", p, st.State, st.Reason, st.View.Epoch, st.Waits)
				}
			}
			w.t.Fatalf("%s: not within %v; waiting: %v", what, limit, w.waits())
		}
		require.NoError(w.t, w.s.Run(w.s.Now()+20*time.Millisecond))
		w.judge.admitted()
	}
}

func (w *world) waits() (out []string) {
	for _, p := range w.procs {
		if n := p.joining; n != nil && !p.dead && !p.done {
			out = append(out, p.String()+" "+n.waitingFor())
		}
	}
	return out
}

// proc is one process: one life of a node.
type proc struct {
	w       *world
	name    string
	machine int
	host    int // of simdisk; each process has its own
	sched   *freezer
	hb      *hbDev
	data    blockdev.Device // not gated

	joining *Node // set by a hook as soon as it exists
	node    *Node // set when Join has returned
	err     error // of Join
	done    bool  // Join has returned
	dead    bool
	left    bool // Leave has returned nil
	quit    bool // a Leave has begun
	leftErr error
	views   []view.View
	states  []State
	events  []Event
	journal bool // opened
	writes  int
	cancel  context.CancelFunc
}

func (p *proc) String() string { return fmt.Sprintf("%s#%d", p.name, p.host) }

// spawn makes a process that joins. Machine 0 has no locks.
func (w *world) spawn(name string, machine int, change ...func(*Config)) *proc {
	p := &proc{w: w, name: name, machine: machine, host: len(w.procs) + 1}
	w.procs = append(w.procs, p)
	p.sched = &freezer{Scheduler: w.s, p: p}
	p.data = w.disk.Path(p.host)
	p.hb = &hbDev{Device: p.data, p: p}
	var dev blockdev.Device = p.hb
	if c, ok := p.data.(blockdev.CompareAndWriter); ok {
		dev = &hbCompare{p.hb, c}
	}
	ctx, cancel := w.s.WithCancel(context.Background())
	p.cancel = cancel
	log := slog.New(slog.DiscardHandler)
	if w.trace != nil {
		log = slog.New(slog.NewTextHandler(w.trace, &slog.HandlerOptions{ReplaceAttr: w.stamp})).With("proc", p.host)
	}
	seed := [32]byte{}
	binary.LittleEndian.PutUint64(seed[:], uint64(p.host))
	cfg := Config{
		Dev: dev, Super: w.sb, Name: name, Addr: fmt.Sprintf("host%d:7000", p.host), Sched: p.sched, Log: log,
		Rand:    rand.NewChaCha8(seed),
		Machine: Machine{Host: [16]byte{9, byte(machine)}, Boot: [16]byte{8, byte(machine)}, Pid: uint32(p.host)},
		OnView:  p.onView, OnState: func(s State, _ Reason) { p.states = append(p.states, s) },
		OnEvent: func(e Event) { p.events = append(p.events, e) },
		Replay:  p.replay, Poke: p.poke, Greet: p.greet,
	}
	if machine != 0 {
		cfg.Host = &lockTable{p}
	}
	for _, f := range change {
		f(&cfg)
	}
	p.sched.Go("join "+p.String(), func() {
		n, err := join(ctx, cfg, func(n *Node) { p.joining = n })
		p.node, p.err, p.done = n, err, true
		if err == nil {
			p.joined()
		}
	})
	return p
}

func (w *world) stamp(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.String("t", w.s.Now().String())
	}
	return a
}

func (p *proc) poke(to []view.Member) {
	for _, m := range to {
		for _, q := range p.w.procs {
			if q.node != nil && q.name == m.Name && !q.dead {
				q.node.Refresh()
			}
		}
	}
}

// greet reaches the lives that it is meant for, unless the network is cut.
func (p *proc) greet(to []view.Member) {
	for _, m := range to {
		for _, q := range p.w.procs {
			if q.node != nil && !q.dead && q.name == m.Name && q.node.ID() == m.NodeID && !p.w.mute[[2]string{p.name, q.name}] {
				q.node.Heard(p.joining.ID().Slot)
			}
		}
	}
}

// cut keeps what the nodes of from say away from those of to.
func (w *world) cut(from, to []string) {
	for _, a := range from {
		for _, b := range to {
			w.mute[[2]string{a, b}] = a != b
		}
	}
}

func (p *proc) onView(v view.View) {
	p.views = append(p.views, v)
	p.w.judge.viewTold(p, v)
}

// joined opens the journal and works until the process ends.
func (p *proc) joined() {
	p.w.judge.joined(p)
	dev := p.node.Gate().Wrap(p.data)
	p.journal = true
	p.sched.Go("work "+p.String(), func() {
		for !p.quit {
			if !p.writeJournal(dev, true) {
				return
			}
			if p.sched.Sleep(context.Background(), time.Duration(50+p.w.rng.IntN(200))*time.Millisecond) != nil {
				return
			}
		}
		p.journal = false
	})
}

// journalBlock is the model of a journal: who has it open.
func journalBlock(sb *ondisk.Super, slot view.Slot, inc view.Incarnation, host int, dirty bool, by view.NodeID) []byte {
	b := make([]byte, ondisk.BlockSize)
	le := binary.LittleEndian
	le.PutUint32(b[0:], uint32(inc))
	le.PutUint32(b[4:], uint32(host))
	le.PutUint16(b[8:], uint16(by.Slot))
	le.PutUint32(b[12:], uint32(by.Incarnation))
	if dirty {
		b[16] = 1
	}
	return b
}

func (p *proc) writeJournal(dev blockdev.Device, dirty bool) bool {
	id := p.node.ID()
	b := journalBlock(p.w.sb, id.Slot, id.Incarnation, p.host, dirty, id)
	err := dev.WriteAt(context.Background(), b, int64(p.w.sb.JournalStart(uint16(id.Slot)))*ondisk.BlockSize, true)
	if err == nil {
		p.writes++
	}
	return err == nil
}

// replay brings the model journal home in a few writes.
func (p *proc) replay(ctx context.Context, g *Gate, slot view.Slot) error {
	dev := g.Wrap(p.data)
	off := int64(p.w.sb.JournalStart(uint16(slot))) * ondisk.BlockSize
	b := make([]byte, ondisk.BlockSize)
	if err := dev.ReadAt(ctx, b, off); err != nil {
		return err
	}
	if b[16] == 0 {
		return nil
	}
	by := p.joining.ID()
	for i := range 3 {
		binary.LittleEndian.PutUint16(b[8:], uint16(by.Slot))
		binary.LittleEndian.PutUint32(b[12:], uint32(by.Incarnation))
		binary.LittleEndian.PutUint32(b[4:], uint32(p.host))
		if i == 2 {
			b[16] = 0
		}
		if err := dev.WriteAt(ctx, b, off, true); err != nil {
			return err
		}
		if err := p.sched.Sleep(ctx, 30*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// leave closes the journal and leaves.
func (p *proc) leave() {
	if p.node == nil || p.quit {
		return
	}
	p.quit = true
	p.sched.Go("leave "+p.String(), func() {
		for p.journal {
			if p.sched.Sleep(context.Background(), 10*time.Millisecond) != nil {
				return
			}
		}
		if !p.writeJournal(p.node.Gate().Wrap(p.data), false) {
			p.node.Kill()
			return
		}
		p.leftErr = p.node.Leave(context.Background())
		p.left = p.leftErr == nil
	})
}

// kill is kill -9: nothing of the process runs any more, its locks are dropped. Writes that are under way may land
// later only where no lock speaks for their end.
func (p *proc) kill(ghosts int) {
	if p.dead {
		return
	}
	p.dead = true
	if p.machine != 0 {
		ghosts = 0
	}
	p.w.disk.KillHost(p.host, ghosts)
	if ghosts > 0 {
		p.w.s.AfterFunc(time.Duration(p.w.rng.Int64N(int64(p.w.sb.Profile.IOBound))), func() { p.w.disk.DeliverGhosts() })
	}
	for k, q := range p.w.locks {
		if q == p {
			delete(p.w.locks, k)
		}
	}
}

// active reports whether the process has joined and may work.
func (p *proc) active() bool {
	if p.node == nil || p.dead || p.quit {
		return false
	}
	s, _, _ := p.node.State()
	return s == StateActive
}

// over reports whether the life of the process on the volume has ended, or never began.
func (p *proc) over() bool {
	if p.dead || p.left || (p.done && p.err != nil) {
		return true
	}
	if p.node == nil {
		return false
	}
	s, _, _ := p.node.State()
	return s.Lost()
}

// lockTable are the locks of a machine.
type lockTable struct{ p *proc }

var errTaken = errors.New("taken")

func (l *lockTable) key(n int64) [2]int64 { return [2]int64{int64(l.p.machine), n} }

func (l *lockTable) LockByte(n int64, _ bool) error {
	if l.p.w.locks[l.key(n)] != nil {
		return errTaken
	}
	l.p.w.locks[l.key(n)] = l.p
	return nil
}

func (l *lockTable) UnlockByte(n int64) error {
	if l.p.w.locks[l.key(n)] != l.p {
		return errTaken
	}
	delete(l.p.w.locks, l.key(n))
	return nil
}

func (l *lockTable) ByteLocked(n int64) (bool, error) { return l.p.w.locks[l.key(n)] != nil, nil }

// freezer is the scheduler of one process, which may be frozen (as by SIGSTOP) or dead: then whatever waits does not
// come back.
type freezer struct {
	sched.Scheduler
	p     *proc
	until time.Duration // frozen, by the clock of the world
	jump  time.Duration // by which the clock of its host is ahead
}

func (f *freezer) Now() time.Duration { return f.Scheduler.Now() + f.jump }

func (f *freezer) freeze(d time.Duration) { f.until = max(f.until, f.Scheduler.Now()+d) }

func (f *freezer) thaw() {
	if f.p.dead {
		_ = f.Scheduler.NewEvent().Wait(context.Background())
	}
	for f.Scheduler.Now() < f.until {
		_ = f.Scheduler.Sleep(context.Background(), f.until-f.Scheduler.Now())
		if f.p.dead {
			_ = f.Scheduler.NewEvent().Wait(context.Background())
		}
	}
}

func (f *freezer) Go(name string, fn func()) {
	f.Scheduler.Go(name, func() { f.thaw(); fn() })
}

func (f *freezer) AfterFunc(d time.Duration, fn func()) func() bool {
	return f.Scheduler.AfterFunc(d, func() { f.thaw(); fn() })
}

func (f *freezer) Sleep(ctx context.Context, d time.Duration) error {
	err := f.Scheduler.Sleep(ctx, d)
	f.thaw()
	return err
}

func (f *freezer) NewEvent() sched.Event { return &freezeEvent{f.Scheduler.NewEvent(), f} }

type freezeEvent struct {
	sched.Event
	f *freezer
}

func (e *freezeEvent) Wait(ctx context.Context) error {
	err := e.Event.Wait(ctx)
	e.f.thaw()
	return err
}
