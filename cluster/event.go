package cluster

import (
	"fmt"
	"time"

	"github.com/covol/covol/cluster/view"
)

// EventKind is the class of an Event.
type EventKind int

// Kinds of events. Those of the first group may be about any node; the last group is about this node alone.
const (
	EventJoined    EventKind = iota // the view lists the node
	EventLeft                       // it is out, cleanly
	EventSuspected                  // no heartbeat for 3h, or a hint from outside
	EventDead                       // declared dead; the text has the proof, if it was this node that had it
	EventRecovered                  // its journal is home, what it held may be granted; the text has the durations

	EventPaused    // I/O waits
	EventStalled   // I/O does not come back, heartbeats get through
	EventResumed   // and goes on
	EventWithdrawn // out, by its own error or will
	EventFenced    // out, put out by another node
)

var eventNames = [...]string{"joined", "left", "suspected", "dead", "recovered", "paused", "stalled", "resumed", "withdrawn", "fenced"}

func (k EventKind) String() string {
	if k >= 0 && int(k) < len(eventNames) {
		return eventNames[k]
	}
	return fmt.Sprintf("EventKind(%d)", int(k))
}

// Event is something that happened to a node of the volume, as this node saw it.
type Event struct {
	At    time.Duration // Scheduler.Now
	Wall  time.Time     // Scheduler.Wall, for people
	Kind  EventKind
	Node  string // name, empty if it is not known
	Slot  view.Slot
	Epoch view.Epoch // highest that this node has seen
	Text  string     // why, for people; may be empty
}

func (e Event) String() string {
	s := fmt.Sprintf("%s (slot %d) %s", e.Node, e.Slot, e.Kind)
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}
