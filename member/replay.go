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
	r := Replayed{Slot: slot, Groups: stats.Groups, Applied: stats.Applied}
	n.mu.Lock()
	n.replays = append(n.replays, r)
	n.mu.Unlock()
	n.cfg.OnReplay(r)
	return nil
}

// Replays are the journals that this node has brought home, its own included.
func (n *Node) Replays() []Replayed {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Replayed(nil), n.replays...)
}
