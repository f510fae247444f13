package cluster

import (
	"fmt"
	"time"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// core decides for one node what to do next, from what its looks at the disk have shown. It is a pure state machine:
// no I/O, clock, procedure or chance. Everything that it wants on the disk is an exact swap of what it has seen, so a
// decision that came too late does nothing.
type core struct {
	name, addr string
	machine    Machine
	profile    ondisk.Profile
	takeover   bool

	arbitration ondisk.Arbitration // how this node agrees on views
	methods     []fence.Method     // of proving deaths; their Prove is the shell's to call

	phase    phase
	id       view.NodeID   // own life; Slot is view.NoSlot before the claim
	since    time.Duration // of the first look, then of the claim
	im       *image
	watch    []watch
	badViews int
	seen     uint64 // highest epoch seen
	locked   map[view.Slot]time.Duration

	entered   bool // the view has listed our life
	ownJob    job  // replay of our own slot
	job       job  // replay of another slot
	installed view.Epoch
	names     map[view.NodeID]view.Member
	links     links
	linked    time.Duration // when links was brought up to date
	err       error         // why the join is being given up
	waits     waits

	told   *ondisk.View // whose changes have been told
	marks  map[view.NodeID]fence.Proof
	deaths map[view.NodeID]death
	fenced string // method of the latest death that was ours to prove
}

type phase int

const (
	phaseClaim  phase = iota // looking for a slot
	phaseJoin                // has a slot, not yet active
	phaseMember              // active
	phaseLeave               // giving the slot back
	phaseOver                // nothing more to do
)

// job is the replay of one journal for one dead life.
type job struct {
	slot    view.Slot
	life    uint32
	running bool
	done    bool
	err     error
	retry   time.Duration
}

// event is what happens to the core.
type event interface{ isEvent() }

type (
	looked struct{ im *image }
	proved struct { // the answer of a method; method -1 is a person
		method  int
		content uint64
		victim  fence.Victim
		proof   fence.Proof
		err     error
	}
	hinted    struct{ name string }    // somebody outside takes the node for dead
	lockTaken struct{ slot view.Slot } // our claim found the lock of the slot taken
	claimed   struct{ id view.NodeID }
	replayed  struct {
		slot view.Slot
		err  error
	}
	leaveAsked struct{ err error } // err is why a join is given up, nil for Leave
	released   struct{}            // our slot block is ours no more, by our own will
	lost       struct{}            // the lease is lost for good
)

func (looked) isEvent()     {}
func (proved) isEvent()     {}
func (hinted) isEvent()     {}
func (lockTaken) isEvent()  {}
func (claimed) isEvent()    {}
func (replayed) isEvent()   {}
func (leaveAsked) isEvent() {}
func (released) isEvent()   {}
func (lost) isEvent()       {}

// effect is what the shell must do, in the order given.
type effect interface{ isEffect() }

type (
	prove struct { // ask a method
		method  int
		content uint64
		victim  fence.Victim
	}
	tell     struct{ ev Event }
	swapSlot struct {
		slot view.Slot
		old  []byte
		new  *ondisk.Slot
		why  string
	}
	swapView struct {
		old  []byte
		base *ondisk.View // that old holds
		new  *ondisk.View
		why  string
	}
	claimSlot struct { // take the lock of the slot, then swap
		slot view.Slot
		old  []byte
		new  *ondisk.Slot
	}
	replay   struct{ slot view.Slot }
	install  struct{ v view.View }
	activate struct{}            // the join is done
	giveUp   struct{ err error } // the join has failed: close the gate, then leave
	release  struct{ dead bool } // stop renewing and free our slot, or leave it marked dead
	left     struct{ err error } // nothing of ours is on the disk any more
	withdraw struct{ reason Reason }
)

func (prove) isEffect()     {}
func (tell) isEffect()      {}
func (swapSlot) isEffect()  {}
func (swapView) isEffect()  {}
func (claimSlot) isEffect() {}
func (replay) isEffect()    {}
func (install) isEffect()   {}
func (activate) isEffect()  {}
func (giveUp) isEffect()    {}
func (release) isEffect()   {}
func (left) isEffect()      {}
func (withdraw) isEffect()  {}

func newCore(c *Config) *core {
	return &core{
		name: c.Name, addr: c.Addr, machine: c.Machine, profile: c.Super.Profile, takeover: !c.NoTakeover,
		methods: c.Fencing, marks: map[view.NodeID]fence.Proof{}, deaths: map[view.NodeID]death{},
		id: view.NodeID{Slot: view.NoSlot}, since: c.Sched.Now(), watch: make([]watch, c.Super.Slots),
		locked: map[view.Slot]time.Duration{}, names: map[view.NodeID]view.Member{}, links: links{},
	}
}

// step takes in one event and appends what to do.
func (c *core) step(now time.Duration, ev event, out []effect) []effect {
	switch e := ev.(type) {
	case looked:
		return c.look(now, e.im, out)
	case proved:
		c.proven(now, e)
	case hinted:
		return c.hear(now, e.name, out)
	case lockTaken:
		c.locked[e.slot] = now
	case claimed:
		c.id, c.phase, c.since = e.id, phaseJoin, now
		c.ownJob = job{slot: e.id.Slot}
	case replayed:
		return c.replayEnded(now, e, out)
	case leaveAsked:
		if c.phase < phaseLeave {
			c.err, c.phase = e.err, phaseLeave
		}
	case released:
		c.phase = phaseOver
		return append(out, left{c.err})
	case lost:
		c.phase = phaseOver
	}
	return out
}

// look takes in what the disk shows and acts on it.
func (c *core) look(now time.Duration, im *image, out []effect) []effect {
	c.waits.begin()
	defer c.waits.end(now)
	if !c.accept(im) {
		if c.phase < phaseMember && c.badViews > 4 {
			return c.fail(fmt.Errorf("view: %w", im.viewErr), out)
		}
		return c.leaveBlind(out)
	}
	for j := range im.slots {
		if view.Slot(j) == c.id.Slot {
			continue
		}
		c.watch[j].see(c.profile, im.slots[j], im.start, im.end)
		if s := im.slots[j].slot; s != nil && s.State != ondisk.SlotFree {
			id := view.NodeID{Slot: view.Slot(j), Incarnation: view.Incarnation(s.Incarnation)}
			c.names[id] = view.Member{NodeID: id, Name: s.Name, Addr: s.Addr}
		}
	}
	c.forgetNames()
	out = c.tellChanges(now, out)
	switch c.phase {
	case phaseClaim:
		return c.claim(now, out)
	case phaseJoin, phaseMember:
		return c.member(now, out)
	case phaseLeave:
		return c.leave(out)
	}
	return out
}

// accept refuses a look whose view is not valid or older than one that was seen.
func (c *core) accept(im *image) bool {
	if im.view == nil {
		c.badViews++
		c.waits.add("the view block is not readable: "+im.viewErr.Error(), view.NoSlot)
		return false
	}
	c.badViews = 0
	if im.view.Epoch < c.seen {
		c.waits.add(fmt.Sprintf("the disk showed epoch %d after epoch %d", im.view.Epoch, c.seen), view.NoSlot)
		return false
	}
	c.im, c.seen = im, im.view.Epoch
	return true
}

// forgetNames drops the names of lives that neither the view nor a slot speaks of.
func (c *core) forgetNames() {
	if len(c.names) <= 4*len(c.watch) {
		return
	}
	for id := range c.names {
		s := c.watch[id.Slot].slot
		if c.im.view.Members[id.Slot] != uint32(id.Incarnation) && (s == nil || s.Incarnation != uint32(id.Incarnation)) {
			delete(c.names, id)
		}
	}
}

func (c *core) fail(err error, out []effect) []effect {
	c.err, c.phase = err, phaseLeave
	return append(out, giveUp{err})
}

// self is the slot block of our own life, without what every renewal changes.
func (c *core) self(index view.Slot, incarnation uint32) *ondisk.Slot {
	ms := func(d time.Duration) uint32 { return uint32(d.Milliseconds()) }
	p := c.profile
	return &ondisk.Slot{
		Index: uint16(index), State: ondisk.SlotJoining, Incarnation: incarnation, Seq: 1, Epoch: c.seen, Name: c.name, Addr: c.addr,
		Boot: c.machine.Boot, Host: c.machine.Host, Pid: c.machine.Pid,
		Profile: [4]uint32{ms(p.Heartbeat), ms(p.Lease), ms(p.IOBound), ms(p.Guard)},
	}
}

// build makes the view of im as others know it; ok is false while the slot block of a member cannot be read.
func (c *core) build() (v view.View, ok bool) {
	v.Epoch = view.Epoch(c.im.view.Epoch)
	for j, m := range c.im.view.Members {
		id := view.NodeID{Slot: view.Slot(j), Incarnation: view.Incarnation(m)}
		switch known, found := c.names[id]; {
		case m == 0:
		case id == c.id:
			v.Members = append(v.Members, view.Member{NodeID: id, Name: c.name, Addr: c.addr})
		case found:
			v.Members = append(v.Members, known)
		case c.over(id.Slot, m): // a life that we never met; the next view will not have it
			v.Members = append(v.Members, view.Member{NodeID: id})
		default:
			c.waits.add("the slot block of a member is not readable", id.Slot)
			return view.View{}, false
		}
	}
	for j, r := range c.im.view.Recovering {
		if r != 0 {
			v.Recovering = append(v.Recovering, view.NodeID{Slot: view.Slot(j), Incarnation: view.Incarnation(r)})
		}
	}
	return v, true
}

// over reports whether the life of slot j that had incarnation inc has ended: marked dead, or its slot is free or
// belongs to a later life, which nobody can claim before the earlier one is over.
func (c *core) over(j view.Slot, inc uint32) bool {
	if j == c.id.Slot {
		return inc != uint32(c.id.Incarnation)
	}
	s := c.watch[j].slot
	if s == nil || s.Incarnation < inc {
		return false
	}
	return s.Incarnation > inc || s.State == ondisk.SlotFree || isDead(s)
}
