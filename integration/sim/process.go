package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/fs"
	"github.com/covol/covol/member"
	"github.com/covol/covol/ondisk/sched"
)

// process is one life of a node: what kill -9 ends.
type process struct {
	w     *World
	host  *Host
	n     int // number of the process in the run; its number at the disk too
	clock *clock
	stop  context.CancelFunc // of Start

	node    *member.Node // once Start has returned
	id      view.NodeID
	began   time.Duration
	lost    error // OnWithdraw
	lostAt  time.Duration
	failed  error // of Start
	left    bool
	quit    bool // no new operations
	ops     map[*opCall]bool
	badPath time.Duration // the last time the way to the disk failed
	over    sched.Event   // dead, withdrawn, left or never started
}

func (p *process) name() string { return p.host.name }

func (p *process) String() string { return fmt.Sprintf("%s#%d", p.host.name, p.n) }

// launch starts a node on h.
func (w *World) launch(h *Host) *process {
	w.lives++
	pace := 1.0
	if w.opt.Drift > 0 {
		pace += (w.rng.Float64()*2 - 1) * w.opt.Drift
	}
	p := &process{w: w, host: h, n: w.lives, clock: &clock{base: w.s, pace: pace, still: w.hooks.StillClock, end: w.s.NewEvent()}, ops: map[*opCall]bool{}, over: w.s.NewEvent(), began: w.s.Now()}
	h.proc = p
	w.procs = append(w.procs, p)
	ctx, cancel := w.s.WithCancel(background)
	p.stop = cancel
	w.event("%v starts", p)
	p.clock.Go("start "+p.String(), func() {
		node, err := member.Start(ctx, p.config())
		if err != nil {
			p.failed = err
			w.event("%v did not start: %v", p, err)
			p.over.Set()
			return
		}
		p.node, p.id = node, node.ID()
		w.event("%v is in as %v after %v", p, p.id, w.s.Now()-p.began)
		if node.Lost() != nil {
			p.over.Set()
		}
	})
	return p
}

func (p *process) config() member.Config {
	w, h := p.w, p.host
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], w.seed)
	binary.LittleEndian.PutUint64(seed[8:], uint64(p.n))
	dev := &path{p, w.disk.Path(p.n), true}
	c := member.Config{
		Data: dev, Beat: &path{p, w.disk.Path(p.n), false}, Super: w.sb, Name: h.name, Addr: fmt.Sprintf("%s:%d", h.name, p.n),
		Machine: cluster.Machine{Host: [16]byte{9, byte(h.machine)}, Boot: [16]byte{8, byte(h.machine), byte(w.boots)}, Pid: uint32(p.n)},
		Sched:   p.clock, Log: slog.New(w.logger(p)), Rand: rand.NewChaCha8(seed),
		Network: func(self view.NodeID, _ func()) (locks, control dlm.Transport, err error) {
			return w.net.join(p, self, channelLocks), w.net.join(p, self, channelControl), nil
		},
		IdleLocks: 40, CacheBytes: 2 << 20,
		Locks: func(id view.NodeID, lm fs.LockManager) fs.LockManager {
			if w.hooks.Locks != nil {
				lm = w.hooks.Locks(h.name, lm)
			}
			return w.watchLocks(p, id, lm)
		},
		OnView:     func(v view.View) { w.judges.told(p, v) },
		OnWithdraw: p.withdrew,
	}
	if h.machine > 0 {
		c.Host = hostLocks{p}
	}
	return c
}

func (p *process) withdrew(err error) {
	p.w.event("%v has withdrawn: %v", p, err)
	p.lost, p.lostAt = err, p.w.s.Now()
	p.w.stats.Withdrawals++
	p.over.Set()
}

func (p *process) pathFailed() { p.badPath = p.w.s.Now() }

// kill is kill -9, or the end of its machine: nothing of the process runs any more, its locks are dropped. With ghosts,
// writes that are under way may land later, within the bound of one I/O.
func (p *process) kill(why string, ghosts int) {
	if p.clock.dead {
		return
	}
	w := p.w
	w.event("%v dies: %s, %d writes in flight, %d may land", p, why, w.disk.InFlight(p.n), ghosts)
	p.clock.dead = true
	if p.host.machine > 0 && !w.opt.Beyond {
		ghosts = 0 // the kernel keeps the locks until they are over
	}
	w.disk.KillHost(p.n, ghosts)
	w.dropLocks(p)
	if ghosts > 0 {
		bound := w.sb.Profile.IOBound
		if w.opt.Beyond {
			bound = 3 * w.sb.Profile.Wait()
		}
		disk := w.disk
		w.s.AfterFunc(time.Duration(w.disturb.Int64N(int64(bound))), func() { w.stats.Ghosts += disk.DeliverGhosts() })
	}
	for op := range p.ops {
		op.vanished = true
	}
	p.endOps()
	p.over.Set()
}

// usable reports whether operations may be given to the process.
func (p *process) usable() bool { return p.node != nil && !p.clock.dead && !p.quit && p.failed == nil }
