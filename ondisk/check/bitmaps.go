package check

import (
	"encoding/binary"
	"math/bits"

	"github.com/covol/covol/ondisk"
)

// wordAt is bits 64*i .. 64*i+63 of a bitmap that is spread over blocks. Bits of a block that is not valid count as
// set. A block holds a whole number of words.
func wordAt(maps [][]byte, i uint32) uint64 {
	const words = ondisk.BitsPerBitmap / 64
	if int(i/words) >= len(maps) || maps[i/words] == nil {
		return ^uint64(0)
	}
	return binary.LittleEndian.Uint64(maps[i/words][i%words*8:])
}

func bitAt(maps [][]byte, i uint32) bool { return wordAt(maps, i/64)>>(i%64)&1 != 0 }

// clearIn counts the clear bits from up to, but not including, to.
func clearIn(maps [][]byte, from, to uint32) (n uint32) {
	for i := from; i < to; {
		l := min(64-i%64, to-i)
		n += uint32(bits.OnesCount64(^wordAt(maps, i/64) >> (i % 64) & mask(l)))
		i += l
	}
	return n
}

func clearBits(maps [][]byte, n uint32) uint32 { return clearIn(maps, 0, n) }

func onesOf(p *[pageWords]uint64) (n uint64) {
	if p == nil {
		return 0
	}
	for _, w := range p {
		n += uint64(bits.OnesCount64(w))
	}
	return n
}

// compare tells emit of every cluster or block, by place in the group, whose bit is not what its use demands. Bits of
// blocks that are not valid are not judged.
func (m *groupMaps) compare(emit func(code Code, rel, n uint32) error) error {
	k, own, clusters := m.c.sb.ClusterBlocks(), m.c.sb.GroupMetaClusters(), m.c.sb.GroupClusters(m.g)
	for i := uint32(0); i < clusters; i += 64 {
		if m.plain(i, k) {
			continue
		}
		for j := max(i, own); j < min(i+64, clusters); j++ {
			if err := m.cluster(j, k, emit); err != nil {
				return err
			}
		}
	}
	return nil
}

// plain reports quickly that clusters i to i+63 hold data or nothing, as their bits say.
func (m *groupMaps) plain(i, k uint32) bool {
	if i < m.c.sb.GroupMetaClusters() || m.own.data.word(i/64) != wordAt(m.clusters, i/64) {
		return false
	}
	for w := i / 64 * k; w < (i/64+1)*k; w++ {
		if m.own.meta.word(w) != 0 || wordAt(m.meta, w) != ^uint64(0) {
			return false
		}
	}
	return true
}

// cluster judges the bits of one cluster and of its blocks.
func (m *groupMaps) cluster(j, k uint32, emit func(code Code, rel, n uint32) error) error {
	data, meta := m.own.data.has(j), m.own.meta.any(j*k, k)
	known := m.clusters[j/ondisk.BitsPerBitmap] != nil
	used := bitAt(m.clusters, j) || !known
	free := clearIn(m.meta, j*k, j*k+k) // blocks marked free
	switch {
	case !used && (data || meta):
		return emit(ClusterFree, j, 1)
	case (data || !used) && free > 0:
		return emit(MetaOutside, j*k, k)
	case !used || data || (!known && free == 0 && !meta):
		return nil
	case !meta && free == 0:
		if m.meta[j*k/ondisk.BitsPerBitmap] == nil || m.meta[(j*k+k-1)/ondisk.BitsPerBitmap] == nil {
			return nil // it may be metadata, all of it free
		}
		return emit(ClusterLeak, j, 1)
	}
	for b := j * k; b < j*k+k; b++ {
		code := MetaLeak
		switch marked, inUse := bitAt(m.meta, b), m.own.meta.has(b); {
		case m.meta[b/ondisk.BitsPerBitmap] == nil || marked == inUse:
			continue
		case inUse:
			code = MetaFree
		}
		if err := emit(code, b, 1); err != nil {
			return err
		}
	}
	return nil
}
