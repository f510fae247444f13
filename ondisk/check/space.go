package check

import (
	"errors"
	"fmt"

	"github.com/covol/covol/ondisk"
)

// ErrNoRoom says that a repair needs space that the volume does not have.
var ErrNoRoom = errors.New("no free space for the repair")

// room gives out space that the bitmaps call free and that nothing was found in. The bits are set when the bitmaps are
// compared with what is in use.
type room struct {
	p     *planner
	g     uint32
	maps  *groupMaps // of g; nil if they are not valid
	known bool
	at    uint32          // cluster of g that is looked at next
	taken map[uint64]bool // clusters
	spare []uint64        // blocks of clusters that were taken for metadata
	free  map[uint64]bool // blocks of metadata clusters that were given out
}

func newRoom(p *planner) *room {
	return &room{p: p, taken: map[uint64]bool{}, free: map[uint64]bool{}}
}

// load reads the bitmaps of group g; nil where they cannot be trusted.
func (p *planner) bitmaps(g uint32) (*groupMaps, error) {
	quiet := &checker{ctx: p.c.ctx, o: p.c.o, r: newReader(p.d), sb: p.c.sb, rep: &Report{}}
	defer quiet.r.close()
	m := &groupMaps{c: quiet, g: g, own: p.c.own.get(g)}
	whole := true
	var err error
	if m.clusters, err = m.read(ondisk.ClusterBitmap, p.c.sb.ClusterBitmapBlock(g, 0), p.c.sb.ClusterBitmapBlocks(), &whole); err != nil {
		return nil, err
	}
	if m.meta, err = m.read(ondisk.MetaBitmap, p.c.sb.MetaBitmapBlock(g, 0), p.c.sb.MetaBitmapBlocks(), &whole); err != nil {
		return nil, err
	}
	for _, all := range [][][]byte{m.clusters, m.meta} {
		for i, b := range all {
			all[i] = append([]byte(nil), b...)
			if b == nil {
				all[i] = nil
			}
		}
	}
	m.c = p.c
	return m, nil
}

// next finds the next cluster of which want approves.
func (r *room) next(want func(m *groupMaps, j uint32) bool) (g, j uint32, err error) {
	c := r.p.c
	for ; r.g < c.ready; r.g, r.at, r.known = r.g+1, 0, false {
		if !r.known {
			m, err := r.p.bitmaps(r.g)
			if err != nil {
				return 0, 0, err
			}
			r.maps, r.known, r.at = m, true, c.sb.GroupMetaClusters()
			for _, b := range append(m.clusters[:len(m.clusters):len(m.clusters)], m.meta...) {
				if b == nil {
					r.maps = nil
				}
			}
		}
		for ; r.maps != nil && r.at < c.sb.GroupClusters(r.g); r.at++ {
			if want(r.maps, r.at) {
				return r.g, r.at, nil
			}
		}
	}
	return 0, 0, fmt.Errorf("%w: all %d groups are full", ErrNoRoom, c.ready)
}

// isFree reports whether cluster j holds nothing and is marked so.
func (r *room) isFree(m *groupMaps, j uint32) bool {
	k := r.p.c.sb.ClusterBlocks()
	return !bitAt(m.clusters, j) && !m.own.data.has(j) && !m.own.meta.any(j*k, k) && !r.taken[r.cluster(m.g, j)]
}

func (r *room) cluster(g, j uint32) uint64 {
	return r.p.c.sb.GroupFirst(g)/uint64(r.p.c.sb.ClusterBlocks()) + uint64(j)
}

// reserve keeps blk, which nothing was found in, from being given out; false if it was already.
func (r *room) reserve(blk uint64) bool {
	c := blk / uint64(r.p.c.sb.ClusterBlocks())
	g, rel, _ := r.p.c.own.at(blk)
	if r.free[blk] || r.taken[c] || r.p.c.own.get(g).data.has(rel/r.p.c.sb.ClusterBlocks()) {
		return false
	}
	r.taken[c], r.free[blk] = true, true
	return true
}

// allocData gives out one cluster for data.
func (p *planner) allocData() (uint64, error) {
	r := p.room
	g, j, err := r.next(r.isFree)
	if err != nil {
		return 0, err
	}
	c := r.cluster(g, j)
	r.taken[c] = true
	for i := range uint64(p.c.sb.ClusterBlocks()) {
		p.r.ours.set(c*uint64(p.c.sb.ClusterBlocks()) + i)
	}
	return c, nil
}

// allocMeta gives out one block for metadata: a free one of a metadata cluster, else one of a new metadata cluster.
func (p *planner) allocMeta() (uint64, error) {
	r, k := p.room, p.c.sb.ClusterBlocks()
	if len(r.spare) == 0 {
		var free []uint64
		g, j, err := r.next(func(m *groupMaps, j uint32) bool {
			free = free[:0]
			for b := j * k; b < j*k+k && bitAt(m.clusters, j) && !m.own.data.has(j); b++ {
				if blk := p.c.sb.GroupFirst(m.g) + uint64(b); !bitAt(m.meta, b) && !m.own.meta.has(b) && !r.free[blk] {
					free = append(free, blk)
				}
			}
			return len(free) > 0 || r.isFree(m, j)
		})
		if err != nil {
			return 0, err
		}
		if len(free) == 0 {
			r.taken[r.cluster(g, j)] = true
			for b := range k {
				free = append(free, p.c.sb.GroupFirst(g)+uint64(j*k+b))
			}
		}
		r.spare = free
	}
	blk := r.spare[0]
	r.spare, r.free[blk] = r.spare[1:], true
	p.r.ours.set(blk)
	// The stamp of a plan must be above that of anything that lies where it is written: replay compares them.
	b, err := p.read(blk)
	if err == nil && ondisk.CheckHeader(b, ondisk.GetHeader(b).Type, blk, p.c.sb.UUID) == nil {
		p.c.maxLSN = max(p.c.maxLSN, ondisk.LSN(b))
	}
	if err != nil && !isFinding(err) {
		return 0, err
	}
	return blk, nil
}
