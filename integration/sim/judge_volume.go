package sim

import (
	"strings"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
	"github.com/covol/covol/ondisk/check"
	"github.com/covol/covol/ondisk/sched"
)

// volumeJudge looks at the volume as a whole.
type volumeJudge struct{ w *World }

// crashed judges disk as it comes up after a loss of power: with its journals laid over it, and again once they have been
// replayed.
func (j *volumeJudge) crashed(when string, disk *simdisk.Disk) {
	j.w.judges.off = true
	defer func() { j.w.judges.off = false }()
	dev := disk.Path(1 << 20)
	r := j.check(when, dev)
	if r == nil {
		return
	}
	for _, slot := range r.DirtyJournals {
		if _, err := journal.Replay(background, dev, j.w.sb, slot, journal.ReplayOptions{Sched: sched.Real{}}); err != nil {
			j.w.fault("volume", "%s: replay of slot %d: %v", when, slot, err)
			return
		}
	}
	if len(r.DirtyJournals) > 0 {
		if r := j.check(when+", replayed", dev); r != nil && len(r.DirtyJournals) > 0 {
			j.w.fault("volume", "%s: journals %v are dirty after replay", when, r.DirtyJournals)
		}
	}
}

// end judges the volume that all nodes have left.
func (j *volumeJudge) end() {
	disk := j.w.disk.Clone()
	j.w.judges.off = true
	defer func() { j.w.judges.off = false }()
	if r := j.check("at the end", disk.Path(1<<20)); r != nil && len(r.DirtyJournals) > 0 {
		j.w.fault("volume", "journals %v are dirty although all nodes have left", r.DirtyJournals)
	}
	for s := range j.w.sb.Slots {
		if v := j.w.judges.lives.view; v.Members[s] != 0 || v.Recovering[s] != 0 {
			j.w.fault("volume", "all nodes have left, and the view is %s", viewString(v))
			return
		}
		if b := j.w.judges.lives.slots[s]; b != nil && b.State != 0 {
			j.w.fault("volume", "all nodes have left, and slot %v is not free: %+v", view.Slot(s), b)
		}
	}
}

func (j *volumeJudge) check(when string, dev blockdev.Device) *check.Report {
	j.w.stats.Checked++
	r, err := check.Check(background, dev, check.Options{MaxFindings: 50})
	if err != nil {
		j.w.fault("volume", "%s: check: %v", when, err)
		return nil
	}
	if !r.Clean() && j.w.opt.Beyond {
		j.w.stats.Damaged++
		return nil
	}
	if !r.Clean() {
		var b strings.Builder
		_ = r.WriteText(&b, check.Warning)
		j.w.fault("volume", "%s: not clean:\n%s", when, b.String())
		return nil
	}
	return r
}
