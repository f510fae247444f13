package dlm

import (
	"maps"
	"slices"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm/wire"
)

// batch bounds the resources in one rebuild message.
const batch = 512

// historyLimit bounds the views remembered while no rebuild finishes.
const historyLimit = 32

// rebuild is the state of the last view change. It runs in two rounds. A member sends its parts to whom they
// concern and then Ready to all. Who has every Ready has every part meant for it, and sends Done to all. Who has
// every Done knows that nobody lacks anything: the rebuild is finished, and what the views before were needed for
// may be forgotten.
type rebuild struct {
	// history are the members of the views since the last finished rebuild, the present one last. If based, the
	// first is the view of that rebuild; else this node never finished one, or had to forget.
	history  [][]view.NodeID
	based    bool
	trimmed  bool
	finished bool
	// resumed: the rebuild before was finished, so that nobody has an unanswered claim.
	resumed bool

	ready, done map[view.NodeID]bool
	someBased   bool // a member that sent Ready was based
	allReady    bool

	claims map[Resource][]claim
	lost   []lost
}

type claim struct {
	from view.NodeID
	wire.Claim
}

func (b *rebuild) members() []view.NodeID {
	if len(b.history) == 0 {
		return nil
	}
	return b.history[len(b.history)-1]
}

// serves reports whether node id, the keeper of r, knows all about it: the rebuild is finished, or id kept r in
// every view since one that was.
func (b *rebuild) serves(id view.NodeID, r Resource) bool {
	if b.finished {
		return true
	}
	if !b.based {
		return false
	}
	for _, members := range b.history {
		if keeperAmong(members, r) != id {
			return false
		}
	}
	return true
}

// setView takes a view change in. Nothing is done about what it does not touch.
func (c *Core) setView(v view.View) {
	if v.Epoch <= c.view.Epoch {
		return
	}
	if !v.Has(c.id) {
		c.stop()
		return
	}
	members := make([]view.NodeID, len(v.Members))
	for i, m := range v.Members {
		members[i] = m.NodeID
	}
	c.view = v
	c.view.Members, c.view.Recovering = slices.Clone(v.Members), slices.Clone(v.Recovering)
	c.stats.ViewChanges++
	c.beginRebuild(members)
	c.resetSessions()
	c.cache.keep(&c.view)
	c.parked = nil

	c.rebuildMasters()
	c.rebuildDirectory()
	c.rebuildLocks()
	c.sendReady()
	for _, r := range sortedKeys(c.masters) {
		c.evaluate(c.masters[r])
	}
	c.drain()
	c.feedEarly()
}

func (c *Core) beginRebuild(members []view.NodeID) {
	b := &c.rebuild
	c.noteLost(members)
	c.rememberClaims()
	b.resumed = b.finished
	if b.finished {
		b.history, b.based = b.history[len(b.history)-1:], true
	}
	b.history = append(slices.Clone(b.history), members)
	if len(b.history) > historyLimit {
		b.history, b.based, b.trimmed = b.history[len(b.history)-1:], false, true
	}
	b.finished, b.allReady, b.someBased = false, false, false
	b.ready, b.done = map[view.NodeID]bool{}, map[view.NodeID]bool{}
	b.claims = map[Resource][]claim{}
}

// rememberClaims keeps what an unfinished rebuild told this keeper: others may have finished it, and count on the
// claims having arrived here, and the claimant may be dead by now.
func (c *Core) rememberClaims() {
	for r := range c.rebuild.claims {
		if c.dir[r] == nil {
			c.dir[r] = &entry{orphan: true}
		}
	}
}

// rebuildMasters registers every resource mastered here with its keeper.
func (c *Core) rebuildMasters() {
	parts := map[view.NodeID][]wire.Resource{}
	for _, r := range sortedKeys(c.masters) {
		c.masterMembers(c.masters[r])
		k := c.keeper(r)
		parts[k] = append(parts[k], r.wire())
	}
	c.sendParts(parts, func(part []wire.Resource) wire.Message {
		return &wire.Register{Epoch: c.view.Epoch, Res: part}
	})
}

// rebuildDirectory finds the entries whose master is gone. While anyone is being recovered such a resource is not
// free even if nobody claims it, and a new keeper is told so. If the rebuild before was not finished, who died since
// may have died with a claim that never came.
func (c *Core) rebuildDirectory() {
	parts := map[view.NodeID][]wire.Resource{}
	for _, r := range sortedKeys(c.dir) {
		e := c.dir[r]
		switch {
		case e.orphan && c.rebuild.resumed:
			e.unrecovered = c.stillRecovering(e.unrecovered)
		case e.orphan || !c.view.Has(e.master):
			e.orphan, e.unrecovered = true, c.view.Recovering
		}
		if k := c.keeper(r); k != c.id && e.orphan && len(e.unrecovered) > 0 {
			parts[k] = append(parts[k], r.wire())
		}
	}
	c.sendParts(parts, func(part []wire.Resource) wire.Message {
		return &wire.Markers{Epoch: c.view.Epoch, Res: part}
	})
}

// rebuildLocks claims what is held under masters that are gone, and asks again for what is wanted from them.
func (c *Core) rebuildLocks() {
	parts := map[view.NodeID][]wire.Claim{}
	for _, r := range sortedKeys(c.locks) {
		l := c.locks[r]
		if l.state == settled && c.view.Has(l.master) {
			continue
		}
		l.asked = asked{}
		l.tries = 0
		if l.told == NL {
			l.state = unknown
			c.serve(l)
			continue
		}
		l.state = claiming
		k := c.keeper(r)
		parts[k] = append(parts[k], wire.Claim{Res: r.wire(), Mode: uint8(l.told), Req: l.answered, Token: l.token,
			Valid: l.valid, Version: l.version, Value: l.value})
		c.serve(l)
	}
	for _, k := range c.rebuild.members() {
		for part := range slices.Chunk(parts[k], batch) {
			c.send(k, &wire.Claims{Epoch: c.view.Epoch, Items: part})
		}
	}
}

func (c *Core) sendParts(parts map[view.NodeID][]wire.Resource, message func([]wire.Resource) wire.Message) {
	for _, k := range c.rebuild.members() {
		for part := range slices.Chunk(parts[k], batch) {
			c.send(k, message(part))
		}
	}
}

func (c *Core) sendReady() {
	m := &wire.Ready{Epoch: c.view.Epoch, Based: c.rebuild.based, Lost: c.lostOnWire()}
	for _, k := range c.rebuild.members() {
		c.send(k, m)
	}
}

func (c *Core) onReady(from view.NodeID, m *wire.Ready) {
	b := &c.rebuild
	if m.Epoch != c.view.Epoch || b.ready == nil {
		return
	}
	b.ready[from] = true
	b.someBased = b.someBased || m.Based
	for _, l := range m.Lost {
		c.addLost(lost{members: l.Members, gone: l.Gone, unrecovered: l.Blockers})
	}
	if b.allReady || len(b.ready) < len(b.members()) {
		return
	}
	b.allReady = true
	if !b.someBased { // nobody here was there before the dead were
		c.addLost(lost{unrecovered: c.view.Recovering})
	}
	for _, k := range b.members() {
		c.send(k, &wire.Done{Epoch: c.view.Epoch})
	}
}

func (c *Core) onDone(from view.NodeID, m *wire.Done) {
	b := &c.rebuild
	if m.Epoch != c.view.Epoch || b.finished {
		return
	}
	b.done[from] = true
	if len(b.done) < len(b.members()) {
		return
	}
	b.finished, b.trimmed = true, false
	c.stats.Rebuilds++
	c.settleDirectory()
	c.effect(EffRebuilt{Epoch: c.view.Epoch})
}

// stillRecovering is those of nodes that the present view is recovering.
func (c *Core) stillRecovering(nodes []view.NodeID) []view.NodeID {
	if !slices.ContainsFunc(nodes, func(n view.NodeID) bool { return !c.view.IsRecovering(n) }) {
		return nodes
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(n view.NodeID) bool { return !c.view.IsRecovering(n) })
}

// sortedKeys keeps the random order of maps from deciding anything.
func sortedKeys[V any](m map[Resource]V) []Resource {
	return slices.SortedFunc(maps.Keys(m), compareResources)
}
