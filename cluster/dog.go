package cluster

import (
	"fmt"
	"time"
)

// Watchdog resets this host when it is not fed any more; see package cluster/watchdog.
type Watchdog interface {
	// Arm starts it; it must fire within limit after the last Feed.
	Arm(limit time.Duration) error
	// Feed starts the time anew. It must not block.
	Feed() error
	// Disarm stops it.
	Disarm() error
	// String describes it.
	String() string
}

// feed is called with each renewal that counts; the first one arms the dog. An error means that there is no lease.
func (r *renewer) feed() error {
	dog := r.n.cfg.Watchdog
	if dog == nil {
		return nil
	}
	if r.armed {
		if err := dog.Feed(); err != nil { // it will fire, unless the next meal is taken
			r.n.cfg.Log.Error("watchdog not fed", "node", r.n.cfg.Name, "err", err)
		}
		return nil
	}
	p := r.n.cfg.Super.Profile
	if err := dog.Arm(p.Lease + p.Guard/2); err != nil {
		r.n.gate.close(fmt.Errorf("%w: %w", ErrLeft, err))
		r.n.endReplay()
		r.n.post(leaveAsked{err})
		return err
	}
	r.armed = true
	return nil
}
