package check

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/covol/covol/ondisk"
)

// unshare gives every cluster with more than one owner to one of them: of metadata to the metadata, else to the inode
// that was written last, for it was given the cluster last. All others get a copy; where there is no room for one, their
// file reads zeros there. Blocks that hold metadata are zeros in a copy: nobody shall read them as data.
func (p *planner) unshare() error {
	var shared []*Finding
	owners := map[uint64]bool{}
	for i := range p.c.rep.Findings {
		f := &p.c.rep.Findings[i]
		if p.stageOf(f) != stageShared {
			continue
		}
		shared = append(shared, f)
		for _, w := range f.Owners {
			owners[w.Inode] = true
		}
	}
	slices.SortFunc(shared, func(a, b *Finding) int { return cmp.Compare(a.First, b.First) })
	u := &unsharer{p: p, shared: shared, taken: map[uint64]uint64{}, report: map[*Finding]*shares{}}
	for _, f := range shared {
		u.report[f] = &shares{}
	}
	order, err := u.order(owners)
	if err != nil {
		return err
	}
	for _, ino := range order {
		if err := u.file(ino); err != nil {
			return err
		}
	}
	for _, f := range shared {
		p.r.did(f, u.report[f].String())
	}
	return nil
}

// unsharer is one round over all shared clusters.
type unsharer struct {
	p      *planner
	shared []*Finding        // ascending
	taken  map[uint64]uint64 // shared clusters that have got their one owner
	full   bool              // the volume has no room for copies
	report map[*Finding]*shares
}

// shares is what became of one range.
type shares struct {
	kept, copied, zeroed []uint64 // inodes, each once
}

func (s *shares) String() string {
	out := ""
	add := func(what string, inos []uint64) {
		if len(inos) == 0 {
			return
		}
		if out != "" {
			out += "; "
		}
		out += what
		for i, ino := range inos {
			if i == 8 {
				out += fmt.Sprintf(" and %d more", len(inos)-i)
				break
			}
			out += fmt.Sprintf(" %d", ino)
		}
	}
	add("kept for inode", s.kept)
	add("copied for inode", s.copied)
	add("no room for a copy, zeros for inode", s.zeroed)
	return out
}

func note(list *[]uint64, ino uint64) {
	if !slices.Contains(*list, ino) {
		*list = append(*list, ino)
	}
}

// order sorts the owners: those written last come first.
func (u *unsharer) order(owners map[uint64]bool) ([]uint64, error) {
	lsn := map[uint64]uint64{}
	var all []uint64
	for ino := range owners {
		b := make([]byte, ondisk.BlockSize)
		// Of the device, not of the draft: what this repair has changed says nothing.
		if err := u.p.d.Device.ReadAt(u.p.c.ctx, b, int64(ino)*ondisk.BlockSize); err != nil && !isFinding(err) {
			return nil, err
		}
		lsn[ino] = ondisk.LSN(b)
		all = append(all, ino)
	}
	slices.SortFunc(all, func(a, b uint64) int { return cmp.Or(cmp.Compare(lsn[b], lsn[a]), cmp.Compare(a, b)) })
	return all, nil
}

// find is the finding about cluster c, nil if it is not shared.
func (u *unsharer) find(c uint64) *Finding {
	i, ok := slices.BinarySearchFunc(u.shared, c, func(f *Finding, c uint64) int {
		switch {
		case f.First+f.Count <= c:
			return -1
		case f.First > c:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return u.shared[i]
}

// file goes through the extents of one owner.
func (u *unsharer) file(ino uint64) error {
	e, err := u.p.open(ino)
	if err != nil {
		return err
	}
	if e == nil || e.in.Body != ondisk.BodyExtents {
		return nil
	}
	if e, err = u.p.content(ino); err != nil {
		return err
	}
	var out []ondisk.Extent
	for _, x := range e.extents {
		for i := uint32(0); i < x.Length; {
			piece, drop, err := u.piece(ino, x, i)
			if err != nil {
				return err
			}
			if i += piece.Length; !drop {
				out = appendExtent(out, piece)
			}
		}
	}
	e.extents = out
	return nil
}

// appendExtent adds x, as part of the last extent if it goes on where that ends.
func appendExtent(all []ondisk.Extent, x ondisk.Extent) []ondisk.Extent {
	if n := len(all); n > 0 {
		l := &all[n-1]
		if l.End() == x.Logical && l.Physical+uint64(l.Length) == x.Physical && l.Flags == x.Flags {
			l.Length += x.Length
			return all
		}
	}
	return append(all, x)
}

// piece decides on cluster i of x and on those behind it that nobody else claims.
func (u *unsharer) piece(ino uint64, x ondisk.Extent, i uint32) (out ondisk.Extent, drop bool, err error) {
	out = ondisk.Extent{Logical: x.Logical + uint64(i), Physical: x.Physical + uint64(i), Length: 1, Flags: x.Flags}
	f := u.find(out.Physical)
	if f == nil {
		for i+out.Length < x.Length && u.find(x.Physical+uint64(i+out.Length)) == nil {
			out.Length++
		}
		return out, false, nil
	}
	r := u.report[f]
	if _, taken := u.taken[out.Physical]; !taken && f.Code == ClusterTwice {
		u.taken[out.Physical] = ino
		note(&r.kept, ino)
		return out, false, nil
	}
	to, err := uint64(0), error(nil)
	if !u.full {
		to, err = u.p.allocData()
	}
	if errors.Is(err, ErrNoRoom) {
		u.full = true
	} else if err != nil {
		return out, false, err
	}
	if u.full {
		note(&r.zeroed, ino)
		return out, true, nil
	}
	note(&r.copied, ino)
	if err := u.copy(out.Physical, to); err != nil {
		return out, false, err
	}
	out.Physical = to
	return out, false, nil
}

// copy plans the copy of a cluster.
func (u *unsharer) copy(from, to uint64) error {
	k := uint64(u.p.c.sb.ClusterBlocks())
	for i := range k {
		b := make([]byte, ondisk.BlockSize)
		if !u.p.c.isMeta(from*k + i) {
			old, err := u.p.read(from*k + i)
			if err != nil && !isFinding(err) {
				return err
			}
			copy(b, old)
		}
		u.p.changed++
		if err := u.p.d.put(fill, to*k+i, b); err != nil {
			return err
		}
	}
	return nil
}
