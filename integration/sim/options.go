package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/covol/covol/ondisk/blockdev/simdisk"
)

// Options is everything that a seed decides before the run begins.
type Options struct {
	Nodes      int
	Machines   Machines
	SectorSize int
	Cluster    uint32 // bytes
	Profile    string
	Traits     simdisk.Traits
	Net        NetFaults
	Drift      float64       // how far the pace of clocks may be off
	Work       time.Duration // before faults stop
	Clients    int           // per host
	Pace       time.Duration // mean pause of a client between operations
	Faults     []string      // kinds that happen
	Every      time.Duration // mean time between faults
	Restart    time.Duration // mean time until a dead node comes back
	Beyond     bool          // ghosts land later than the bound of one I/O: only metadata is judged
}

// Machines says which nodes share a host.
type Machines uint8

// The layouts.
const (
	OwnMachines   Machines = iota // each node on a host of its own, with locks of the host
	OneMachine                    // all on one host
	TwoMachines                   // on two
	NoHostLocks                   // nobody has locks of the host
	MixedMachines                 // some share, some have none
)

func (m Machines) String() string {
	return [...]string{"own", "one", "two", "none", "mixed"}[m]
}

// drawOptions draws a run. Long runs have more of everything.
func drawOptions(seed uint64, long bool) Options {
	r := rand.New(rand.NewPCG(seed, 0x0b710))
	o := Options{
		Nodes: 2 + r.IntN(3), Machines: Machines(r.IntN(5)), SectorSize: 512, Cluster: 4096, Profile: "fast",
		Work: time.Duration(3+r.IntN(6)) * time.Second, Clients: 1 + r.IntN(2), Restart: time.Duration(200+r.IntN(3000)) * time.Millisecond,
		Pace: time.Duration(5+r.IntN(60)) * time.Millisecond, Every: time.Duration(500+r.IntN(2500)) * time.Millisecond,
	}
	if r.IntN(4) == 0 {
		o.SectorSize = 4096
	}
	if r.IntN(4) == 0 {
		o.Cluster = 65536
	}
	if r.IntN(4) == 0 {
		o.Drift = 0.01
	}
	o.Traits = simdisk.Traits{LoseUnflushed: r.IntN(4) != 0, TearSectors: r.IntN(2) == 0, Ordered: r.IntN(6) == 0}
	if r.IntN(2) == 0 {
		o.Net = NetFaults{Drop: r.Float64() * 0.1, Duplicate: r.Float64() * 0.1, Spike: r.Float64() * 0.1, SpikeTime: time.Duration(r.IntN(200)) * time.Millisecond}
	}
	if long {
		o.Nodes, o.Work, o.Clients = 2+r.IntN(7), time.Duration(20+r.IntN(40))*time.Second, 1+r.IntN(3)
	}
	for _, f := range faultKinds {
		if r.IntN(3) != 0 {
			o.Faults = append(o.Faults, f.name)
		}
	}
	return o
}

func (o Options) String() string {
	return fmt.Sprintf("%d nodes, machines %v, sectors %d, clusters %d, traits %+v, net %+v, drift %v, work %v, %d clients, pace %v, a fault every %v of %s",
		o.Nodes, o.Machines, o.SectorSize, o.Cluster, o.Traits, o.Net, o.Drift, o.Work, o.Clients, o.Pace, o.Every, strings.Join(o.Faults, " "))
}
