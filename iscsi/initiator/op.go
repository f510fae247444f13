package initiator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/ondisk/blockdev"
)

// op is a SCSI command. It belongs to the queue, to a link, or is finished.
type op struct {
	d          *Device
	cdb        []byte
	write      []byte // data to the target
	read       []byte // room for data from it
	repeatable bool   // may be sent again after a lost answer
	first      bool   // goes before all others and while the unit is not proved to be the same
	deadline   time.Duration
	begin      func() bool // asked before each sending; nil is Options.Begin
	done       func(*op)

	// GUARDED_BY(d.mu) until it is finished.
	sent     bool   // at least once
	order    uint64 // of sending, on one link
	tag      uint32
	attempts int // that ended in a unit attention or BUSY
	got      int // bytes in read
	using    int // PDUs that are being written from its data
	answered bool
	stop     func() bool // the timer
	status   scsi.Status
	sense    scsi.Sense
	hasSense bool
	err      error // no answer, for this reason
}

// maxAttempts bounds how often an operation is sent again at once.
const maxAttempts = 32

// finish calls done.
func (p *op) finish() {
	if p.stop != nil {
		p.stop()
	}
	p.done(p)
}

// start queues an operation. It never calls done itself.
func (d *Device) start(p *op) {
	p.d = d
	p.deadline = d.o.Clock.Now() + d.o.OpTime
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead != nil || d.ctx.Err() != nil {
		if p.err = d.dead; p.err == nil {
			p.err = ErrClosed
		}
		d.o.Clock.Go("iscsi operation", p.finish)
		return
	}
	p.stop = d.o.Clock.AfterFunc(d.o.OpTime, func() { d.expire(p) })
	d.enqueueLocked(p)
}

func (d *Device) enqueueLocked(p *op) {
	if p.first {
		d.queue = append([]*op{p}, d.queue...)
	} else {
		d.queue = append(d.queue, p)
	}
	d.wakeLocked()
}

func (d *Device) wakeLocked() {
	if d.link != nil {
		d.link.wake()
	}
}

// unqueue takes p out of the queue and reports whether it was there.
func (d *Device) unqueue(p *op) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, q := range d.queue {
		if q == p {
			d.queue = append(d.queue[:i:i], d.queue[i+1:]...)
			return true
		}
	}
	return false
}

// expire ends an operation that took too long. One that was sent can only be ended with its connection.
func (d *Device) expire(p *op) {
	if d.unqueue(p) {
		p.err = ErrTimeout
		p.finish()
		return
	}
	d.mu.Lock()
	l := d.link
	mine := l != nil && l.hasLocked(p)
	d.mu.Unlock()
	if mine {
		l.fail(fmt.Errorf("%w to command %#02x", ErrTimeout, p.cdb[0]))
	}
}

// do runs an operation and returns when it is finished.
func (d *Device) do(ctx context.Context, p *op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	finished := make(chan struct{})
	p.done = func(*op) { close(finished) }
	d.start(p)
	select {
	case <-finished:
	case <-ctx.Done():
		if d.unqueue(p) {
			p.stop()
			return ctx.Err()
		}
		<-finished
	}
	return p.outcome()
}

// answer takes status and sense of p and reports whether it is finished; if not it is queued again.
func (d *Device) answer(p *op) (finished bool) {
	again, pause := false, time.Duration(0)
	switch {
	case p.attempts >= maxAttempts:
	case p.status == scsi.CheckCondition && p.hasSense && p.sense.Key == scsi.UnitAttention:
		if again = true; d.o.Attention != nil {
			d.o.Attention(p.sense.Code)
		}
	case p.status == scsi.Busy || p.status == scsi.TaskSetFull:
		again, pause = true, busyPause
	}
	if !again {
		return true
	}
	p.attempts++
	p.got, p.answered, p.hasSense = 0, false, false
	requeue := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.dead != nil {
			p.err = d.dead
			d.o.Clock.Go("iscsi operation", p.finish)
			return
		}
		d.enqueueLocked(p)
	}
	if pause > 0 {
		d.o.Clock.AfterFunc(pause, requeue)
	} else {
		requeue()
	}
	return false
}

const busyPause = 20 * time.Millisecond

// StatusError is a status that is not GOOD.
type StatusError struct {
	Status scsi.Status
	Sense  scsi.Sense
}

func (e *StatusError) Error() string {
	if e.Status == scsi.CheckCondition {
		return fmt.Sprintf("%v, %v", e.Status, &e.Sense)
	}
	return e.Status.String()
}

// outcome is the error of a finished operation.
func (p *op) outcome() error {
	switch {
	case p.err != nil:
		return p.err
	case p.status == scsi.Good || p.status == scsi.ConditionMet:
		return nil
	}
	return &StatusError{p.status, p.sense}
}

// isSense reports whether err is a CHECK CONDITION with this key.
func isSense(err error, key scsi.Key) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status == scsi.CheckCondition && e.Sense.Key == key
}

// freshTime is how long an operation may have waited in the queue and still be as good as just submitted.
const freshTime = 50 * time.Millisecond

// admit says whether p may be sent now.
func (d *Device) admit(p *op) error {
	switch {
	case p.begin != nil:
		if !p.begin() {
			return blockdev.ErrNotBegun
		}
	case d.o.Begin != nil && !p.first && (p.sent || d.o.Clock.Now() > p.deadline-d.o.OpTime+freshTime):
		if err := d.o.Begin(len(p.write) > 0); err != nil {
			return err
		}
	}
	if d.o.Clock.Now() >= p.deadline {
		return ErrTimeout
	}
	return nil
}
