package sim

import (
	"slices"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
)

// lifeJudge watches view and slots as they land: epochs and incarnations grow, a life belongs to one process and does not
// come back from the dead, nodes are told what is on the disk, in order.
type lifeJudge struct {
	w      *World
	view   *ondisk.View
	views  map[uint64]*ondisk.View
	slots  []*ondisk.Slot
	owner  map[view.NodeID]int // process of each life
	latest map[int]view.Epoch  // told to each process
}

func newLifeJudge(w *World) *lifeJudge {
	return &lifeJudge{w: w, views: map[uint64]*ondisk.View{}, owner: map[view.NodeID]int{}, latest: map[int]view.Epoch{}}
}

func (j *lifeJudge) begin(img *memdev.Image) {
	b := make([]byte, ondisk.BlockSize)
	img.Read(b, ondisk.ViewBlock*ondisk.BlockSize)
	v, err := ondisk.DecodeView(j.w.sb, b)
	if err != nil {
		panic(err)
	}
	j.view, j.views[v.Epoch] = v, v
	j.slots = make([]*ondisk.Slot, j.w.sb.Slots)
}

// landed looks at blocks of the view and of slots, and reports whether it was one.
func (j *lifeJudge) landed(l simdisk.Landing) bool {
	sb, blk := j.w.sb, uint64(l.Off/ondisk.BlockSize)
	switch {
	case blk == ondisk.ViewBlock:
		v, err := ondisk.DecodeView(sb, l.Data)
		if err != nil {
			j.w.fault("lives", "process %d wrote a view: %v", l.Host, err)
			return true
		}
		j.viewLanded(v)
	case blk >= sb.SlotBlock(0) && blk < sb.SlotBlock(0)+uint64(sb.Slots):
		index := uint16(blk - sb.SlotBlock(0))
		s, err := ondisk.DecodeSlot(sb, index, l.Data)
		if err != nil {
			j.w.fault("lives", "process %d wrote slot %d: %v", l.Host, index, err)
			return true
		}
		j.slotLanded(s)
	default:
		return false
	}
	return true
}

func (j *lifeJudge) viewLanded(v *ondisk.View) {
	old := j.view
	if old.Epoch == v.Epoch && old.Writer == v.Writer { // the same swap again
		return
	}
	if v.Epoch != old.Epoch+1 {
		j.w.fault("lives", "epoch %d after %d", v.Epoch, old.Epoch)
	}
	for s, m := range v.Members {
		if m != 0 && m < max(old.Members[s], old.Recovering[s]) {
			j.w.fault("lives", "epoch %d: slot %d went back to incarnation %d", v.Epoch, s, m)
		}
		if m != 0 && v.Recovering[s] != 0 {
			j.w.fault("lives", "epoch %d: slot %d is member and recovering", v.Epoch, s)
		}
		if old.Recovering[s] != 0 && v.Recovering[s] == 0 {
			j.w.stats.Takeovers++
		}
	}
	j.view, j.views[v.Epoch] = v, v
	j.w.detail("view %d: members %v recovering %v", v.Epoch, v.Members, v.Recovering)
	j.w.judges.locks.viewChanged(v)
}

// slotDead is the mark of death of LEASES.md: the top bit of Seq.
func slotDead(s *ondisk.Slot) bool { return s.State != ondisk.SlotFree && s.Seq>>63 == 1 }

// recoverer is who brings the journal of a dead slot home, as the mark of death tells.
func recoverer(s *ondisk.Slot) (view.NodeID, bool) {
	k := s.Seq << 1 >> 33
	if !slotDead(s) || k == 0 {
		return view.NodeID{}, false
	}
	return view.NodeID{Slot: view.Slot(k - 1), Incarnation: view.Incarnation(uint32(s.Seq))}, true
}

func (j *lifeJudge) slotLanded(s *ondisk.Slot) {
	old := j.slots[s.Index]
	j.slots[s.Index] = s
	if old != nil && s.Incarnation < old.Incarnation {
		j.w.fault("lives", "slot %d went back to incarnation %d", s.Index, s.Incarnation)
	}
	if s.State == ondisk.SlotFree || slotDead(s) {
		return
	}
	id := view.NodeID{Slot: view.Slot(s.Index), Incarnation: view.Incarnation(s.Incarnation)}
	if pid, ok := j.owner[id]; ok && pid != int(s.Pid) {
		j.w.fault("lives", "life %v belongs to processes %d and %d", id, pid, s.Pid)
	}
	j.owner[id] = int(s.Pid)
	if old != nil && old.Incarnation == s.Incarnation && (slotDead(old) || old.State == ondisk.SlotFree) && old.Seq != 0 {
		j.w.fault("lives", "life %v came back from the dead", id)
	}
}

func (j *lifeJudge) told(p *process, v view.View) {
	if j.latest[p.n] >= v.Epoch {
		j.w.fault("lives", "%v was told epoch %d after %d", p, v.Epoch, j.latest[p.n])
	}
	j.latest[p.n] = v.Epoch
	on := j.views[uint64(v.Epoch)]
	if on == nil {
		j.w.fault("lives", "%v was told epoch %d, which never was", p, v.Epoch)
		return
	}
	members, rec := make([]uint32, len(on.Members)), make([]uint32, len(on.Members))
	for _, m := range v.Members {
		members[m.Slot] = uint32(m.Incarnation)
	}
	for _, r := range v.Recovering {
		rec[r.Slot] = uint32(r.Incarnation)
	}
	if !slices.Equal(members, on.Members) || !slices.Equal(rec, on.Recovering) {
		j.w.fault("lives", "%v was told another view of epoch %d: %+v, on the disk %+v", p, v.Epoch, v, on)
	}
}

func (j *lifeJudge) members() map[view.Slot]view.Incarnation {
	m := map[view.Slot]view.Incarnation{}
	for s, inc := range j.view.Members {
		if inc != 0 {
			m[view.Slot(s)] = view.Incarnation(inc)
		}
	}
	return m
}

// recovering reports whether the view has dead lives that are not recovered.
func (j *lifeJudge) recovering() bool {
	return slices.ContainsFunc(j.view.Recovering, func(inc uint32) bool { return inc != 0 })
}

// in reports whether the view has id, as a member or as one whose journal is not home.
func (j *lifeJudge) in(id view.NodeID) bool {
	inc := uint32(id.Incarnation)
	return j.view.Members[id.Slot] == inc || j.view.Recovering[id.Slot] == inc
}
