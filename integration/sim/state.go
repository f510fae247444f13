package sim

import (
	"fmt"
	"strings"

	"github.com/covol/covol/ondisk"
)

func viewString(v *ondisk.View) string {
	return fmt.Sprintf("%d members %v recovering %v", v.Epoch, v.Members, v.Recovering)
}

// state says where a host stands.
func (h *Host) state() string {
	p := h.proc
	if p == nil {
		return h.name + ": never started"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v:", p)
	switch {
	case p.clock.dead:
		b.WriteString(" dead")
	case p.left:
		b.WriteString(" has left")
	case p.failed != nil:
		fmt.Fprintf(&b, " did not start: %v", p.failed)
	case p.node == nil:
		fmt.Fprintf(&b, " starting since %v", p.began)
	default:
		st := p.node.Status()
		fmt.Fprintf(&b, " %v (%v) epoch %d, lease %v, waits %v, heartbeat %q, disk %q, lost %v", st.State, st.Reason, st.View.Epoch, st.LeaseLeft, st.Waits, st.Heartbeat, st.Disk, p.lost)
		for _, l := range p.node.LockManager().Locks() {
			if l.Waiting || l.Recovering {
				fmt.Fprintf(&b, "\n\t\t%v has %v wants %v since %v, master %v %v, unrecovered %v", l.Resource, l.Mode, l.Want, l.Since, l.Master, l.Known, l.Unrecovered)
			}
		}
	}
	for op := range p.ops {
		fmt.Fprintf(&b, "\n\t\top %s since %v", op.what, op.began)
	}
	return b.String()
}
