package check

import (
	"math/bits"

	"github.com/covol/covol/ondisk"
)

// bitset is a set of small numbers that takes no memory where it is empty.
type bitset struct {
	pages []*[pageWords]uint64
}

const (
	pageWords = 64
	pageBits  = pageWords * 64
)

func newBitset(n uint32) bitset {
	return bitset{pages: make([]*[pageWords]uint64, (n+pageBits-1)/pageBits)}
}

// word is bits 64*i .. 64*i+63.
func (s bitset) word(i uint32) uint64 {
	if p := s.page(i / pageWords); p != nil {
		return p[i%pageWords]
	}
	return 0
}

func (s bitset) page(i uint32) *[pageWords]uint64 {
	if int(i) >= len(s.pages) {
		return nil
	}
	return s.pages[i]
}

func (s bitset) has(i uint32) bool { return s.word(i/64)>>(i%64)&1 != 0 }

// set adds i and returns how many bytes that took.
func (s bitset) set(i uint32) (bytes int64) {
	p := &s.pages[i/pageBits]
	if *p == nil {
		*p, bytes = new([pageWords]uint64), pageBits/8
	}
	(*p)[i/64%pageWords] |= 1 << (i % 64)
	return bytes
}

// any reports whether one of n bits from i is set.
func (s bitset) any(i, n uint32) bool {
	for end := i + n; i < end; {
		k := min(64-i%64, end-i)
		if s.word(i/64)&(mask(k)<<(i%64)) != 0 {
			return true
		}
		i += k
	}
	return false
}

// mask has the lowest n bits set, n up to 64.
func mask(n uint32) uint64 {
	if n >= 64 {
		return ^uint64(0)
	}
	return 1<<n - 1
}

// groupOwned is what was found in use in one formatted group.
type groupOwned struct {
	data    bitset // by cluster of the group
	meta    bitset // by block of the group
	records bitset // by block of the group: which of meta are records of inodes
}

// owned is what was found in use in all formatted groups.
type owned struct {
	sb     *ondisk.Super
	groups []*groupOwned
}

func newOwned(sb *ondisk.Super, ready uint32) *owned {
	return &owned{sb: sb, groups: make([]*groupOwned, ready)}
}

// at is the group of blk and the place in it; ok is false outside formatted groups.
func (o *owned) at(blk uint64) (g, rel uint32, ok bool) {
	g, ok = o.sb.GroupOf(blk)
	if !ok || int(g) >= len(o.groups) {
		return 0, 0, false
	}
	return g, uint32(blk - o.sb.GroupFirst(g)), true
}

var nothing = &groupOwned{}

// get is what is in use in group g, for reading.
func (o *owned) get(g uint32) *groupOwned {
	if o.groups[g] == nil {
		return nothing
	}
	return o.groups[g]
}

// use is what is in use in group g, for changing.
func (o *owned) use(g uint32) (u *groupOwned, bytes int64) {
	if o.groups[g] == nil {
		n := o.sb.GroupBlocksOf(g)
		o.groups[g] = &groupOwned{newBitset(o.sb.GroupClusters(g)), newBitset(n), newBitset(n)}
		bytes = int64(n/pageBits+1) * 8 * 3
	}
	return o.groups[g], bytes
}

// conflict is a range with more than one owner.
type conflict struct {
	code         Code
	first, count uint64 // clusters for ClusterTwice and DataAndMetadata, blocks for MetaTwice
}

// isMeta reports whether blk, in a formatted group, was claimed as metadata.
func (c *checker) isMeta(blk uint64) bool {
	g, rel, ok := c.own.at(blk)
	return ok && c.own.get(g).meta.has(rel)
}

// isRecord reports whether the record in blk was visited.
func (c *checker) isRecord(blk uint64) bool {
	if c.fixed[blk] {
		return true
	}
	g, rel, ok := c.own.at(blk)
	return ok && c.own.get(g).records.has(rel)
}

// metaPlace reports whether blk can be metadata of a file: in a formatted group, behind the group's own.
func (c *checker) metaPlace(blk uint64) bool {
	_, _, ok := c.own.at(blk)
	return ok && c.sb.IsMetaPlace(blk)
}

// claimMeta gives blk, which must be a metaPlace, to an owner; it returns false if it has one already.
func (c *checker) claimMeta(blk uint64, record bool, by Where) (bool, error) {
	if err := c.note(kindMeta, blk, 1, by); err != nil {
		return false, err
	}
	g, rel, _ := c.own.at(blk)
	u, bytes := c.own.use(g)
	if u.meta.has(rel) {
		return false, c.clash(conflict{MetaTwice, blk, 1})
	}
	k := uint64(c.sb.ClusterBlocks())
	bytes += u.meta.set(rel)
	if record {
		bytes += u.records.set(rel)
	}
	if err := c.grow(bytes); err != nil {
		return false, err
	}
	if u.data.has(rel / uint32(k)) {
		return true, c.clash(conflict{DataAndMetadata, blk / k, 1})
	}
	return true, nil
}

// claimData gives n clusters from first, all in the data of one formatted group, to an owner.
func (c *checker) claimData(first uint64, n uint32, by Where) error {
	if err := c.note(kindData, first, uint64(n), by); err != nil {
		return err
	}
	k := c.sb.ClusterBlocks()
	g, rel, _ := c.own.at(first * uint64(k))
	u, bytes := c.own.use(g)
	rel /= k
	for i, end := rel, rel+n; i < end; {
		l := min(64-i%64, end-i)
		want := mask(l) << (i % 64)
		twice := u.data.word(i/64) & want
		bytes += u.data.set(i)
		u.data.pages[i/pageBits][i/64%pageWords] |= want
		for twice != 0 {
			j := uint32(bits.TrailingZeros64(twice))
			run := uint32(bits.TrailingZeros64(^(twice >> j)))
			twice &^= mask(run) << j
			if err := c.clash(conflict{ClusterTwice, first - uint64(rel) + uint64(i/64*64+j), uint64(run)}); err != nil {
				return err
			}
		}
		i += l
	}
	if u.meta.any(rel*k, n*k) {
		for i := rel; i < rel+n; i++ {
			if u.meta.any(i*k, k) {
				if err := c.clash(conflict{DataAndMetadata, first + uint64(i-rel), 1}); err != nil {
					return err
				}
			}
		}
	}
	return c.grow(bytes)
}

// clash remembers a range with two owners; runs of the same kind become one.
func (c *checker) clash(x conflict) error {
	if n := len(c.conflicts); n > 0 {
		if l := &c.conflicts[n-1]; l.code == x.code && l.first+l.count == x.first {
			l.count += x.count
			return nil
		}
	}
	if len(c.conflicts) < 4*c.o.MaxFindings {
		c.conflicts = append(c.conflicts, x)
	}
	return c.grow(24)
}
