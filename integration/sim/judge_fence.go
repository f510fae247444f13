package sim

import (
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
)

// fenceJudge holds every write to journals, metadata and data to the life that issued it: it may land only while the
// life's slot is its own. What lands later could meet what others have been given.
type fenceJudge struct {
	w     *World
	lives *lifeJudge
}

func (j *fenceJudge) landed(l simdisk.Landing) {
	if j.w.opt.Beyond && l.Ghost {
		return // that is what this mode is for
	}
	known := false
	for _, s := range j.lives.slots {
		if s == nil || int(s.Pid) != l.Host {
			continue
		}
		known = true
		if s.State != ondisk.SlotFree && !slotDead(s) {
			return
		}
	}
	why := "has no slot"
	if known {
		why = "is over"
	}
	j.w.fault("fence", "a write of process %d of %d bytes landed at block %d, ghost %v: its life %s", l.Host, len(l.Data), l.Off/ondisk.BlockSize, l.Ghost, why)
}
