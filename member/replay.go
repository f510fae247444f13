package member

import (
	"context"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/journal"
)

// Replayed is a journal that was brought home.
type Replayed struct {
	Slot    view.Slot
	Groups  int // transactions
	Applied int // blocks
}

// replay brings home what a dead owner of a slot left in its journal.
func (n *Node) replay(ctx context.Context, gate *cluster.Gate, slot view.Slot) error {
	dev := gate.Wrap(n.cfg.Data)
	stats, err := journal.Replay(ctx, dev, n.cfg.Super, slot, journal.ReplayOptions{Sched: n.cfg.Sched, Log: n.cfg.Log})
	if err != nil || stats.Clean {
		return err
	}
	n.cfg.Log.Info("journal replayed", "slot", slot, "transactions", stats.Groups, "blocks", stats.Applied)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replays = append(n.replays, Replayed{Slot: slot, Groups: stats.Groups, Applied: stats.Applied})
	return nil
}

// Replays are the journals that this node has brought home, its own included.
func (n *Node) Replays() []Replayed {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Replayed(nil), n.replays...)
}

// Recover joins a volume that nobody uses, brings home every journal under the same protection as a mount, and leaves.
// It returns what was replayed, also with an error.
func Recover(ctx context.Context, cfg Config) ([]Replayed, error) {
	cfg.fill()
	cfg.Network = nil
	n := &Node{cfg: cfg}
	if err := n.enter(ctx); err != nil {
		return n.Replays(), err
	}
	return n.Replays(), n.mem.Load().Leave(ctx)
}
