package journal

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// Defaults of Config.
const (
	DefaultCacheBytes     = 32 << 20
	DefaultCommitEvery    = 5 * time.Second
	DefaultCheckpointIdle = 15 * time.Second
)

const (
	minCleanBlocks = 256  // the clean cache is never smaller
	maxGroupBlocks = 4096 // a group is never longer, 16 MiB
)

// Config tells a Journal what it works on. Dev, Super, Incarnation, Epoch and Sched must be set.
type Config struct {
	Dev         blockdev.Device // every write of the journal goes here; it may refuse or delay (the gate)
	Super       *ondisk.Super
	Slot        view.Slot
	Incarnation view.Incarnation  // this life of the node; must be newer than the one in the journal's head
	Epoch       func() view.Epoch // stamped into blocks; must not call the journal
	Sched       sched.Scheduler   // time, procedures and waiting
	Log         *slog.Logger      // nil: nothing is logged
	CacheBytes  int64             // for clean blocks; 0: DefaultCacheBytes
	CommitEvery time.Duration     // how long a published transaction may stay volatile; 0: DefaultCommitEvery
	// CheckpointIdle is how long after the last commit the log is emptied. 0: DefaultCheckpointIdle.
	CheckpointIdle time.Duration
	// OnError is called once, in a procedure of its own, when the journal has stopped after an uncertain I/O
	// error: the node must withdraw. May be nil.
	OnError func(error)
}

// Journal is the metadata cache and the write-ahead log of one node. All methods may be called concurrently.
type Journal struct {
	cfg        Config
	ctx        context.Context // of all I/O that nobody in particular waits for; ends when the journal stops
	cancel     context.CancelFunc
	ring       uint32 // blocks of the log without its heads
	maxGroup   int    // blocks of the ring that one group may take
	cleanLimit int    // blocks

	mu sync.Mutex // guards everything below and all entries and groups; never held across I/O or waiting

	stop    error // why nothing works any more
	changed sched.Event
	procs   int // procedures that run
	stats   Stats

	entries     map[uint64]*entry
	owners      map[uint64]map[uint64]*entry
	loads       map[uint64]*load
	lru         entry // anchor: next is the clean block that was used longest ago
	cleanBlocks int

	lsn       uint64
	published Seq
	durable   Seq
	run       *group // transactions join it; nil if there are none
	flight    *group // is being written to the ring

	committing bool
	callbacks  []func()
	calling    bool
	flushing   *flushCall
	flushNext  *flushCall
	flushed    uint64 // number of the last flush that succeeded, as Stats.Flushes counts them when they begin

	groups        []*group // durable, in the ring, oldest first
	nextSeq       uint64   // number of the next group
	head          uint32   // its place in the ring
	used          uint32   // blocks from the tail on disk to head
	goal          int      // how many of them the checkpoint may leave
	checkpointing bool
	headSeq       uint64
	headTurn      int // head block written last
	lastCommit    time.Duration
	idleStop      func() bool
}

// Open takes the journal of a slot for a new life of its node. The journal must be clean, else ErrDirty: Replay
// first. It is marked dirty, stable, when Open returns.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = DefaultCacheBytes
	}
	if cfg.CommitEvery == 0 {
		cfg.CommitEvery = DefaultCommitEvery
	}
	if cfg.CheckpointIdle == 0 {
		cfg.CheckpointIdle = DefaultCheckpointIdle
	}
	hs, err := readHeads(ctx, cfg.Dev, cfg.Super, uint16(cfg.Slot))
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	h := hs.current()
	if !h.Clean {
		return nil, fmt.Errorf("open journal of slot %d: %w", cfg.Slot, ErrDirty)
	}
	if uint32(cfg.Incarnation) <= h.Incarnation {
		return nil, fmt.Errorf("open journal of slot %d as incarnation %d, head has %d: %w", cfg.Slot, cfg.Incarnation, h.Incarnation, ErrStale)
	}
	j := newJournal(ctx, cfg, hs)
	// Both heads, one after the other: if one of them rots, the other still says that there is something to replay.
	for range ondisk.JournalHeads {
		if err := j.writeHead(ctx, ondisk.JournalHead{TailSeq: j.nextSeq, Tail: j.head}); err != nil {
			return nil, fmt.Errorf("open journal: %w", err)
		}
	}
	return j, nil
}

func newJournal(ctx context.Context, cfg Config, hs *heads) *Journal {
	h := hs.current()
	j := &Journal{
		cfg: cfg, ring: ringSize(cfg.Super), lsn: h.LSN, nextSeq: h.TailSeq, head: h.Tail, headSeq: h.Seq, headTurn: hs.last,
		changed: cfg.Sched.NewEvent(), entries: map[uint64]*entry{}, owners: map[uint64]map[uint64]*entry{}, loads: map[uint64]*load{},
	}
	j.ctx, j.cancel = context.WithCancel(context.WithoutCancel(ctx))
	j.maxGroup = min(int(j.ring/2), maxGroupBlocks)
	j.cleanLimit = max(int(cfg.CacheBytes/ondisk.BlockSize), minCleanBlocks)
	j.goal = int(j.ring)
	j.lru.next, j.lru.prev = &j.lru, &j.lru
	return j
}

// ringSize is how many blocks of a journal hold records.
func ringSize(sb *ondisk.Super) uint32 { return sb.JournalBlocks - ondisk.JournalHeads }

// ringBlock is the block of the volume at place pos of the ring, which may lie beyond its end and wraps.
func (j *Journal) ringBlock(pos uint32) uint64 {
	return j.cfg.Super.JournalStart(uint16(j.cfg.Slot)) + ondisk.JournalHeads + uint64(pos%j.ring)
}
