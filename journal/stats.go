package journal

// Stats counts what a Journal has done since Open.
type Stats struct {
	Txns         uint64 // published
	Commits      uint64 // groups made durable
	BlocksLogged uint64 // contents written to the ring
	LogWrites    uint64 // blocks written to the ring, descriptors and commit blocks included
	Flushes      uint64 // flushes of the device
	FlushCalls   uint64 // calls that these flushes served
	SyncWaiters  uint64 // calls of Sync that had to wait for a commit
	HomeWrites   uint64 // blocks written home
	Checkpoints  uint64 // moves of the tail
	Hits, Misses uint64 // reads served from memory, from the device

	LogUsed     int // blocks of the ring that may have to be replayed
	LogSize     int // blocks of the ring
	CleanBlocks int // cached blocks that equal those on disk
	DirtyBlocks int // cached blocks that are not home
}

// Stats returns the counters.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.LogUsed, s.LogSize = int(j.used), int(j.ring)
	s.CleanBlocks = j.cleanBlocks
	for _, e := range j.entries {
		if e.dirty() {
			s.DirtyBlocks++
		}
	}
	return s
}
