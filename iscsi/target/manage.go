package target

import (
	"github.com/covol/covol/iscsi/pdu"
)

// abort marks the tasks that match and returns them. They end without an answer; one that runs at the device ends when the
// device is done.
func (c *conn) abort(match func(*task) bool) []*task {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*task
	for _, k := range c.tasks {
		if match(k) && !k.aborted {
			k.aborted = true
			delete(c.waiting, k.tag)
			k.cancel()
			all = append(all, k)
		}
	}
	return all
}

// manage is a Task Management Function Request (RFC 7143 11.5). Tasks are marked at once, in the order of the wire; the
// answer goes out when none of them is running any more.
func (c *conn) manage(h *pdu.Header) error {
	if c.discovery {
		return c.reject(h, pdu.RejectProtocol)
	}
	lun := pdu.DecodeLUN(h.Get(pdu.LUN))
	unit := c.t.o.Server.Unit(lun)
	response := uint64(pdu.TaskComplete)
	var victims []*task
	var after func()
	onLUN := func(k *task) bool { return k.lun == lun }
	switch function := h[1] & 0x7f; {
	case function == pdu.TargetWarmReset || function == pdu.TargetColdReset:
		victims = c.t.abortAll(func(*task) bool { return true })
		after = c.t.reset
	case function != pdu.AbortTask && function != pdu.AbortTaskSet && function != pdu.ClearTaskSet && function != pdu.LogicalUnitRst:
		response = pdu.TaskNotSupported
	case unit == nil:
		response = pdu.TaskNoLUN
	case function == pdu.AbortTask:
		tag := h.U32(pdu.RefTaskTag)
		victims = c.abort(func(k *task) bool { return k.lun == lun && k.h.U32(pdu.ITT) == tag })
		if len(victims) == 0 && !c.past(h.U32(pdu.RefCmdSN)) {
			response = pdu.TaskUnknown
		}
	case function == pdu.AbortTaskSet:
		victims = c.abort(onLUN)
	case function == pdu.ClearTaskSet:
		victims = c.t.abortAll(onLUN)
	default:
		victims = c.t.abortAll(onLUN)
		after = unit.Reset
	}
	c.running.Go(func() {
		for _, k := range victims {
			<-k.ended
		}
		if after != nil {
			after()
		}
		o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpTaskReply, pdu.Final)}}
		o.Set(pdu.Response, response)
		o.Set(pdu.ITT, h.Get(pdu.ITT))
		c.out.send(o)
	})
	return nil
}

// past reports whether the command of this number was received: then it has ended, and ABORT TASK is done (RFC 7143
// 11.6.1).
func (c *conn) past(refCmdSN uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return pdu.Less(refCmdSN, c.expCmdSN) && pdu.Less(c.expCmdSN-uint32(2*c.t.o.QueueDepth), refCmdSN)
}

func (t *Target) abortAll(match func(*task) bool) []*task {
	var all []*task
	for _, c := range t.inSession() {
		all = append(all, c.abort(match)...)
	}
	return all
}

func (t *Target) reset() {
	for _, n := range t.o.Server.Numbers() {
		t.o.Server.Unit(n).Reset()
	}
}
