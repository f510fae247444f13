package cluster

import (
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// Status is what a node knows of its volume's cluster. Times are of the scheduler's clock or durations.
type Status struct {
	Now       time.Duration
	Self      view.NodeID
	State     State
	Reason    Reason
	Since     time.Duration // of the state
	View      view.View     // installed
	DiskEpoch view.Epoch    // highest seen on the disk
	LeaseAge  time.Duration // since the start of the last renewal that counted
	LeaseLeft time.Duration // until the lease ends; negative when it has run out
	Waiting   int           // operations that wait at the gate
	InFlight  int           // operations that the gate has admitted
	Fencing   []string      // methods in use, best first
	Fenced    string        // method of the latest death that this node proved, empty if none
	Watchdog  string        // what resets this host if the lease is lost, empty if nothing
	Views     string        // how views are agreed on
	Heartbeat string        // what went wrong with the latest heartbeat, empty if nothing
	Disk      string        // what went wrong with the latest look, empty if nothing
	Slots     []SlotStatus
	Waits     []Wait
	Victims   []VictimStatus // suspects whose death is not proven yet
}

// VictimStatus is a node of which this one waits for a proof of death.
type VictimStatus struct {
	ID    view.NodeID
	Name  string
	Since time.Duration // Scheduler.Now when it was suspected
	// AtMost is how long the proof takes still at most, -1 if there is no bound: then somebody must help.
	AtMost time.Duration
	Tries  []string // "method: what it says", best first
}

// SlotStatus is one slot as this node sees it. Free slots without a name are left out.
type SlotStatus struct {
	ID         view.NodeID
	Name, Addr string
	Pid        uint32
	State      string        // free, joining, active, leaving, dead, unreadable
	Liveness   string        // self, alive, suspect, unknown, free, dead
	Epoch      view.Epoch    // that it has installed
	Age        time.Duration // since this node last saw its heartbeat change
	ProofIn    time.Duration // until the lease alone proves its death; 0 if it is not suspected
	Member     bool
	Recovering bool
	Recoverer  *view.NodeID // who brings its journal home
	SameHost   bool         // its death can be proven by the lock of the host
}

// Status may be called at any time, by anyone.
func (n *Node) Status() Status {
	st := Status{Now: n.cfg.Sched.Now(), Waiting: n.gate.Waiting(), InFlight: n.gate.InFlight(), Views: "compare-and-write"}
	st.State, st.Reason, st.Since = n.state.get()
	if deadline, ok := n.gate.Deadline(); ok {
		st.LeaseLeft = deadline - st.Now
		st.LeaseAge = n.cfg.Super.Profile.Lease - st.LeaseLeft
	}
	if n.cfg.Watchdog != nil {
		st.Watchdog = n.cfg.Watchdog.String()
	}
	if n.disk.votes != nil {
		st.Views = "votes, the device has no compare-and-write"
	}
	for _, m := range n.cfg.Fencing {
		st.Fencing = append(st.Fencing, m.Name())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.renewer != nil {
		if _, err := n.renewer.health(); err != nil {
			st.Heartbeat = err.Error()
		}
	}
	if n.diskErr != nil {
		st.Disk = n.diskErr.Error()
	}
	st.View, st.Self = n.view, n.core.id
	n.core.status(&st)
	st.Waits = append(st.Waits, n.stallWait()...)
	return st
}

func (c *core) status(st *Status) {
	st.DiskEpoch, st.Waits, st.Fenced = view.Epoch(c.seen), slices.Clone(c.waits.now), c.fenced
	st.Victims = c.pending(st.Now)
	if c.im == nil {
		return
	}
	for j := range c.im.slots {
		s := c.im.slots[j].slot
		if s != nil && s.State == ondisk.SlotFree && s.Name == "" {
			continue
		}
		st.Slots = append(st.Slots, c.slotStatus(view.Slot(j), s, st.Now))
	}
}

func (c *core) slotStatus(j view.Slot, s *ondisk.Slot, now time.Duration) SlotStatus {
	w, v := &c.watch[j], c.im.view
	out := SlotStatus{ID: view.NodeID{Slot: j}, State: "unreadable", Recovering: v.Recovering[j] != 0}
	if s != nil {
		out.ID.Incarnation = view.Incarnation(s.Incarnation)
		out.Name, out.Addr, out.Pid, out.Epoch = s.Name, s.Addr, s.Pid, view.Epoch(s.Epoch)
		out.State = [...]string{"free", "joining", "active", "leaving"}[s.State]
		out.Member = v.Members[j] != 0 && v.Members[j] == s.Incarnation
		switch {
		case isDead(s):
			out.State = "dead"
		case isExpelled(s):
			out.State = "put out"
		}
		if by, ok := recoverer(s); ok {
			out.Recoverer = &by
		}
	}
	if j == c.id.Slot {
		out.Liveness = "self"
		return out
	}
	verdict := w.verdict(c.profile)
	out.Liveness, out.Age, out.SameHost = verdict.String(), max(now-w.since, 0), w.neighbour(c.machine)
	if verdict == slotSuspect {
		out.ProofIn = max(c.profile.Wait()-w.age, 0)
	}
	return out
}
