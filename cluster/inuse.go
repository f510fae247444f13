package cluster

import (
	"context"
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// InUse returns the names of the nodes that have, or may have, the volume mounted: for tools that need it alone. It
// reads only, and waits until every slot is seen to change or its owner is proven dead: a moment for nodes of this
// host and for a volume that was left cleanly, at most the profile's Wait otherwise. host may be nil.
func InUse(ctx context.Context, dev blockdev.Device, sb *ondisk.Super, host HostLocks) ([]string, error) {
	m, err := LocalMachine()
	if err != nil {
		return nil, err
	}
	return inUse(ctx, sched.Real{}, dev, sb, host, m)
}

func inUse(ctx context.Context, s sched.Scheduler, dev blockdev.Device, sb *ondisk.Super, host HostLocks, m Machine) ([]string, error) {
	if host == nil {
		m = Machine{}
	}
	d := &disk{dev: dev, sb: sb, sched: s, votes: newVotes(dev, sb, s)} // also says what compare-and-write has written
	watched := make([]watch, sb.Slots)
	for {
		im, err := d.look(ctx)
		if err != nil {
			return nil, err
		}
		var names []string
		unclear := false
		for j := range watched {
			w := &watched[j]
			w.see(sb.Profile, im.slots[j], im.start, im.end)
			alive, known, err := w.inUse(sb.Profile, j, host, m)
			if err != nil {
				return nil, err
			}
			unclear = unclear || !known
			if alive {
				names = append(names, nameOrSlot(w.slot, j))
			}
		}
		if !unclear {
			return names, nil
		}
		if err := s.Sleep(ctx, sb.Profile.Heartbeat/2); err != nil {
			return nil, err
		}
	}
}

// inUse asks the lock of the host first, whatever the block says: a node holds it from before its claim until after
// its last write.
func (w *watch) inUse(p ondisk.Profile, slot int, host HostLocks, m Machine) (alive, known bool, err error) {
	open := false
	if host != nil {
		held, err := host.ByteLocked(int64(slot))
		if err != nil {
			return false, false, fmt.Errorf("look at the lock of slot %d: %w", slot, err)
		}
		if held {
			return true, true, nil
		}
		open = w.neighbour(m)
	}
	switch w.verdict(p) {
	case slotFree, slotDead:
		return false, true, nil
	case slotAlive:
		return true, true, nil
	}
	dead := w.age >= p.Wait() || open && w.verdict(p) == slotSuspect
	return false, dead, nil
}

func nameOrSlot(s *ondisk.Slot, slot int) string {
	if s == nil || s.Name == "" {
		return fmt.Sprintf("slot %d", slot)
	}
	return s.Name
}

func nameOf(s *ondisk.Slot) string {
	if s == nil {
		return "unreadable block"
	}
	return s.Name
}
