package simdisk

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// ErrDead is what calls return whose host has died.
var ErrDead = errors.New("this host is dead")

// Config describes a disk. Size must be a multiple of the sector size.
type Config struct {
	Size       int64
	SectorSize int // 512 or 4096; 0 means 512
	Seed       uint64
	Traits     Traits
	Base       *memdev.Image // content at the start; nil means zeros

	CompareAndWrite bool // paths implement blockdev.CompareAndWriter
	Reserve         bool // paths implement blockdev.Fencer; a victim is the number of its host

	// Wait passes simulated time; Sleep of a scheduler fits. nil means that nothing takes time.
	Wait func(ctx context.Context, d time.Duration) error
	// Latency says how long a call takes; n is its length in bytes. nil means from 50 us to 1 ms.
	Latency func(rng *rand.Rand, op Op, n int) time.Duration
	// OnLand is told of every transfer that reaches the medium, ghosts included, in order. It must not call the
	// disk.
	OnLand func(Landing)
}

// Op is the kind of a call.
type Op string

// The kinds of calls.
const (
	OpRead    Op = "read"
	OpWrite   Op = "write"
	OpFlush   Op = "flush"
	OpDiscard Op = "discard"
	OpCompare Op = "compare and write"
)

// Landing is a write, or a part of one, as it reaches the medium.
type Landing struct {
	Host  int
	Off   int64 // bytes; where it went, which a misdirected write did not want
	Data  []byte
	FUA   bool
	Ghost bool // its host was dead
}

// Traits are the ways in which a disk may misbehave.
type Traits struct {
	LoseUnflushed   bool
	TearSectors     bool
	GarbageOnTear   bool
	Ordered         bool
	MisdirectWrites float64 // probability for each write
	MisdirectReads  float64 // probability for each read
	ReadErrors      []ErrorRule
	WriteErrors     []ErrorRule
}

// Harsh are the traits that a correct program must live with: what package blockdev does not promise.
var Harsh = Traits{LoseUnflushed: true, TearSectors: true}

// ErrorRule makes transfers fail with blockdev.ErrMedium.
type ErrorRule struct {
	Off, Len int64   // bytes touched by the transfer; Len 0 means anywhere
	Hosts    []int   // nil means all
	Prob     float64 // of each matching transfer; 0 means always
	Once     bool    // for the first hit only
}

type armedRule struct {
	ErrorRule
	spent bool
}

func arm(rules []ErrorRule) []armedRule {
	out := make([]armedRule, len(rules))
	for i, r := range rules {
		out[i].ErrorRule = r
	}
	return out
}

// hits reports whether the rule strikes, and spends it.
func (r *armedRule) hits(rng *rand.Rand, host int, off, length int64) bool {
	if r.spent || (r.Len != 0 && (off >= r.Off+r.Len || r.Off >= off+length)) {
		return false
	}
	mine := r.Hosts == nil
	for _, h := range r.Hosts {
		mine = mine || h == host
	}
	if !mine || (r.Prob != 0 && rng.Float64() >= r.Prob) {
		return false
	}
	r.spent = r.Once
	return true
}

func defaultLatency(rng *rand.Rand, _ Op, _ int) time.Duration {
	return 50*time.Microsecond + time.Duration(rng.Int64N(int64(950*time.Microsecond)))
}
