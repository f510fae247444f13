package simdisk

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// Disk is the shared medium. All methods may be called concurrently.
type Disk struct {
	cfg Config
	geo blockdev.Geometry

	mu sync.Mutex
	// All below GUARDED_BY(mu).
	wait     func(ctx context.Context, d time.Duration) error
	rng      *rand.Rand
	visible  *memdev.Image // what hosts read
	stable   *memdev.Image // what a power failure cannot take
	cached   []*extent     // landed and not stable, in the order of landing
	landed   uint64        // counts landings; cached extents carry it
	inflight []*write      // issued and not answered, in the order of issue
	ghosts   []*write      // in flight when their host died
	hosts    map[int]*host
	traits   Traits
	readErr  []armedRule
	writeErr []armedRule
}

type host struct {
	life   int // counts deaths; a Path of an earlier life is dead
	fenced bool
}

// extent is landed content. nil data means zeros.
type extent struct {
	seq    uint64
	off, n int64
	data   []byte
}

// New makes a disk. It panics on a geometry that cannot be.
func New(cfg Config) *Disk {
	if cfg.SectorSize == 0 {
		cfg.SectorSize = 512
	}
	if cfg.Latency == nil {
		cfg.Latency = defaultLatency
	}
	geo := blockdev.Geometry{SectorSize: cfg.SectorSize, Size: cfg.Size}
	memdev.CheckGeometry(geo)
	base := cfg.Base
	if base == nil {
		base = memdev.NewImage()
	}
	d := &Disk{
		cfg: cfg, geo: geo, wait: cfg.Wait, hosts: map[int]*host{},
		rng:     rand.New(rand.NewPCG(cfg.Seed, 0x51d15c)),
		visible: base.Fork(), stable: base.Fork(),
	}
	d.setTraits(cfg.Traits)
	return d
}

// SetTraits changes how the disk misbehaves from now on. What is cached stays cached.
func (d *Disk) SetTraits(t Traits) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setTraits(t)
}

func (d *Disk) setTraits(t Traits) {
	d.traits, d.readErr, d.writeErr = t, arm(t.ReadErrors), arm(t.WriteErrors)
}

// SetWait changes how time passes. Clones have no Wait until it is set, since they are mostly looked at from
// outside the simulation.
func (d *Disk) SetWait(wait func(ctx context.Context, d time.Duration) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wait = wait
}

// Snapshot returns the content as hosts read it now.
func (d *Disk) Snapshot() *memdev.Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.visible.Fork()
}

// Hash identifies the content as hosts read it now.
func (d *Disk) Hash() uint64 { return d.Snapshot().Hash() }

// Clone returns an independent disk with the same content, of which the same is stable. It has no writes in
// flight, no ghosts, no dead or fenced hosts and no Wait.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.empty(d.rng.Uint64())
	c.visible, c.stable = d.visible.Fork(), d.stable.Fork()
	c.landed = d.landed
	c.cached = slices.Clone(d.cached) // extents never change
	return c
}

// empty makes a disk of the same kind without content.
func (d *Disk) empty(seed uint64) *Disk {
	cfg := d.cfg
	cfg.Seed, cfg.Wait, cfg.Base, cfg.Traits = seed, nil, nil, d.traits
	return New(cfg)
}

// Corrupt changes n bytes at off on the medium itself, as bit rot does: every byte becomes another one, at once
// and for good. It panics outside the disk.
func (d *Disk) Corrupt(off int64, n int) {
	if off < 0 || n < 0 || off+int64(n) > d.geo.Size {
		panic("simdisk: corruption outside the disk")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p := make([]byte, n)
	d.visible.Read(p, off)
	for i := range p {
		p[i] ^= byte(1 + d.rng.IntN(255))
	}
	d.settle(off, int64(n))
	d.visible.Write(p, off)
	d.stable.Write(p, off)
}

// Unflushed is how many bytes a power failure could take.
func (d *Disk) Unflushed() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var n int64
	for _, e := range d.cached {
		n += e.n
	}
	return n
}
