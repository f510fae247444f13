package dlm

import (
	"slices"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm/wire"
)

// lost is a share of the directory that nobody keeps any more: of the members of some earlier view, those in gone
// kept it. What hashes there and is registered by no living master may be held by one of unrecovered, so it is
// given to nobody until they are recovered. Without members every resource is meant.
type lost struct {
	members     []view.NodeID
	gone        []view.NodeID
	unrecovered []view.NodeID
}

// lostLimit bounds the list; beyond it everything unregistered waits, which is safe.
const lostLimit = 64

// noteLost finds what is lost by going from the views of the history to the members of the present one. Views
// whose rebuild did not finish count as well: their keepers may or may not have known.
func (c *Core) noteLost(now []view.NodeID) {
	b := &c.rebuild
	for i := range b.lost {
		b.lost[i].unrecovered = c.stillRecovering(b.lost[i].unrecovered)
	}
	b.lost = slices.DeleteFunc(b.lost, func(l lost) bool { return len(l.unrecovered) == 0 })
	if len(c.view.Recovering) == 0 {
		return
	}
	history := b.history
	if b.finished {
		history = history[len(history)-1:]
	} else if b.trimmed {
		c.addLost(lost{unrecovered: c.view.Recovering})
	}
	for _, members := range history {
		var gone []view.NodeID
		for _, m := range members {
			if !slices.Contains(now, m) {
				gone = append(gone, m)
			}
		}
		if len(gone) > 0 {
			c.addLost(lost{members: members, gone: gone, unrecovered: c.view.Recovering})
		}
	}
}

func (c *Core) addLost(n lost) {
	n.unrecovered = c.stillRecovering(n.unrecovered)
	if len(n.unrecovered) == 0 {
		return
	}
	b := &c.rebuild
	for _, l := range b.lost {
		if slices.Equal(l.members, n.members) && slices.Equal(l.gone, n.gone) && slices.Equal(l.unrecovered, n.unrecovered) {
			return
		}
	}
	if len(b.lost) >= lostLimit {
		n = lost{unrecovered: c.view.Recovering}
		b.lost = nil
	}
	b.lost = append(b.lost, n)
}

// lostTo is the dead nodes that may hold r, which has no master, because its share of the directory is lost.
func (c *Core) lostTo(r Resource) []view.NodeID {
	var dead []view.NodeID
	for _, l := range c.rebuild.lost {
		if len(l.members) > 0 && !slices.Contains(l.gone, keeperAmong(l.members, r)) {
			continue
		}
		for _, n := range l.unrecovered {
			if !slices.Contains(dead, n) {
				dead = append(dead, n)
			}
		}
	}
	return dead
}

func (c *Core) lostOnWire() []wire.Lost {
	var w []wire.Lost
	for _, l := range c.rebuild.lost {
		w = append(w, wire.Lost{Members: l.members, Gone: l.gone, Blockers: l.unrecovered})
	}
	return w
}
