package memdev

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
)

// PageSize is the unit in which images store and share content, in bytes.
const PageSize = 4096

// maxDepth bounds how many frozen layers a read may have to look through.
const maxDepth = 8

type page [PageSize]byte

// layer is content that no longer changes. A nil page hides the parent's: it reads as zeros.
type layer struct {
	parent *layer
	depth  int
	pages  map[int64]*page
}

func (l *layer) find(n int64) *page {
	for ; l != nil; l = l.parent {
		if p, ok := l.pages[n]; ok {
			return p
		}
	}
	return nil
}

// Image is sparse content of unlimited size that reads as zeros where nothing was written. It is not safe for
// concurrent use, but images forked from one another may be used concurrently.
type Image struct {
	below *layer
	own   map[int64]*page
}

// NewImage makes an image of zeros.
func NewImage() *Image { return &Image{own: map[int64]*page{}} }

// Fork returns an independent image with the same content. It copies no content: both share it until they write.
func (m *Image) Fork() *Image {
	m.freeze()
	return &Image{below: m.below, own: map[int64]*page{}}
}

func (m *Image) freeze() {
	if len(m.own) == 0 {
		return
	}
	if m.below != nil && m.below.depth >= maxDepth {
		m.below = &layer{pages: m.flat()}
	} else {
		depth := 0
		if m.below != nil {
			depth = m.below.depth + 1
		}
		m.below = &layer{parent: m.below, depth: depth, pages: m.own}
	}
	m.own = map[int64]*page{}
}

// flat returns all pages that are not zeros by absence.
func (m *Image) flat() map[int64]*page {
	all := map[int64]*page{}
	var down func(l *layer)
	down = func(l *layer) {
		if l != nil {
			down(l.parent)
			maps.Copy(all, l.pages)
		}
	}
	down(m.below)
	maps.Copy(all, m.own)
	maps.DeleteFunc(all, func(_ int64, p *page) bool { return p == nil })
	return all
}

func (m *Image) page(n int64) *page {
	if p, ok := m.own[n]; ok {
		return p
	}
	return m.below.find(n)
}

// Read fills p from off, which must not be negative.
func (m *Image) Read(p []byte, off int64) {
	for len(p) > 0 {
		n, skip := off/PageSize, int(off%PageSize)
		k := min(len(p), PageSize-skip)
		if pg := m.page(n); pg != nil {
			copy(p[:k], pg[skip:])
		} else {
			clear(p[:k])
		}
		p, off = p[k:], off+int64(k)
	}
}

// Write puts p at off, which must not be negative.
func (m *Image) Write(p []byte, off int64) {
	for len(p) > 0 {
		n, skip := off/PageSize, int(off%PageSize)
		k := copy(m.writable(n)[skip:], p)
		p, off = p[k:], off+int64(k)
	}
}

func (m *Image) writable(n int64) *page {
	pg := m.own[n]
	if pg == nil {
		pg = new(page)
		if old := m.page(n); old != nil {
			*pg = *old
		}
		m.own[n] = pg
	}
	return pg
}

// Zero makes [off, off+length) read as zeros and gives back whole pages.
func (m *Image) Zero(off, length int64) {
	for end := off + length; off < end; {
		n, skip := off/PageSize, off%PageSize
		k := min(end-off, PageSize-skip)
		switch {
		case m.page(n) == nil:
		case k == PageSize && m.below.find(n) == nil:
			delete(m.own, n)
		case k == PageSize:
			m.own[n] = nil
		default:
			clear(m.writable(n)[skip : skip+k])
		}
		off += k
	}
}

// Pages returns the numbers of the pages that may hold something else than zeros, ascending.
func (m *Image) Pages() []int64 { return slices.Sorted(maps.Keys(m.flat())) }

// Hash identifies the content: images that read the same have the same hash, however they came about.
func (m *Image) Hash() uint64 {
	all := m.flat()
	h := sha256.New()
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if pg := all[n]; *pg != (page{}) {
			var num [8]byte
			binary.LittleEndian.PutUint64(num[:], uint64(n))
			h.Write(num[:])
			h.Write(pg[:])
		}
	}
	return binary.LittleEndian.Uint64(h.Sum(nil))
}
