package cluster

import (
	"fmt"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// stall is what the clock knows about I/O that does not come back while heartbeats get through. Others cannot notice: the
// node is alive to them, and they wait for what it holds.
type stall struct {
	// whole is since when the lease has had room and this process has run. What was in flight before waited for a
	// storage that was away, or for this process, and is not held against the data path.
	whole time.Duration
}

// giveUpAfter is how long a node waits for its own data path: as long as others wait for a node that is silent. It is
// counted as flights are, which may be half a D less than the truth.
func giveUpAfter(p ondisk.Profile) time.Duration { return p.Wait() - p.IOBound/2 }

// look is how long at least the oldest operation has been in flight without excuse, if that is more than D; else 0. gap
// is how long this process did not look at the clock.
func (s *stall) look(g *Gate, p ondisk.Profile, now, gap time.Duration) time.Duration {
	oldest := g.stalled(now, p.IOBound)
	if gap > 2*p.Heartbeat || !g.covers(g.margin) {
		s.whole = now
	}
	if oldest = min(oldest, now-s.whole); oldest > p.IOBound {
		return oldest
	}
	return 0
}

// checkStall stops new writes while I/O is overdue, and gives the volume up when it has been for too long: the heartbeats
// end, and others may take over.
func (n *Node) checkStall(now, gap time.Duration) (stalled bool) {
	p := n.cfg.Super.Profile
	age := n.stall.look(n.gate, p, now, gap)
	n.gate.hold(age > 0)
	n.mu.Lock()
	if n.overdue = 0; age > 0 {
		n.overdue = now - age
	}
	n.mu.Unlock()
	if age >= giveUpAfter(p) {
		n.withdraw(Reason{CauseStalled, fmt.Sprintf("I/O has been in flight for %v while heartbeats got through: the data path hangs", age.Round(time.Millisecond))})
	}
	return age > 0
}

// stallWait is what a node with overdue I/O waits for. Call it with n.mu held.
func (n *Node) stallWait() []Wait {
	if n.overdue == 0 {
		return nil
	}
	return []Wait{{fmt.Sprintf("the storage to answer %d operations in flight; this node gives up after %v", n.gate.InFlight(), n.cfg.Super.Profile.Wait()), view.NoSlot, n.overdue}}
}
