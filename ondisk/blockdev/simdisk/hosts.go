package simdisk

import (
	"context"

	"github.com/covol/covol/ondisk/blockdev"
)

// KillHost is the sudden death of a host: all its paths return ErrDead from now on, also to calls that wait. Of
// its writes in flight, landLater (at most all) stay under way as ghosts, chosen by the seed; the others are
// gone. What had landed stays.
func (d *Disk) KillHost(n, landLater int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.host(n).life++
	lost := d.take(n, ErrDead)
	d.rng.Shuffle(len(lost), func(i, j int) { lost[i], lost[j] = lost[j], lost[i] })
	d.ghosts = append(d.ghosts, lost[:min(max(landLater, 0), len(lost))]...)
}

// take removes the writes in flight of a host; their callers will get err.
func (d *Disk) take(n int, err error) []*write {
	var mine, others []*write
	for _, w := range d.inflight {
		if w.host == n {
			w.gone = err
			mine = append(mine, w)
		} else {
			others = append(others, w)
		}
	}
	d.inflight = others
	return mine
}

// InFlight is how many writes of a host have been issued and not answered.
func (d *Disk) InFlight(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	count := 0
	for _, w := range d.inflight {
		if w.host == n {
			count++
		}
	}
	return count
}

// Ghosts is how many writes of dead hosts may still land.
func (d *Disk) Ghosts() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ghosts)
}

// DeliverGhosts lands all ghosts, in an order the seed chooses, and returns how many there were.
func (d *Disk) DeliverGhosts() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.ghosts
	d.ghosts = nil
	d.rng.Shuffle(len(g), func(i, j int) { g[i], g[j] = g[j], g[i] })
	for _, w := range g {
		d.landWrite(w, w.off, w.data, true)
	}
	return len(g)
}

// Fence shuts a host out: its ghosts and its writes in flight never land, and its later writes are ErrFenced,
// also after a reboot, until Unfence. It may go on reading.
func (d *Disk) Fence(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fence(n)
}

func (d *Disk) fence(n int) {
	d.host(n).fenced = true
	d.take(n, blockdev.ErrFenced)
	kept := d.ghosts[:0:0]
	for _, w := range d.ghosts {
		if w.host != n {
			kept = append(kept, w)
		}
	}
	d.ghosts = kept
}

// Unfence lets a host write again: it registered anew.
func (d *Disk) Unfence(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.host(n).fenced = false
}

// Fence fences the host with the victim's number. A fenced host cannot fence.
func (p reservePath) Fence(ctx context.Context, victim uint64) error {
	const op = Op("fence")
	t, err := p.begin(ctx, op, 0, 0)
	if err != nil {
		return err
	}
	defer p.d.mu.Unlock()
	if err := p.pass(ctx, t); err != nil {
		return err
	}
	if err := p.mayWrite(); err != nil {
		return fail(op, 0, 0, err)
	}
	p.d.fence(int(victim))
	return nil
}
