package wire

import "github.com/covol/covol/cluster/view"

// Lookup asks the directory of the resource for its master.
type Lookup struct {
	Epoch   view.Epoch
	Res     Resource
	NoQueue bool
}

// Kind is KindLookup.
func (*Lookup) Kind() Kind { return KindLookup }

func (m *Lookup) walk(c *coder) {
	c.epoch(&m.Epoch)
	c.resource(&m.Res)
	c.flag("noqueue", &m.NoQueue, "answer with no node rather than wait for a rebuild or a recovery")
}

// Master names the master of a resource: the asker itself if there was none.
type Master struct {
	Epoch  view.Epoch
	Res    Resource
	Master view.NodeID // Slot is view.NoSlot when it cannot be told now
	Floor  uint64
}

// Kind is KindMaster.
func (*Master) Kind() Kind { return KindMaster }

func (m *Master) walk(c *coder) {
	c.epoch(&m.Epoch)
	c.resource(&m.Res)
	c.node("master", &m.Master, "the master; slot 0xffff: cannot be told now")
	c.u64("floor", &m.Floor, "a new master gives only tokens above this")
}

// Drop ends the sender's mastership.
type Drop struct {
	Res   Resource
	Token uint64
}

// Kind is KindDrop.
func (*Drop) Kind() Kind { return KindDrop }

func (m *Drop) walk(c *coder) {
	c.resource(&m.Res)
	c.u64("token", &m.Token, "last token given")
}

// Request asks the master for a mode.
type Request struct {
	Res     Resource
	Req     uint64
	Want    uint8
	NoQueue bool
}

// Kind is KindRequest.
func (*Request) Kind() Kind { return KindRequest }

func (m *Request) walk(c *coder) {
	c.resource(&m.Res)
	c.u64("req", &m.Req, "number of the request, unique for this life of the user")
	c.mode("want", &m.Want, "mode to hold after the grant; covers what is held")
	c.flag("noqueue", &m.NoQueue, "deny at once what cannot be granted at once")
}

// Grant gives the user a mode.
type Grant struct {
	Res     Resource
	Req     uint64
	Mode    uint8
	Token   uint64
	Valid   bool
	Version uint64
	Value   []byte
}

// Kind is KindGrant.
func (*Grant) Kind() Kind { return KindGrant }

func (m *Grant) walk(c *coder) {
	c.resource(&m.Res)
	c.u64("req", &m.Req, "the request that is answered")
	c.mode("mode", &m.Mode, "mode held from now on")
	c.u64("token", &m.Token, "grows with every grant of the resource")
	c.flag("valid", &m.Valid, "the value block is what the last writer left")
	c.u64("version", &m.Version, "token of the writer of the value block")
	c.value("value", &m.Value, "value block, at most 64 bytes")
}

// Reasons of a Deny.
const (
	Busy uint8 = iota
	Deadlock
	Cancelled
	NotMaster
	maxReason = NotMaster
)

// Deny ends a request without a grant.
type Deny struct {
	Res    Resource
	Req    uint64
	Reason uint8
}

// Kind is KindDeny.
func (*Deny) Kind() Kind { return KindDeny }

func (m *Deny) walk(c *coder) {
	c.resource(&m.Res)
	c.u64("req", &m.Req, "the request that is answered")
	c.upTo("reason", "u8", &m.Reason, maxReason, "0 busy, 1 deadlock, 2 cancelled, 3 not the master")
}

// Cancel takes a request back. It is answered by the Deny or the Grant of the request.
type Cancel struct {
	Res Resource
	Req uint64
}

// Kind is KindCancel.
func (*Cancel) Kind() Kind { return KindCancel }

func (m *Cancel) walk(c *coder) {
	c.resource(&m.Res)
	c.u64("req", &m.Req, "the request that is taken back")
}

// Release converts down.
type Release struct {
	Res     Resource
	Req     uint64
	Mode    uint8
	Written bool
	Version uint64
	Value   []byte
}

// Kind is KindRelease.
func (*Release) Kind() Kind { return KindRelease }

func (m *Release) walk(c *coder) {
	c.resource(&m.Res)
	c.u64("req", &m.Req, "the last grant that the user has seen; if a later one is on its way the mode is ignored")
	c.mode("mode", &m.Mode, "mode still held")
	c.flag("written", &m.Written, "the value block below is new; empty: it is invalid from now on")
	c.u64("version", &m.Version, "token under which it was written")
	c.value("value", &m.Value, "value block, at most 64 bytes")
}

// Blocking tells a holder that it stands in the way.
type Blocking struct {
	Res  Resource
	Want uint8
}

// Kind is KindBlocking.
func (*Blocking) Kind() Kind { return KindBlocking }

func (m *Blocking) walk(c *coder) {
	c.resource(&m.Res)
	c.mode("want", &m.Want, "union of what the others wait for")
}
