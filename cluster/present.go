package cluster

import (
	"context"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// Present reads who is in the view now, without becoming part of it and without a judgement who of them is alive: for a
// node that wants to know whom it will have to talk to before it comes in.
func Present(ctx context.Context, s sched.Scheduler, dev blockdev.Device, sb *ondisk.Super) ([]view.Member, error) {
	d := &disk{dev: dev, sb: sb, sched: s}
	im, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	if im.view == nil {
		return nil, im.viewErr
	}
	var list []view.Member
	for j, inc := range im.view.Members {
		if slot := im.slots[j].slot; inc != 0 && slot != nil && slot.Incarnation == inc {
			list = append(list, view.Member{NodeID: view.NodeID{Slot: view.Slot(j), Incarnation: view.Incarnation(inc)}, Name: slot.Name, Addr: slot.Addr})
		}
	}
	return list, nil
}
