package dlm

import (
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm/wire"
)

// MaxValue is the size of the largest lock value block, in bytes.
const MaxValue = wire.MaxValue

// Event is what happens to a node. See the Ev types.
type Event interface{ event() }

// EvLock asks for Mode on Res: to acquire, or to convert up what is held. It is answered by exactly one EffGrant
// or EffRefuse with the same ID, which the caller chooses and uses once.
type EvLock struct {
	ID      uint64
	Res     Resource
	Mode    Mode
	NoQueue bool
}

// EvCancel takes back request ID for Res. If it was unanswered it is answered by EffRefuse with Err nil.
type EvCancel struct {
	ID  uint64
	Res Resource
}

// EvDowngrade converts Res down to Mode, NL to unlock. The caller has checked that what it holds covers Mode. A
// Value other than nil, written by a holder of PW or EX, becomes the value block; an empty one makes it invalid.
type EvDowngrade struct {
	Res   Resource
	Mode  Mode
	Value []byte
}

// EvFrame is a datagram that came from the node in slot From.
type EvFrame struct {
	From view.Slot
	Data []byte
}

// EvView is a view change. Views of the same or an older epoch are ignored; epochs may be skipped.
type EvView struct{ View view.View }

// EvLeave begins a clean departure: everything held is given up, new requests are refused, EffLeft follows. The
// node goes on serving the others until a view without it is made.
type EvLeave struct{}

// EvStop ends everything: all requests are refused and nothing is sent any more.
type EvStop struct{}

// EvTimer says that the time of the last EffTimer has come.
type EvTimer struct{}

func (EvLock) event()      {}
func (EvCancel) event()    {}
func (EvDowngrade) event() {}
func (EvFrame) event()     {}
func (EvView) event()      {}
func (EvLeave) event()     {}
func (EvStop) event()      {}
func (EvTimer) event()     {}

// Effect is what the shell must do, in the order given. See the Eff types.
type Effect interface{ effect() }

// EffSend hands Data to the transport.
type EffSend struct {
	To   view.Slot
	Data []byte
}

// EffGrant answers request ID.
type EffGrant struct {
	ID    uint64
	Res   Resource
	Grant Grant
}

// EffRefuse answers request ID; Err is nil for a request that was cancelled.
type EffRefuse struct {
	ID  uint64
	Res Resource
	Err error
}

// EffBlocking says that someone waits for Want on Res, which the mode held here does not allow.
type EffBlocking struct {
	Res  Resource
	Want Mode
}

// EffTimer asks for an EvTimer at At. It replaces an earlier EffTimer that has not fired.
type EffTimer struct{ At time.Duration }

// EffRebuilt says that the rebuild for Epoch is finished: nothing waits for the view change any more.
type EffRebuilt struct{ Epoch view.Epoch }

// EffLeft says that nothing is held any more and that every peer knows it.
type EffLeft struct{}

func (EffSend) effect()     {}
func (EffGrant) effect()    {}
func (EffRefuse) effect()   {}
func (EffBlocking) effect() {}
func (EffTimer) effect()    {}
func (EffRebuilt) effect()  {}
func (EffLeft) effect()     {}

// Grant is what a node holds of a resource.
type Grant struct {
	Mode Mode
	// Token grows with every grant of the resource anywhere in the cluster (D2). A lock that is used again
	// without having been given up keeps its token.
	Token uint64
	// Value is the value block, nil unless ValueValid. It is shared and must not be changed.
	Value []byte
	// ValueValid says that Value is what the last writer left: false when none was ever written since the
	// resource came into use, and after a holder of PW or EX died.
	ValueValid bool
}
