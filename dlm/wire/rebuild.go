package wire

import "github.com/covol/covol/cluster/view"

// Register names resources that the sender masters.
type Register struct {
	Epoch view.Epoch
	Res   []Resource
}

// Kind is KindRegister.
func (*Register) Kind() Kind { return KindRegister }

func (m *Register) walk(c *coder) {
	c.epoch(&m.Epoch)
	c.resources("resources", &m.Res, "le32 count, then the resources")
}

// Markers names resources whose master is gone and may have left a dead holder behind.
type Markers struct {
	Epoch view.Epoch
	Res   []Resource
}

// Kind is KindMarkers.
func (*Markers) Kind() Kind { return KindMarkers }

func (m *Markers) walk(c *coder) {
	c.epoch(&m.Epoch)
	c.resources("resources", &m.Res, "le32 count, then the resources")
}

// Claim is one lock held under a master that is gone or not settled.
type Claim struct {
	Res     Resource
	Mode    uint8
	Req     uint64
	Token   uint64
	Valid   bool
	Version uint64
	Value   []byte
}

const claimSize = resourceSize + 1 + 8 + 8 + 1 + 8 + 1

func (m *Claim) walk(c *coder) {
	c.resource(&m.Res)
	c.mode("mode", &m.Mode, "mode held, or still held as far as a master may believe")
	c.u64("req", &m.Req, "the last grant that the user has seen")
	c.u64("token", &m.Token, "its token")
	c.flag("valid", &m.Valid, "the value block was valid when granted or written")
	c.u64("version", &m.Version, "token of its writer")
	c.value("value", &m.Value, "value block, at most 64 bytes")
}

// Claims tells the directory what the sender holds.
type Claims struct {
	Epoch view.Epoch
	Items []Claim
}

// Kind is KindClaims.
func (*Claims) Kind() Kind { return KindClaims }

func (m *Claims) walk(c *coder) {
	c.epoch(&m.Epoch)
	list(c, "claims", "list", "le32 count, then per lock:", &m.Items, claimSize, func(c *coder, i *Claim) { i.walk(c) })
}

// Lost describes a share of the directory that went with its keeper: a resource that hashed to one of Gone among
// Members, and that no survivor registers, may be held by one of Blockers. Without Members: every resource.
type Lost struct {
	Members  []view.NodeID
	Gone     []view.NodeID
	Blockers []view.NodeID
}

func (m *Lost) walk(c *coder) {
	c.nodes("members", &m.Members, "le32 count, then the members that were hashed over; none: all resources are meant")
	c.nodes("gone", &m.Gone, "members that are gone, likewise")
	c.nodes("blockers", &m.Blockers, "dead nodes that may hold what is not registered, likewise")
}

// Ready says that all parts of the sender for the epoch are sent.
type Ready struct {
	Epoch view.Epoch
	Based bool
	Lost  []Lost
}

// Kind is KindReady.
func (*Ready) Kind() Kind { return KindReady }

func (m *Ready) walk(c *coder) {
	c.epoch(&m.Epoch)
	c.flag("based", &m.Based, "the sender has finished a rebuild in an earlier epoch of this life")
	list(c, "lost", "list", "le32 count, then per lost share of the directory:", &m.Lost, 12, func(c *coder, l *Lost) { l.walk(c) })
}

// Done says that the sender has the Ready of every member.
type Done struct{ Epoch view.Epoch }

// Kind is KindDone.
func (*Done) Kind() Kind { return KindDone }

func (m *Done) walk(c *coder) { c.epoch(&m.Epoch) }
