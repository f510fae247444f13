package sim

import (
	"context"
	"math/rand"
	"sync"
	"time"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/mkfs"
)

// formatted keeps the fresh volume of each shape: making one costs more than a quick run.
var formatted = struct {
	sync.Mutex
	m map[shape]*memdev.Device
}{m: map[shape]*memdev.Device{}}

type shape struct {
	sector  int
	cluster uint32
	slots   uint32
	profile string
}

// format makes the volume of a run. One slot is spare.
func format(o Options) (*memdev.Image, *ondisk.Super) {
	formatted.Lock()
	defer formatted.Unlock()
	k := shape{o.SectorSize, o.Cluster, uint32(o.Nodes + 1), o.Profile}
	dev := formatted.m[k]
	if dev == nil {
		dev = memdev.New(blockdev.Geometry{SectorSize: k.sector, Size: ondisk.MinVolume}, nil)
		_, err := mkfs.Format(context.Background(), dev, mkfs.Options{
			ClusterSize: k.cluster, Slots: k.slots, JournalBytes: ondisk.MinJournal * ondisk.BlockSize, Profile: k.profile, NoDiscard: true,
			UUID: ondisk.UUID{1, 2, 3}, HashSeed: [16]byte{4}, Rand: rand.New(rand.NewSource(1)), Now: func() time.Time { return time.Unix(1e9, 0) },
		})
		if err != nil {
			panic(err)
		}
		formatted.m[k] = dev
	}
	b := make([]byte, ondisk.BlockSize)
	if err := dev.ReadAt(context.Background(), b, 0); err != nil {
		panic(err)
	}
	sb, err := ondisk.DecodeSuper(b, 0)
	if err != nil {
		panic(err)
	}
	return dev.Image(), sb
}
