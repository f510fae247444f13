package sim

import (
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
)

// judges are all who look on.
type judges struct {
	locks    *lockJudge
	lives    *lifeJudge
	fence    *fenceJudge
	volume   *volumeJudge
	files    *fileJudge
	shared   *sharedJudge
	liveness *livenessJudge
	off      bool // what lands is not the cluster's doing: a judge works on a copy of the disk
}

func newJudges(w *World) *judges {
	j := &judges{locks: newLockJudge(w), lives: newLifeJudge(w), volume: &volumeJudge{w}, files: &fileJudge{w}, shared: newSharedJudge(w), liveness: &livenessJudge{w}}
	j.fence = &fenceJudge{w, j.lives}
	return j
}

// begin shows the volume as it is before the first node starts.
func (j *judges) begin(img *memdev.Image) { j.lives.begin(img) }

// told is called when a node learns of a view, before its lock manager does.
func (j *judges) told(p *process, v view.View) { j.lives.told(p, v) }

// landed is called for all that reaches the medium.
func (w *World) landed(l simdisk.Landing) {
	j := w.judges
	if j.off {
		return
	}
	w.stats.Landed++
	if !j.lives.landed(l) {
		j.fence.landed(l)
	}
}
