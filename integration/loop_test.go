package integration

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
)

var loopFlags = struct {
	rounds, season *int
	seed           *uint64
	faults, fence  *string
	profile        *string
}{
	rounds:  flag.Int("rounds", 8, "TestFaultLoop: rounds of one fault each"),
	season:  flag.Int("season", 4, "TestFaultLoop: rounds between two checks of the whole volume"),
	seed:    flag.Uint64("seed", 0, "TestFaultLoop: what decides faults and victims (0: the clock)"),
	faults:  flag.String("faults", "", "TestFaultLoop: names of the faults to choose from, by commas (empty: all)"),
	fence:   flag.String("fence", "lease,host", "TestFaultLoop: how deaths are proven, by turns from season to season"),
	profile: flag.String("profile", "fast", "TestFaultLoop: times of the volume"),
}

// faultLoop is a cluster under load to which one fault happens each round.
type faultLoop struct {
	*lab
	rng     *rand.Rand
	times   ondisk.Profile
	books   []*ledger
	regs    *registers
	meters  []*meter
	images  []*fioImage
	work    []*work
	results map[string][]result
	now     string // the fault of this round
}

// TestFaultLoop lets one fault after the other happen to three nodes that work: on files of their own, by fio on images,
// and all on the same registers. After each round all nodes work again, nothing that was acknowledged is lost on any
// node, images verify, the registers' history makes sense; after each season the volume is clean.
func TestFaultLoop(t *testing.T) {
	tool(t, "fio", "fio")
	seed := *loopFlags.seed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	kinds := chosenFaults(t)
	rounds := *loopFlags.rounds
	l := newFaultLoop(t, seed)
	defer func() {
		if t.Failed() {
			t.Logf("the fault was %s", l.now)
			t.Logf("again: go test ./integration -run TestFaultLoop -timeout 0 -args -rounds %d -season %d -seed %d -faults '%s' -fence %s -profile %s",
				rounds, *loopFlags.season, seed, *loopFlags.faults, *loopFlags.fence, *loopFlags.profile)
		}
	}()
	began := time.Now()
	order := l.order(kinds, rounds)
	for k, kind := range order {
		if k%*loopFlags.season == 0 {
			l.newSeason(k / *loopFlags.season)
		}
		l.watch.Reset(roundLimit(l.times)) // a hang makes the nodes say what they wait for
		l.now = kind.name
		r := l.round(k+1, kind)
		l.results[kind.name] = append(l.results[kind.name], r)
		fmt.Fprintf(os.Stderr, "%4d/%d %s %s\n", k+1, rounds, time.Since(began).Round(time.Second), r)
		if t.Failed() {
			return
		}
	}
	l.table(kinds)
}

func chosenFaults(t *testing.T) []faultKind {
	t.Helper()
	if *loopFlags.faults == "" {
		return faultKinds
	}
	var chosen []faultKind
	for name := range strings.SplitSeq(*loopFlags.faults, ",") {
		i := slices.IndexFunc(faultKinds, func(k faultKind) bool { return k.name == name })
		require.GreaterOrEqual(t, i, 0, "no fault %q", name)
		chosen = append(chosen, faultKinds[i])
	}
	return chosen
}

func newFaultLoop(t *testing.T, seed uint64) *faultLoop {
	i := slices.IndexFunc(ondisk.Profiles, func(p ondisk.Profile) bool { return p.Name == *loopFlags.profile })
	require.GreaterOrEqual(t, i, 0, "no profile %q", *loopFlags.profile)
	times := ondisk.Profiles[i]
	l := &faultLoop{
		lab:   newLab(t, labOptions{separate: true, faults: true, profile: times.Name, limit: roundLimit(times)}),
		rng:   rand.New(rand.NewPCG(seed, 0)),
		times: times, results: map[string][]result{},
	}
	for range 3 {
		n := l.add()
		l.books = append(l.books, newLedger("dir-"+n.name))
		l.images = append(l.images, &fioImage{owner: n})
		l.meters = append(l.meters, &meter{})
		l.work = append(l.work, nil)
	}
	return l
}

// roundLimit is the time of one round, or of the end of a season: many times what they take, so that a round that hangs
// is told from one that is slow, and little enough that it is told at once.
func roundLimit(p ondisk.Profile) time.Duration { return 2*time.Minute + 6*p.Wait() }

// order draws the faults: all once, in any order, then all again.
func (l *faultLoop) order(kinds []faultKind, rounds int) []faultKind {
	var order []faultKind
	for len(order) < rounds {
		for _, i := range l.rng.Perm(len(kinds)) {
			order = append(order, kinds[i])
		}
	}
	return order[:rounds]
}

// newSeason lets all nodes leave, checks the volume, and lets them come again with another proof of death.
func (l *faultLoop) newSeason(k int) {
	if k > 0 {
		l.down()
		l.fsck()
	}
	fences := strings.Split(*loopFlags.fence, ",")
	fence := fences[k%len(fences)]
	for _, n := range l.nodes {
		if n.args = nil; fence != "host" {
			n.args = []string{"--fence", fence}
		}
		n.start()
	}
	for _, n := range l.nodes {
		n.ready()
	}
	if k == 0 {
		for i, n := range l.nodes {
			require.NoError(l.t, os.Mkdir(n.path(l.books[i].dir), 0o755))
			l.images[i].lay(l)
		}
		l.regs = newRegisters(l.nodes[0])
	}
	fmt.Fprintf(os.Stderr, "season %d: deaths proven by %s\n", k+1, fence)
}

// result is what one round has shown.
type result struct {
	fault, victims string
	stall          time.Duration // longest that an operation waited on a node without fault
	survivors      int
	took           time.Duration
	withdrawn      []string // nodes that had withdrawn
	innocent       int      // of them, that nothing had been done to
}

func (r result) String() string {
	s := fmt.Sprintf("%-18s %-9s stall %5.2f s, round %5.2f s", r.fault, r.victims, r.stall.Seconds(), r.took.Seconds())
	if len(r.withdrawn) > 0 {
		s += ", withdrawn " + strings.Join(r.withdrawn, " ")
	}
	if r.innocent > 0 {
		s += fmt.Sprintf(" (%d without fault)", r.innocent)
	}
	return s
}

// table prints what each fault has done.
func (l *faultLoop) table(kinds []faultKind) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-18s %6s %10s %10s %10s %9s %8s\n", "fault", "rounds", "stall p50", "stall max", "round max", "withdrawn", "innocent")
	for _, k := range kinds {
		rs := l.results[k.name]
		if len(rs) == 0 {
			continue
		}
		var stalls, took []time.Duration
		withdrawn, innocent := 0, 0
		for _, r := range rs {
			if r.survivors > 0 {
				stalls = append(stalls, r.stall)
			}
			took = append(took, r.took)
			withdrawn, innocent = withdrawn+len(r.withdrawn), innocent+r.innocent
		}
		slices.Sort(stalls)
		mid, most := "-", "-"
		if len(stalls) > 0 {
			mid = fmt.Sprintf("%.2f s", stalls[(len(stalls)-1)/2].Seconds())
			most = fmt.Sprintf("%.2f s", stalls[len(stalls)-1].Seconds())
		}
		fmt.Fprintf(&b, "%-18s %6d %10s %10s %8.2f s %9d %8d\n", k.name, len(rs), mid, most, slices.Max(took).Seconds(), withdrawn, innocent)
	}
	fmt.Fprintln(os.Stderr, b.String())
}
