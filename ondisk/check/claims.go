package check

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// claims is the index from blocks and clusters to their owners. A run is cut at pages, so that who claims a place is
// found by reading one page:
//
//	key    kind, be64 page, be64 first, be64 inode, be64 block that claims
//	value  le32 count
type claims struct {
	s Store
}

// claimPage is how many blocks or clusters a page of the index covers.
const claimPage = 1024

type claimKind byte

const (
	kindMeta claimKind = 'm' // places are blocks
	kindData claimKind = 'd' // places are clusters
)

// claim is one run with its owner.
type claim struct {
	first, count uint64
	ino          uint64 // 0 for none
	from         uint64 // block that says so
}

const claimKey = 1 + 4*8

func (c *claims) add(kind claimKind, x claim) error {
	for x.count > 0 {
		page := x.first / claimPage
		n := min(x.count, (page+1)*claimPage-x.first)
		key := make([]byte, 0, claimKey)
		key = append(key, byte(kind))
		for _, v := range [...]uint64{page, x.first, x.ino, x.from} {
			key = binary.BigEndian.AppendUint64(key, v)
		}
		if err := c.s.Put(key, binary.LittleEndian.AppendUint32(nil, uint32(n))); err != nil {
			return fmt.Errorf("index of owners: %w", err)
		}
		x.first, x.count = x.first+n, x.count-n
	}
	return nil
}

// overlapping returns all claims, cut at pages, that touch [first, first+n), in order of place and inode.
func (c *claims) overlapping(kind claimKind, first, n uint64) ([]claim, error) {
	var out []claim
	last := (first + n - 1) / claimPage
	from := binary.BigEndian.AppendUint64([]byte{byte(kind)}, first/claimPage)
	err := c.s.Ascend(from, func(key, value []byte) bool {
		if len(key) != claimKey || key[0] != byte(kind) || binary.BigEndian.Uint64(key[1:]) > last {
			return false
		}
		be := binary.BigEndian.Uint64
		x := claim{be(key[9:]), uint64(binary.LittleEndian.Uint32(value)), be(key[17:]), be(key[25:])}
		if x.first < first+n && first < x.first+x.count {
			out = append(out, x)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("index of owners: %w", err)
	}
	return out, nil
}

// note enters a claim into the index, if there is one.
func (c *checker) note(kind claimKind, first, n uint64, by Where) error {
	if c.rescue == nil {
		return nil
	}
	return c.rescue.claims.add(kind, claim{first, n, by.Inode, by.Block})
}

// nameAll reports everything that was claimed twice, by the index of owners or by walking all records again.
func (c *checker) nameAll() error {
	if c.rescue == nil || len(c.conflicts) == 0 {
		return c.nameOwners()
	}
	c.conflicts = disjoint(c.conflicts)
	k := uint64(c.sb.ClusterBlocks())
	o := &owners{c: c}
	for _, x := range c.conflicts {
		var by []claim
		blk := x.first
		if x.code != MetaTwice {
			blk *= k
			data, err := c.rescue.claims.overlapping(kindData, x.first, x.count)
			if err != nil {
				return err
			}
			by = data
		}
		if x.code != ClusterTwice {
			n := x.count
			if x.code == DataAndMetadata {
				n *= k
			}
			meta, err := c.rescue.claims.overlapping(kindMeta, blk, n)
			if err != nil {
				return err
			}
			by = append(by, meta...)
		}
		var all []Where
		for _, y := range by {
			w := Where{Block: y.from, Inode: y.ino}
			if in, err := c.record(y.ino); err == nil {
				o.in = in
				w.Path = o.path()
			}
			if !slices.ContainsFunc(all, func(z Where) bool { return z.Block == w.Block && z.Inode == w.Inode }) {
				all = append(all, w)
			}
		}
		slices.SortFunc(all, func(a, b Where) int { return cmp.Or(cmp.Compare(a.Inode, b.Inode), cmp.Compare(a.Block, b.Block)) })
		c.tellConflict(x, all)
	}
	return nil
}
