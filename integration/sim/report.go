package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Stats count what a run did.
type Stats struct {
	Seeds       int
	Time        time.Duration // simulated
	Ops         int
	Messages    int
	Lives       int // of nodes
	Takeovers   int // journals brought home for another node
	Withdrawals int
	Ghosts      int
	Checked     int // volumes
	Damaged     int // of them, by ghosts beyond the bound, and found out
	Verified    int // files looked at
	Shared      int // operations whose order was judged
	Undecided   int // histories that porcupine gave up on
	Grants      int
	Landed      int // writes judged
	Faults      map[string]int
	Leaked      int // procedures that did not end after the run
	Hash        uint64
}

func (s *Stats) add(o *Stats) {
	s.Seeds++
	s.Time += o.Time
	s.Ops += o.Ops
	s.Messages += o.Messages
	s.Lives += o.Lives
	s.Takeovers += o.Takeovers
	s.Withdrawals += o.Withdrawals
	s.Ghosts += o.Ghosts
	s.Checked += o.Checked
	s.Damaged += o.Damaged
	s.Verified += o.Verified
	s.Shared += o.Shared
	s.Undecided += o.Undecided
	s.Grants += o.Grants
	s.Landed += o.Landed
	s.Leaked += o.Leaked
	if s.Faults == nil {
		s.Faults = map[string]int{}
	}
	for k, n := range o.Faults {
		s.Faults[k] += n
	}
}

func (s *Stats) String() string {
	var f []string
	for _, k := range slices.Sorted(maps.Keys(s.Faults)) {
		f = append(f, fmt.Sprintf("%s %d", k, s.Faults[k]))
	}
	return fmt.Sprintf("%d seeds, %v simulated, %d lives of nodes, %d operations, %d messages, %d grants, %d writes judged\n"+
		"%d takeovers, %d withdrawals, %d ghosts, %d volumes checked (%d damaged), %d files verified, %d shared operations ordered (%d histories undecided)\nfaults: %s\n%d procedures left over",
		s.Seeds, s.Time.Round(time.Second), s.Lives, s.Ops, s.Messages, s.Grants, s.Landed, s.Takeovers, s.Withdrawals, s.Ghosts, s.Checked, s.Damaged,
		s.Verified, s.Shared, s.Undecided, strings.Join(f, ", "), s.Leaked)
}

// Result is how a run ended.
type Result struct {
	Seed   uint64
	Opt    Options
	Stats  Stats
	Faults []Fault
	Recent []string // the last events
}

func (w *World) result() *Result {
	return &Result{w.seed, w.opt, w.final, w.faults, w.recent}
}
