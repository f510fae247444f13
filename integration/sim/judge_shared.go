package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// sharedJudge holds operations on what all clients share to some order that agrees with when they began and ended.
// Every operation ends with a sync, reads too, so that what it saw or did is durable when it is answered; one that has no
// answer may take effect at any later time, or never.
type sharedJudge struct {
	w     *World
	clock int64
	hist  map[string][]porcupine.Operation
}

func newSharedJudge(w *World) *sharedJudge {
	return &sharedJudge{w: w, hist: map[string][]porcupine.Operation{}}
}

func (j *sharedJudge) tick() int64 {
	j.clock++
	return j.clock
}

// never is the end of an operation that was not answered.
const never = int64(1) << 62

// sharedOp is an operation on a shared object: a register, or a name.
type sharedOp struct {
	kind  string // read, write; create, unlink, lookup
	value uint64 // that is written
}

// sharedAnswer is what came back; unknown if nothing did.
type sharedAnswer struct {
	unknown bool
	value   uint64
	done    bool // create, unlink: it was done; lookup: the name is there
}

func (j *sharedJudge) add(object string, client uint32, in sharedOp, call int64, out sharedAnswer) {
	end := j.tick()
	if out.unknown {
		end = never
	}
	j.w.stats.Shared++
	j.hist[object] = append(j.hist[object], porcupine.Operation{ClientId: int(client), Input: in, Call: call, Output: out, Return: end})
}

// registerModel is one value that is read and written.
var registerModel = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, in, out any) (bool, any) {
		op, ans := in.(sharedOp), out.(sharedAnswer)
		if op.kind == "write" {
			return true, op.value
		}
		return ans.value == state.(uint64), state
	},
}

// nameModel is a name that is there or not.
var nameModel = porcupine.Model{
	Init: func() any { return false },
	Step: func(state, in, out any) (bool, any) {
		op, ans, there := in.(sharedOp), out.(sharedAnswer), state.(bool)
		switch op.kind {
		case "create":
			return ans.unknown || ans.done == !there, true
		case "unlink":
			return ans.unknown || ans.done == there, false
		default:
			return ans.done == there, there
		}
	},
}

// judgeTime is how long, in real time, one history may be searched for an order.
const judgeTime = 5 * time.Second

// check looks for an order of all histories.
func (j *sharedJudge) check() {
	if j.w.opt.Beyond {
		return
	}
	for _, object := range sortedKeys(j.hist) {
		model := registerModel
		if strings.HasPrefix(object, "name") {
			model = nameModel
		}
		switch porcupine.CheckOperationsTimeout(model, j.hist[object], judgeTime) {
		case porcupine.Illegal:
			j.w.fault("shared", "no order explains what was seen of %s:%s", object, describe(j.hist[object]))
		case porcupine.Unknown:
			j.w.stats.Undecided++
		}
	}
}

func describe(ops []porcupine.Operation) string {
	var b strings.Builder
	for _, o := range ops {
		fmt.Fprintf(&b, "\n\t%d..%d client %d %+v: %+v", o.Call, o.Return, o.ClientId, o.Input, o.Output)
	}
	return b.String()
}
