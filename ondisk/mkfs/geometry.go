package mkfs

import (
	"fmt"

	"github.com/covol/covol/ondisk"
)

// plan makes the superblock of a volume of size bytes. What does not fill a block at the end is left alone.
func plan(size int64, o *Options) (*ondisk.Super, error) {
	if size < ondisk.MinVolume {
		return nil, fmt.Errorf("%d bytes, want at least %d: %w", size, int64(ondisk.MinVolume), ErrTooSmall)
	}
	if size/ondisk.BlockSize > ondisk.MaxVolume/ondisk.BlockSize {
		return nil, fmt.Errorf("%d bytes, want at most %d: %w", size, int64(ondisk.MaxVolume), ErrTooLarge)
	}
	if err := o.complete(size); err != nil {
		return nil, err
	}
	profile, err := o.profile()
	if err != nil {
		return nil, err
	}
	s := &ondisk.Super{
		UUID: o.UUID, Label: o.Label, Created: o.Now().Unix(), Blocks: uint64(size / ondisk.BlockSize),
		ClusterSize: o.ClusterSize, Slots: o.Slots, JournalBlocks: uint32(o.JournalBytes / ondisk.BlockSize),
		GroupBlocks: o.GroupBlocks, Profile: profile, HashSeed: o.HashSeed,
	}
	k := uint64(s.ClusterBlocks())
	s.GroupStart = (s.JournalStart(uint16(s.Slots)) + k - 1) / k * k
	if s.GroupStart > s.Blocks/2 {
		return nil, fmt.Errorf("%d slots with journals of %d bytes take %d of %d blocks, more than half: %w",
			s.Slots, o.JournalBytes, s.GroupStart, s.Blocks, ErrTooSmall)
	}
	left := s.Blocks - 1 - s.GroupStart
	s.Groups = uint32((left + uint64(s.GroupBlocks) - 1) / uint64(s.GroupBlocks))
	// A last group too small for metadata of its own and one chunk each of metadata and data is not worth having.
	if least := s.GroupMetaClusters() + 2*s.MetaChunkClusters(); s.Groups > 1 && s.GroupClusters(s.Groups-1) < least {
		s.Groups--
	}
	for g := range s.Groups {
		s.FreeClusters += uint64(s.GroupClusters(g) - s.GroupMetaClusters())
	}
	checked, err := ondisk.DecodeSuper(ondisk.EncodeSuper(s, ondisk.SuperBlock), ondisk.SuperBlock)
	if err != nil {
		return nil, fmt.Errorf("geometry: %w", err)
	}
	return checked, nil
}
