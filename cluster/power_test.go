package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/covol/covol/cluster/fence"
)

// defaultFencing is what Join takes if nothing is chosen.
func defaultFencing(c *Config) (out []fence.Method) {
	if c.Host != nil {
		out = append(out, fence.HostLock{Locks: c.Host, Host: c.Machine.Host, Boot: c.Machine.Boot})
	}
	return append(out, fence.Lease{Wait: c.Super.Profile.Wait()})
}

// powerSwitch is a fence command: it ends a host with all that runs there.
type powerSwitch struct {
	w         *world
	machineOf func(string) int
	asked     []fence.Victim
	broken    bool
	took      time.Duration // 0: random
}

func (*powerSwitch) Name() string { return "power" }
func (*powerSwitch) Forces() bool { return true }

func (m *powerSwitch) Prove(ctx context.Context, v fence.Victim) (fence.Proof, error) {
	m.asked = append(m.asked, v)
	took := m.took
	if took == 0 {
		took = time.Duration(m.w.rng.IntN(3000)) * time.Millisecond
	}
	if err := m.w.s.Sleep(ctx, took); err != nil {
		return fence.Proof{}, err
	}
	if m.broken || m.w.calming || // it would hit who has come back
		m.took == 0 && m.w.rng.IntN(3) == 0 {
		return fence.Proof{}, fmt.Errorf("%w: injected", fence.ErrNoProof)
	}
	for _, p := range m.w.procs {
		if p.name == v.Name && !p.over() {
			p.kill(2) // what it had sent may land within the bound
		}
	}
	return fence.Proof{Method: m.Name(), Settle: true}, nil
}
