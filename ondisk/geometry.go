package ondisk

// ClusterBlocks is how many blocks make a cluster.
func (s *Super) ClusterBlocks() uint32 { return s.ClusterSize / BlockSize }

// BallotBlock is the ballot block of a slot.
func (s *Super) BallotBlock(slot uint16) uint64 { return slotArea + uint64(slot) }

// SlotBlock is the heartbeat block of a slot.
func (s *Super) SlotBlock(slot uint16) uint64 { return slotArea + uint64(s.Slots) + uint64(slot) }

// SpaceBlock is the block that counts what the node in a slot has taken and given back.
func (s *Super) SpaceBlock(slot uint16) uint64 { return slotArea + 2*uint64(s.Slots) + uint64(slot) }

// OrphanBlock is the record that indexes the orphans of a slot: inodes without a name that are still open, or
// whose clusters have not been given back yet.
func (s *Super) OrphanBlock(slot uint16) uint64 {
	return slotArea + 3*uint64(s.Slots) + SystemPerSlot*uint64(slot)
}

// FreeLogBlock is the record that indexes the deferred frees of a slot: space that its node no longer uses but that
// lies in groups which other nodes held.
func (s *Super) FreeLogBlock(slot uint16) uint64 { return s.OrphanBlock(slot) + 1 }

func (s *Super) journalStart() uint64 {
	end := slotArea + (3+SystemPerSlot)*uint64(s.Slots)
	return (end + journalAlign - 1) / journalAlign * journalAlign
}

// JournalStart is the first block of the journal of a slot.
func (s *Super) JournalStart(slot uint16) uint64 {
	return s.journalStart() + uint64(slot)*uint64(s.JournalBlocks)
}

// GroupFirst is the first block of a group: its header.
func (s *Super) GroupFirst(g uint32) uint64 {
	return s.GroupStart + uint64(g)*uint64(s.GroupBlocks)
}

// GroupBlocksOf is the number of blocks of a group. Only the last one differs. The last block of the volume is a
// copy of the superblock and belongs to no group.
func (s *Super) GroupBlocksOf(g uint32) uint32 {
	left := s.Blocks - 1 - s.GroupFirst(g)
	if left < uint64(s.GroupBlocks) {
		return uint32(left) / s.ClusterBlocks() * s.ClusterBlocks()
	}
	return s.GroupBlocks
}

// GroupClusters is the number of clusters of a group, those of its own metadata included.
func (s *Super) GroupClusters(g uint32) uint32 { return s.GroupBlocksOf(g) / s.ClusterBlocks() }

// ClusterBitmapBlocks is how many blocks hold the bitmap of clusters of a group.
func (s *Super) ClusterBitmapBlocks() uint32 {
	return (s.GroupBlocks/s.ClusterBlocks() + BitsPerBitmap - 1) / BitsPerBitmap
}

// MetaBitmapBlocks is how many blocks hold the bitmap of metadata blocks of a group.
func (s *Super) MetaBitmapBlocks() uint32 { return (s.GroupBlocks + BitsPerBitmap - 1) / BitsPerBitmap }

// GroupMetaBlocks is how many blocks at the start of a group its header and bitmaps take.
func (s *Super) GroupMetaBlocks() uint32 { return 1 + s.ClusterBitmapBlocks() + s.MetaBitmapBlocks() }

// GroupMetaClusters is how many clusters at the start of a group its header and bitmaps take.
func (s *Super) GroupMetaClusters() uint32 {
	k := s.ClusterBlocks()
	return (s.GroupMetaBlocks() + k - 1) / k
}

// ClusterBitmapBlock is the i-th block of the bitmap of clusters of group g.
func (s *Super) ClusterBitmapBlock(g, i uint32) uint64 { return s.GroupFirst(g) + 1 + uint64(i) }

// MetaBitmapBlock is the i-th block of the bitmap of metadata blocks of group g.
func (s *Super) MetaBitmapBlock(g, i uint32) uint64 {
	return s.GroupFirst(g) + 1 + uint64(s.ClusterBitmapBlocks()) + uint64(i)
}

// GroupOf is the group that block blk lies in; ok is false for blocks outside all groups.
func (s *Super) GroupOf(blk uint64) (g uint32, ok bool) {
	if blk < s.GroupStart {
		return 0, false
	}
	i := (blk - s.GroupStart) / uint64(s.GroupBlocks)
	if i >= uint64(s.Groups) || blk-s.GroupFirst(uint32(i)) >= uint64(s.GroupBlocksOf(uint32(i))) {
		return 0, false
	}
	return uint32(i), true
}

// IsMetaPlace reports whether blk may hold the record of an inode or a tree node: a fixed record, or a block of a
// group behind the group's own metadata.
func (s *Super) IsMetaPlace(blk uint64) bool {
	if blk == RootBlock || (blk >= s.OrphanBlock(0) && blk < s.OrphanBlock(uint16(s.Slots))) {
		return true
	}
	g, ok := s.GroupOf(blk)
	return ok && blk-s.GroupFirst(g) >= uint64(s.GroupMetaClusters())*uint64(s.ClusterBlocks())
}

// IsDataPlace reports whether n clusters from cluster c may hold file data: all in one group, behind the group's own
// metadata. Runs never cross groups, because every group begins with its header.
func (s *Super) IsDataPlace(c uint64, n uint32) bool {
	k := uint64(s.ClusterBlocks())
	if c >= s.Blocks/k {
		return false
	}
	g, ok := s.GroupOf(c * k)
	if !ok {
		return false
	}
	rel := c - s.GroupFirst(g)/k
	return rel >= uint64(s.GroupMetaClusters()) && rel+uint64(n) <= uint64(s.GroupClusters(g))
}

// MetaChunkClusters is how many clusters are given to metadata at once: 64 KiB, or one cluster if that is larger.
func (s *Super) MetaChunkClusters() uint32 {
	if s.ClusterSize >= 64<<10 {
		return 1
	}
	return (64 << 10) / s.ClusterSize
}
