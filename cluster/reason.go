package cluster

import (
	"errors"
	"fmt"
	"strings"

	"github.com/covol/covol/cluster/view"
)

// State is what a node may do with the volume.
type State int

// States of a node. LEASES.md draws who moves it from one to the other.
const (
	StateJoining   State = iota // has or wants a slot; no file operation yet
	StateActive                 // member of the view, lease valid
	StateStalled                // the same, but I/O is overdue: writes wait, and it withdraws if that lasts
	StatePaused                 // member, but the lease has no room for a write: I/O waits
	StateLeaving                // I/O is over, the view still lists it
	StateLeft                   // out, cleanly; final
	StateWithdrawn              // lost the lease for good, by its own error or will; final
	StateFenced                 // put out by another node; final
)

// Final reports whether the life is over: a node that comes back is a new one.
func (s State) Final() bool { return s >= StateLeft }

// Lost reports whether the life is over without having left: all I/O fails.
func (s State) Lost() bool { return s > StateLeft }

var stateNames = [...]string{"joining", "active", "stalled", "paused", "leaving", "left", "withdrawn", "fenced"}

func (s State) String() string {
	if s >= 0 && int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// Cause is the class of a Reason.
type Cause int

// Causes of a state. Numbers are not stored anywhere.
const (
	CauseNone      Cause = iota
	CauseStorage         // the heartbeat could not be written in time
	CauseRemoved         // the view lists this life no more
	CauseSlotTaken       // another node has written our slot: we were proven dead
	CauseSuspended       // this process did not run for longer than the lease
	CauseFenced          // the device refuses our writes
	CauseKilled          // Kill was called
	CauseAsked           // Leave was called, or the join was given up
	CauseCutOff          // put out by others, which could not talk to us
	CauseStalled         // I/O has been in flight for longer than its bound, while heartbeats got through
)

// byAnother reports whether the cause is that another node has put this one out.
func (c Cause) byAnother() bool {
	return c == CauseRemoved || c == CauseSlotTaken || c == CauseFenced || c == CauseCutOff
}

var causeNames = [...]string{"none", "storage", "removed", "slot taken", "suspended", "fenced", "killed", "asked", "cut off", "stalled"}

func (c Cause) String() string {
	if c >= 0 && int(c) < len(causeNames) {
		return causeNames[c]
	}
	return fmt.Sprintf("Cause(%d)", int(c))
}

// Reason says why a node is in its state.
type Reason struct {
	Cause Cause
	Text  string // for people; may be empty
}

func (r Reason) String() string {
	if r.Text == "" {
		return r.Cause.String()
	}
	return r.Cause.String() + ": " + r.Text
}

// Error classes; test with errors.Is.
var (
	// ErrWithdrawn is every I/O of a node that lost its lease for good, or was fenced. Nothing may be assumed of earlier I/O that
	// was not acknowledged.
	ErrWithdrawn = errors.New("withdrawn from the volume")
	// ErrFenced is every I/O of a node that was put out by another one; it is an ErrWithdrawn too.
	ErrFenced = errors.New("fenced by another node")
	// ErrNodeLives refuses to declare a node dead that is seen to renew its heartbeat.
	ErrNodeLives = errors.New("the node lives")
	// ErrNoNode means that no slot of the volume has that name.
	ErrNoNode = errors.New("no such node")
	// ErrLeft is I/O after Leave.
	ErrLeft = errors.New("left the volume")
	// ErrNameInUse refuses a second node with the name of one that is alive.
	ErrNameInUse = errors.New("node name is in use")
	// ErrNoSlot means that every slot belongs to another node.
	ErrNoSlot = errors.New("no free slot")
	// ErrMixed refuses a node whose device has compare-and-write next to one whose device has not, or the other way.
	ErrMixed = errors.New("another node agrees on views in another way")
	// ErrMounted refuses a tool that needs the volume for itself.
	ErrMounted = errors.New("the volume is mounted")
	// ErrTool refuses a node while a tool has the volume for itself.
	ErrTool = errors.New("the volume is being repaired")
	// ErrProfile refuses a node whose times differ from those of a node that is in.
	ErrProfile = errors.New("timing profile differs")
)

// NameInUse is the ErrNameInUse that names the other node.
type NameInUse struct {
	Name, Addr string
	Slot       view.Slot
	Pid        uint32
}

func (e *NameInUse) Error() string {
	return fmt.Sprintf("node %s is mounted already as slot %d from %s (pid %d)", e.Name, e.Slot, e.Addr, e.Pid)
}

// Is makes it an ErrNameInUse.
func (e *NameInUse) Is(target error) bool { return target == ErrNameInUse }

// NoSlot is the ErrNoSlot that lists who is in.
type NoSlot struct {
	Slots int
	In    []string // "name (slot k, alive|dead)"
}

func (e *NoSlot) Error() string {
	return fmt.Sprintf("no free slot: all %d are taken: %s", e.Slots, strings.Join(e.In, ", "))
}

// Is makes it an ErrNoSlot.
func (e *NoSlot) Is(target error) bool { return target == ErrNoSlot }

// Mounted is the ErrMounted that names the nodes.
type Mounted struct{ Names []string }

func (e *Mounted) Error() string { return "mounted by " + strings.Join(e.Names, ", ") }

// Is makes it an ErrMounted.
func (e *Mounted) Is(target error) bool { return target == ErrMounted }

// ToolAtWork is the ErrTool that names the tool.
type ToolAtWork struct {
	Name string // "fsck@host/pid"
}

func (e *ToolAtWork) Error() string {
	return "the volume is being repaired by " + e.Name + ": it can be mounted when that is done"
}

// Is makes it an ErrTool.
func (e *ToolAtWork) Is(target error) bool { return target == ErrTool }
