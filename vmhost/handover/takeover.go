package handover

import "fmt"

// Takeover returns the record by which self takes a VM whose node has died, or its move's: restart is cold, from the
// disks. dead reports who is proven dead, fenced, and replayed; only that makes the disks safe to take. patient says that
// nobody else may come: a target that has GO has been given its time. ErrNotDead: not now, or not at all.
func Takeover(r Record, self Node, dead func(Node) bool, patient bool) (Record, error) {
	switch {
	case r.State == Running && dead(r.Owner):
		return r.runningOn(self), nil
	case r.State == Migrating && dead(r.Owner) && (dead(r.Target) || patient):
		// A target that has GO and swaps later finds another record, and forgets its copy.
		return r.runningOn(self), nil
	}
	return Record{}, fmt.Errorf("take %s: %w: the record is %s", r.VM, ErrNotDead, r)
}
