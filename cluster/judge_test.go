package cluster

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
)

// judge watches what lands on the medium and what the nodes are told. It knows nothing of how nodes decide.
type judge struct {
	w      *world
	views  map[uint64]*ondisk.View
	view   *ondisk.View
	slots  map[uint16]*ondisk.Slot
	lives  map[view.NodeID]life
	open   map[uint16]bool // journals that are dirty
	dead   map[view.NodeID]bool
	faults []string
	votes  *voteJudge // nil with compare-and-write
}

type life struct {
	name string
	pid  uint32
}

func newJudge(w *world) *judge {
	return &judge{w: w, views: map[uint64]*ondisk.View{}, slots: map[uint16]*ondisk.Slot{}, lives: map[view.NodeID]life{}, open: map[uint16]bool{}, dead: map[view.NodeID]bool{}}
}

func (j *judge) fault(format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf("%v: ", j.w.s.Now())+fmt.Sprintf(format, args...))
}

func (j *judge) landed(l simdisk.Landing) {
	sb, blk := j.w.sb, uint64(l.Off/ondisk.BlockSize)
	switch {
	case j.votes != nil && blk < sb.JournalStart(0):
		j.votes.landed(blk, l.Data)
	case blk == ondisk.ViewBlock:
		if v, err := ondisk.DecodeView(sb, l.Data); err != nil {
			j.fault("view: %v", err)
		} else {
			j.viewLanded(v)
		}
	case blk >= sb.SlotBlock(0) && blk < sb.SlotBlock(uint16(sb.Slots)):
		index := uint16(blk - sb.SlotBlock(0))
		if s, err := ondisk.DecodeSlot(sb, index, l.Data); err != nil {
			j.fault("slot: %v", err)
		} else {
			j.slotLanded(s)
		}
	case blk >= sb.JournalStart(0):
		j.journalLanded(uint16((blk-sb.JournalStart(0))/uint64(sb.JournalBlocks)), l)
	}
}

// Epochs grow one by one, one epoch is one view, no name is in twice, no slot is member and recovering at once, and
// whoever's journal is dirty is in the view (R4).
func (j *judge) viewLanded(v *ondisk.View) {
	if old := j.view; old != nil {
		if old.Epoch == v.Epoch && old.Writer == v.Writer { // swapped with itself
			return
		}
		if v.Epoch != old.Epoch+1 {
			j.fault("epoch %d after %d", v.Epoch, old.Epoch)
		}
		for s, m := range v.Members {
			if m != 0 && m < old.Members[s] {
				j.fault("epoch %d: slot %d went back to incarnation %d", v.Epoch, s, m)
			}
			if old.Members[s] != 0 && m == 0 && v.Recovering[s] == 0 && j.open[uint16(s)] {
				j.fault("epoch %d: slot %d left with a dirty journal", v.Epoch, s)
			}
		}
	}
	j.view, j.views[v.Epoch] = v, v
	names := map[string]int{}
	for s, m := range v.Members {
		if m == 0 {
			continue
		}
		l := j.lives[view.NodeID{Slot: view.Slot(s), Incarnation: view.Incarnation(m)}]
		if other, twice := names[l.name]; twice {
			j.fault("epoch %d: %s in slots %d and %d", v.Epoch, l.name, other, s)
		}
		names[l.name] = s
		if v.Recovering[s] != 0 {
			j.fault("epoch %d: slot %d is member and recovering", v.Epoch, s)
		}
	}
	for s, dirty := range j.open {
		if dirty && v.Members[s] == 0 && v.Recovering[s] == 0 {
			j.fault("epoch %d: journal of slot %d is dirty and forgotten", v.Epoch, s)
		}
	}
}

// One life belongs to one process, and only it moves; the others only mark it dead.
func (j *judge) slotLanded(s *ondisk.Slot) {
	old := j.slots[s.Index]
	j.slots[s.Index] = s
	if old != nil && s.Incarnation < old.Incarnation {
		j.fault("slot %d went back to incarnation %d", s.Index, s.Incarnation)
	}
	if isDead(s) {
		j.dead[view.NodeID{Slot: view.Slot(s.Index), Incarnation: view.Incarnation(s.Incarnation)}] = true
		j.admitted()
	}
	if s.State == ondisk.SlotFree || isDead(s) {
		return
	}
	id := view.NodeID{Slot: view.Slot(s.Index), Incarnation: view.Incarnation(s.Incarnation)}
	if known, ok := j.lives[id]; ok && known != (life{s.Name, s.Pid}) {
		j.fault("life %v belongs to %v and %s pid %d", id, known, s.Name, s.Pid)
	}
	j.lives[id] = life{s.Name, s.Pid}
	if old != nil && old.Incarnation == s.Incarnation && (isDead(old) || old.State == ondisk.SlotFree) && old.Seq != 0 {
		j.fault("life %v came back from the dead", id)
	}
}

// A write of a life lands only while its slot block is its own; a journal is touched only by who owns the slot (R5),
// and opened only when clean.
func (j *judge) journalLanded(slot uint16, l simdisk.Landing) {
	le := binary.LittleEndian
	if l.Host == 0 {
		return
	}
	by := view.NodeID{Slot: view.Slot(le.Uint16(l.Data[8:])), Incarnation: view.Incarnation(le.Uint32(l.Data[12:]))}
	own := j.slots[uint16(by.Slot)]
	if own == nil || own.Incarnation != uint32(by.Incarnation) || own.State == ondisk.SlotFree || isDead(own) {
		j.fault("a write of %v landed in journal %d after its life was over: its slot is %+v", by, slot, own)
		return
	}
	if int(own.Pid) != l.Host {
		j.fault("a write of pid %d landed as life %v of pid %d", l.Host, by, own.Pid)
	}
	if uint16(by.Slot) != slot {
		if rec, ok := recoverer(j.slots[slot]); !ok || rec != by {
			j.fault("%v replays journal %d, which is %+v", by, slot, j.slots[slot])
		}
	} else if view.Incarnation(le.Uint32(l.Data)) == by.Incarnation && l.Data[16] == 1 {
		if j.view.Members[slot] != uint32(by.Incarnation) {
			j.fault("%v works without being a member", by)
		}
	}
	j.open[slot] = l.Data[16] == 1
}

// Nobody who has been declared dead may begin a write: what it held may be another's a moment later.
func (j *judge) admitted() {
	for _, p := range j.w.procs {
		if p.node != nil && !p.dead && j.dead[p.node.ID()] && p.node.Gate().Open() {
			j.fault("%v may write as life %v, which is dead to the others", p, p.node.ID())
		}
	}
}

// A node is told of views in order, of what is on the disk, and only of views that contain it.
func (j *judge) viewTold(p *proc, v view.View) {
	if n := len(p.views); n > 1 && p.views[n-2].Epoch >= v.Epoch {
		j.fault("%v was told epoch %d after %d", p, v.Epoch, p.views[n-2].Epoch)
	}
	on := j.views[uint64(v.Epoch)]
	if on == nil {
		j.fault("%v was told epoch %d, which never was", p, v.Epoch)
		return
	}
	members, rec := make([]uint32, len(on.Members)), make([]uint32, len(on.Members))
	self := false
	for _, m := range v.Members {
		members[m.Slot] = uint32(m.Incarnation)
		self = self || m.NodeID == p.joining.ID() && m.Name == p.name
		if l := j.lives[m.NodeID]; l.name != m.Name && m.Name != "" {
			j.fault("%v was told that %v is %q, it is %q", p, m.NodeID, m.Name, l.name)
		}
	}
	for _, r := range v.Recovering {
		rec[r.Slot] = uint32(r.Incarnation)
	}
	if !slices.Equal(members, on.Members) || !slices.Equal(rec, on.Recovering) {
		j.fault("%v was told another view of epoch %d: %+v, on the disk %+v", p, v.Epoch, v, on)
	}
	if !self {
		j.fault("%v was told a view without itself", p)
	}
}

// A join that succeeds finds nothing to recover, or a member that is not itself.
func (j *judge) joined(p *proc) {
	v := p.node.View()
	if len(v.Recovering) > 0 && len(v.Members) == 1 {
		j.fault("%v joined alone with %v to recover", p, v.Recovering)
	}
	if !v.Has(p.node.ID()) {
		j.fault("%v joined a view without itself", p)
	}
}

// check fails the test if anything was found.
func (w *world) check() {
	w.t.Helper()
	if len(w.judge.faults) > 0 {
		for _, f := range w.judge.faults[:min(5, len(w.judge.faults))] {
			w.t.Error(f)
		}
		w.t.FailNow()
	}
}

// idle reports whether all that was to be recovered has been, and every dead slot has been freed.
func (w *world) idle() bool {
	for s := range w.sb.Slots {
		b := w.judge.slots[uint16(s)]
		if w.judge.view.Recovering[s] != 0 || b != nil && isDead(b) {
			return false
		}
		if m := w.judge.view.Members[s]; m != 0 {
			if !slices.ContainsFunc(w.procs, func(p *proc) bool {
				return p.active() && p.node.ID() == view.NodeID{Slot: view.Slot(s), Incarnation: view.Incarnation(m)}
			}) {
				return false
			}
		}
	}
	return true
}

const patience = 60 * time.Second
