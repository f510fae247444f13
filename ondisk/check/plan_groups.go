package check

import (
	"bytes"

	"github.com/covol/covol/ondisk"
)

// groupFault plans for the bitmaps and the header of a group, all at once. It returns "" for other findings.
func (p *planner) groupFault(f *Finding) (string, error) {
	if f.Code < "F301" || f.Code > "F399" || f.Where.Group == nil || unitIsShared(f.Code) {
		return "", nil
	}
	g := *f.Where.Group
	if !p.r.grouped[g] {
		p.r.grouped[g] = true
		if err := p.group(g); err != nil {
			return "", err
		}
	}
	return map[Code]string{
		GroupInvalid: "written anew", BitmapInvalid: "written anew from what is in use", GroupFree: "set to what the bitmap has",
		GroupFreeMeta: "set to what the bitmap has", ClusterLeak: "bits cleared", MetaLeak: "bits cleared",
		BeyondEnd: "bits set", OwnFree: "bits set", ClusterFree: "bits set", MetaFree: "bits set", MetaOutside: "bits set",
	}[f.Code], nil
}

func unitIsShared(c Code) bool { return c == ClusterTwice || c == MetaTwice || c == DataAndMetadata }

// group writes the bitmaps of a group from what was found in use, and its header from the bitmaps. Clusters of metadata
// of which all blocks are free stay what they are (F3).
func (p *planner) group(g uint32) error {
	m, err := p.bitmaps(g)
	if err != nil {
		return err
	}
	sb, k := p.c.sb, p.c.sb.ClusterBlocks()
	blocks := ondisk.FormatGroup(sb, g)
	set := func(first, i uint32, on bool) {
		bits := blocks[first+i/ondisk.BitsPerBitmap][ondisk.BlockSize-ondisk.BitsPerBitmap/8:]
		if bits[i%ondisk.BitsPerBitmap/8] &^= 1 << (i % 8); on {
			bits[i%ondisk.BitsPerBitmap/8] |= 1 << (i % 8)
		}
	}
	hd := ondisk.Group{Index: g, Clusters: sb.GroupClusters(g)}
	firstMeta := 1 + sb.ClusterBitmapBlocks()
	for j := sb.GroupMetaClusters(); j < hd.Clusters; j++ {
		data, meta := m.own.data.has(j), m.own.meta.any(j*k, k)
		known := m.clusters[j/ondisk.BitsPerBitmap] != nil
		chunk := !data && (meta || (clearIn(m.meta, j*k, j*k+k) > 0 && (!known || bitAt(m.clusters, j))))
		set(1, j, data || chunk)
		if !data && !chunk {
			hd.FreeClusters++
		}
		for b := j * k; chunk && b < j*k+k; b++ {
			used := m.own.meta.has(b)
			set(firstMeta, b, used)
			if !used {
				hd.FreeMeta++
			}
		}
	}
	hd.Put(blocks[0])
	for i, b := range blocks {
		blk := sb.GroupFirst(g) + uint64(i)
		old, err := p.load(ondisk.GetHeader(b).Type, blk)
		if err != nil && !isFinding(err) {
			return err
		}
		if err == nil && bytes.Equal(old[ondisk.HeaderSize:], b[ondisk.HeaderSize:]) && ondisk.Owner(old) == ondisk.Owner(b) {
			continue
		}
		if err := p.put(b); err != nil {
			return err
		}
	}
	return nil
}
