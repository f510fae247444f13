package serf

import (
	"cmp"
	"encoding/hex"
	"net"
	"slices"
	"strconv"

	"github.com/hashicorp/serf/serf"

	"github.com/covol/covol/cluster/view"
)

// The tags of a node; serf takes 512 bytes of them, encoded.
const (
	tagNode        = "node"
	tagSlot        = "slot"
	tagIncarnation = "inc"
	tagVolume      = "vol"
	tagLocks       = "dlm"
	tagVersion     = "ver"

	maxVersion = 40 // bytes of a version that are told
)

func (g *Gossip) tags() map[string]string {
	c := &g.cfg
	return map[string]string{
		tagNode: c.Node, tagSlot: strconv.Itoa(int(c.Self.Slot)), tagIncarnation: strconv.Itoa(int(c.Self.Incarnation)),
		tagVolume: hex.EncodeToString(c.Volume[:]), tagLocks: c.LockAddr, tagVersion: c.Version[:min(len(c.Version), maxVersion)],
	}
}

// parseMember reads the tags of a member, which another node wrote.
func parseMember(m serf.Member) (Member, bool) {
	slot, err := strconv.ParseUint(m.Tags[tagSlot], 10, 16)
	if err != nil {
		return Member{}, false
	}
	inc, err := strconv.ParseUint(m.Tags[tagIncarnation], 10, 32)
	if err != nil || m.Tags[tagNode] == "" {
		return Member{}, false
	}
	return Member{
		NodeID: view.NodeID{Slot: view.Slot(slot), Incarnation: view.Incarnation(inc)}, Node: m.Tags[tagNode],
		Addr: net.JoinHostPort(m.Addr.String(), strconv.Itoa(int(m.Port))), LockAddr: m.Tags[tagLocks], Version: m.Tags[tagVersion],
		Status: Status(m.Status.String()),
	}, true
}

// Members are the lives of nodes that the gossip knows, this one too, in ascending slots and incarnations. Those that left or
// failed are kept for some minutes.
func (g *Gossip) Members() []Member {
	var list []Member
	for _, sm := range g.serf.Members() {
		if m, ok := parseMember(sm); ok {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	return list
}
