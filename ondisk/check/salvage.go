package check

import (
	"cmp"
	"slices"

	"github.com/covol/covol/ondisk"
)

// salvage reads a tree that may be damaged: every leaf that can be reached and belongs to it.
type salvage struct {
	p     *planner
	in    *ondisk.Inode
	seen  map[uint64]bool
	nodes []uint64 // that belong to the tree alone
	slots []slot
}

// node takes in n, which has passed Check.
func (s *salvage) node(n ondisk.Node, blk uint64, depth int) error {
	for i := range n.Count() {
		if n.Level() == 0 || len(n.Value(i)) != 8 {
			s.slots = append(s.slots, slot{n.Key(i), slices.Clone(n.Value(i))})
			continue
		}
		child := n.Child(i)
		if depth > ondisk.MaxNodeLevel || s.seen[child] || !s.p.c.metaPlace(child) || !s.p.c.isMeta(child) || s.p.c.isRecord(child) {
			continue
		}
		s.seen[child] = true
		if err := s.child(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (s *salvage) child(blk uint64, depth int) error {
	b, err := s.p.load(ondisk.TypeNode, blk)
	if err == nil {
		err = ondisk.Node(b[ondisk.NodeBody:]).Check(blk)
	}
	if err != nil {
		if isFinding(err) {
			return nil
		}
		return err
	}
	h := ondisk.GetHeader(b)
	if mine := h.Owner == s.in.Ino && h.Generation == s.in.Generation; !mine {
		if other, err := s.p.record(h.Owner); err == nil && other.Generation == h.Generation && s.p.c.isRecord(h.Owner) {
			return nil // it belongs to another inode that is there
		} else if err != nil && !isFinding(err) {
			return err
		}
		if by, ok := s.p.adopted[blk]; ok && by != s.in.Ino {
			return nil
		}
	}
	if by, ok := s.p.adopted[blk]; ok && by != s.in.Ino {
		return nil
	}
	s.p.adopted[blk] = s.in.Ino
	s.nodes = append(s.nodes, blk)
	return s.node(b[ondisk.NodeBody:], blk, depth)
}

// strays takes in the leaves that say in their headers that they belong here and that lost their parent, the newest
// first.
func (s *salvage) strays() error {
	all := slices.Clone(s.p.c.rescue.strays[s.in.Ino])
	slices.SortFunc(all, func(a, b stray) int { return cmp.Compare(b.lsn, a.lsn) })
	for _, x := range all {
		if x.gen != s.in.Generation || s.seen[x.blk] {
			continue
		}
		s.seen[x.blk] = true
		if err := s.child(x.blk, ondisk.MaxNodeLevel); err != nil {
			return err
		}
	}
	return nil
}

// uniqueKeys sorts slots by key; of several with one key the first counts.
func uniqueKeys(all []slot) []slot {
	slices.SortStableFunc(all, func(a, b slot) int { return cmp.Compare(a.key, b.key) })
	return slices.CompactFunc(all, func(a, b slot) bool { return a.key == b.key })
}

// extentsOf are the valid extents of slots; where they overlap, the one that was found first has the place.
func (p *planner) extentsOf(all []slot) []ondisk.Extent {
	var found []ondisk.Extent
	for _, s := range all {
		e, err := ondisk.DecodeExtent(p.c.sb, 0, s.key, s.v)
		if err == nil && p.c.dataReady(e) {
			found = append(found, e)
		}
	}
	slices.SortStableFunc(found, func(a, b ondisk.Extent) int { return cmp.Compare(a.Logical, b.Logical) })
	var out []ondisk.Extent
	next := uint64(0)
	for _, e := range found {
		if e.End() <= next {
			continue
		}
		if e.Logical < next {
			cut := uint32(next - e.Logical)
			e.Logical, e.Physical, e.Length = next, e.Physical+uint64(cut), e.Length-cut
		}
		out = append(out, e)
		next = e.End()
	}
	return out
}

// entriesOf are the names in slots, however they are filed. Of a value that is damaged, what can be read.
func entriesOf(all []slot) map[string]ondisk.Dirent {
	out := map[string]ondisk.Dirent{}
	for _, s := range all {
		for v := s.v; len(v) >= 10; {
			n := 10 + int(v[9])
			if n > len(v) {
				break
			}
			if ds, err := ondisk.DecodeDirents(0, v[:n]); err == nil {
				if _, there := out[ds[0].Name]; !there {
					out[ds[0].Name] = ds[0]
				}
			}
			v = v[n:]
		}
	}
	return out
}
