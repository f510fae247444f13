package handover

// Event is what happens to a Source or a Target. Both ignore what does not fit their phase.
type Event interface{ event() }

type (
	// Begin starts it. Once, first.
	Begin struct{}
	// Stored is the answer to Swap or Read: what the store holds. Err: nobody knows.
	Stored struct {
		Now Record
		Err error
	}
	// Copied is the answer to Copy: so little is left that the rest fits the down time. It does not come, or is not heeded,
	// if another effect has been asked for meanwhile.
	Copied struct{ Err error }
	// StopDone is the answer to Stop. Err: the disks could not be flushed, and what they hold is not known.
	StopDone struct{ Err error }
	// Sent is the answer to SendGo. Err: GO may have arrived or not.
	Sent struct{ Err error }
	// Prepared is the target's: the VM is built and its memory is being received.
	Prepared struct{ Err error }
	// Go is the target's: GO(epoch) has arrived, and all that came before it.
	Go struct{ Epoch uint64 }
	// Verified is the answer to Verify.
	Verified struct{ Err error }
	// Taken is the answer to Take. Err: disks could not be locked or opened; nothing has run.
	Taken struct{ Err error }
	// Heard is a message of the other side: what it says of the VM at an epoch.
	Heard struct {
		What  Message
		Epoch uint64
	}
	// Cut says that the connection to the other side is gone for good.
	Cut struct{}
	// Cancel is a person's wish, the source's.
	Cancel struct{}
	// Tick is the answer to Wait.
	Tick struct{}
)

// Message is what sides tell each other beside the stream of memory.
type Message uint8

const (
	// SaysRunning: the target runs the VM at that epoch.
	SaysRunning Message = iota + 1
	// SaysRefused: the target has not taken the VM, and never will at that epoch.
	SaysRefused
)

func (Begin) event()    {}
func (Stored) event()   {}
func (Copied) event()   {}
func (StopDone) event() {}
func (Sent) event()     {}
func (Prepared) event() {}
func (Go) event()       {}
func (Verified) event() {}
func (Taken) event()    {}
func (Heard) event()    {}
func (Cut) event()      {}
func (Cancel) event()   {}
func (Tick) event()     {}

// Effect is what a Source or a Target wants done. Each of the first group is answered by one event, whenever it is done;
// there is at most one of them, and one Wait, under way at a time, except that another one ends Copy.
type Effect interface{ effect() }

type (
	// Swap the record.
	Swap struct{ Old, New Record }
	// Read the record.
	Read struct{}
	// Copy memory until little is left. The VM runs.
	Copy struct{}
	// Stop the VM: pause it, let its I/O end, flush, give up the disks.
	Stop struct{}
	// SendGo sends the last pages, the state and GO(epoch).
	SendGo struct{ Epoch uint64 }
	// Verify that state and memory are complete and what the source had.
	Verify struct{}
	// Take locks the disks at that epoch, opens them, forgets what was cached of them, and lets the VM run. A VM that
	// was not stopped only changes the epoch of its locks.
	Take struct{ Epoch uint64 }
)

type (
	// Wait asks for a Tick, later, unless another effect that is answered is asked for before. A new one replaces the one
	// before.
	Wait struct{ For Patience }
	// Say sends a message. It may be lost.
	Say struct {
		What  Message
		Epoch uint64
	}
	// Over is the last effect: how it ended on this side. Keep says that the VM goes on here; otherwise its copy is
	// forgotten, and if it still runs it is killed at once.
	Over struct {
		Result Result
		Keep   bool
		Why    error
	}
)

// Patience is how long to wait. The runner knows how long that is.
type Patience uint8

const (
	// Soon: until the store is asked again.
	Soon Patience = iota + 1
	// Answer: until a target that has GO should have answered.
	Answer
)

// Result is how a hand-over ended.
type Result uint8

const (
	// Moved: the target runs it.
	Moved Result = iota + 1
	// Stayed: the source runs it, as before.
	Stayed
	// Gone: neither side has it; a third node, or a person, has taken it.
	Gone
)

func (r Result) String() string {
	switch r {
	case Moved:
		return "moved"
	case Stayed:
		return "stayed"
	}
	return "gone"
}

func (Swap) effect()   {}
func (Read) effect()   {}
func (Copy) effect()   {}
func (Stop) effect()   {}
func (SendGo) effect() {}
func (Verify) effect() {}
func (Take) effect()   {}
func (Wait) effect()   {}
func (Say) effect()    {}
func (Over) effect()   {}
