package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/fence"
)

func kinds(p *proc) (out []string) {
	for _, e := range p.events {
		out = append(out, e.Node+" "+e.Kind.String())
	}
	return out
}

// The story of a death as a survivor tells it.
func TestEventsTellTheStory(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a := w.settled("a", 1)
	b := w.settled("b", 1)
	b.kill(0)
	w.run(patience, "recovery", func() bool { return w.judge.view.Members[1] == 0 && w.idle() })
	require.NoError(t, w.s.Run(w.s.Now()+time.Second))
	again := w.settled("b", 1)
	again.leave()
	w.run(patience, "leave", func() bool { return again.left })
	a.hb.broken = true
	w.run(patience, "pause", func() bool { s, _, _ := a.node.State(); return s == StatePaused })
	a.hb.broken = false
	w.run(patience, "resume", a.active)
	a.node.Kill()
	require.NoError(t, w.s.Run(w.s.Now()+time.Second))
	assert.Equal(t, []string{"a joined", "b joined", "b suspected", "b dead", "b recovered", "b joined", "b left",
		"a paused", "a resumed", "a withdrawn"}, kinds(a))
	for i, e := range a.events {
		assert.Equal(t, w.s.Wall().Add(e.At-w.s.Now()), e.Wall)
		assert.True(t, i == 0 || e.At >= a.events[i-1].At)
	}
	assert.Equal(t, "proof by host: the kernel has dropped its lock", a.events[3].Text)
	assert.Contains(t, a.events[4].Text, "after it was suspected")
	assert.Equal(t, "host", a.node.Status().Fenced)
	assert.Equal(t, []string{"b joined", "b left"}, kinds(again)[:2])
	w.check()
}

// A hint makes the lock of the host be asked at once, and decides nothing.
func TestSuspectIsAHint(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a, b := w.settled("a", 1), w.settled("b", 1)
	c := w.settled("c", 0)
	for _, name := range []string{"a", "b", "c", "nobody"} {
		a.node.Suspect(name)
	}
	require.NoError(t, w.s.Run(w.s.Now()+2*w.sb.Profile.Wait()))
	assert.True(t, w.allActive(a, b, c)(), "all live, whatever is said")
	assert.Empty(t, w.judge.dead)
	b.kill(0)
	c.kill(0)
	begin := w.s.Now()
	a.node.Suspect("b")
	a.node.Suspect("c")
	w.run(patience, "death of b", func() bool { return w.judge.dead[b.node.ID()] })
	assert.Less(t, w.s.Now()-begin, w.sb.Profile.Heartbeat, "at once, not after 3h")
	w.run(patience, "death of c", func() bool { return w.judge.dead[c.node.ID()] })
	assert.GreaterOrEqual(t, w.s.Now()-begin, w.sb.Profile.Wait()-w.sb.Profile.Heartbeat, "the lease is not shortened")
	w.run(patience, "recovery", w.idle)
	w.check()
}

func (w *world) fence(p *proc, name string) (err *error, done func() bool) {
	err, ended := new(error), false
	p.sched.Go("fence", func() {
		*err = p.node.Fence(context.Background(), name)
		ended = true
	})
	return err, func() bool { return ended }
}

// A person's word is taken only about a node that does not renew, and ends the waiting for whatever method.
func TestPersonsWord(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	sw := &powerSwitch{w: w, broken: true, took: time.Second}
	strict := func(c *Config) { c.Fencing = []fence.Method{sw} } // no lease
	a := w.spawn("a", 0, strict)
	w.run(patience, "join", a.active)
	b := w.settled("b", 0)
	for name, want := range map[string]error{"b": ErrNodeLives, "a": ErrNodeLives, "x": ErrNoNode} {
		err, done := w.fence(a, name)
		w.run(patience, "answer", done)
		require.ErrorIs(t, *err, want)
	}
	b.kill(2)
	require.NoError(t, w.s.Run(w.s.Now()+3*w.sb.Profile.Wait()))
	assert.NotZero(t, w.judge.view.Members[1], "the switch is broken, and the lease was not chosen")
	st := a.node.Status()
	assert.Equal(t, []string{"power"}, st.Fencing)
	require.Len(t, st.Victims, 1)
	assert.Equal(t, "b", st.Victims[0].Name)
	assert.Equal(t, time.Duration(-1), st.Victims[0].AtMost)
	assert.Contains(t, fmt.Sprint(st.Victims[0].Tries), "power: ")
	begin := w.s.Now()
	err, done := w.fence(a, "b")
	w.run(patience, "word", done)
	require.NoError(t, *err)
	assert.GreaterOrEqual(t, w.s.Now()-begin, w.sb.Profile.IOBound, "what it had sent may land so long")
	assert.Equal(t, "person", a.node.Status().Fenced)
	w.run(patience, "recovery", w.idle)
	err, done = w.fence(a, "b")
	w.run(patience, "answer", done)
	require.ErrorIs(t, *err, ErrNoNode)
	w.check()
}

// The switch is used only when harmless methods said no, waits for what is in flight, and beats the lease.
func TestFenceCommandBeforeTheLease(t *testing.T) {
	for machine := range 2 {
		w := newWorld(t, 1, 3, true)
		sw := &powerSwitch{w: w, took: 100 * time.Millisecond}
		a := w.spawn("a", machine, func(c *Config) {
			c.Fencing = append([]fence.Method{}, defaultFencing(c)...)
			c.Fencing = append(c.Fencing, sw)
		})
		w.run(patience, "join", a.active)
		b := w.settled("b", machine)
		p := w.sb.Profile
		b.sched.freeze(3 * p.Wait()) // it holds its lock
		begin := w.s.Now()
		w.run(patience, "death", func() bool { return w.judge.dead[b.node.ID()] })
		if machine == 0 {
			assert.Less(t, w.s.Now()-begin, p.Wait())
			assert.GreaterOrEqual(t, w.s.Now()-begin, p.Lease-p.Heartbeat+p.IOBound, "it may be only slow until its lease has run out")
			assert.Equal(t, "power", a.node.Status().Fenced)
			assert.Len(t, sw.asked, 1)
			assert.Equal(t, b.node.ID(), sw.asked[0].NodeID)
		} else {
			assert.Empty(t, sw.asked, "it would be our own host")
			assert.Equal(t, "lease", a.node.Status().Fenced)
		}
		w.run(patience, "recovery", w.idle)
		w.check()
		w.stop()
	}
}

// keys is a reservation at the storage: who is not registered does not write.
type keys struct {
	me    fence.Self
	calls []string
	gone  bool
}

func (*keys) Name() string { return "keys" }
func (*keys) Forces() bool { return true }
func (k *keys) Prove(_ context.Context, v fence.Victim) (fence.Proof, error) {
	k.calls = append(k.calls, "preempt "+v.Name)
	return fence.Proof{Method: "keys"}, nil
}
func (k *keys) Register(_ context.Context, me fence.Self) error {
	k.calls, k.me = append(k.calls, "register"), me
	return nil
}
func (k *keys) Check(context.Context) error {
	if k.gone {
		return fmt.Errorf("%w: the key is not there", fence.ErrFenced)
	}
	return nil
}
func (k *keys) Unregister(context.Context) error {
	k.calls = append(k.calls, "unregister")
	return nil
}

func TestRegistrar(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	ka, kb := &keys{}, &keys{}
	with := func(k *keys) func(*Config) {
		return func(c *Config) { c.Fencing = []fence.Method{k, fence.Lease{Wait: c.Super.Profile.Wait()}} }
	}
	a, b := w.spawn("a", 0, with(ka)), w.spawn("b", 0, with(kb))
	w.run(patience, "join", w.allActive(a, b))
	assert.Equal(t, fence.Self{NodeID: a.node.ID(), Volume: w.sb.UUID, Name: "a"}, ka.me)
	kb.gone = true
	w.run(patience, "b notices", b.over)
	s, why, _ := b.node.State()
	assert.Equal(t, StateFenced, s)
	assert.Equal(t, CauseFenced, why.Cause)
	w.run(patience, "recovery", func() bool { return w.judge.view.Members[b.node.ID().Slot] == 0 && w.idle() })
	a.leave()
	w.run(patience, "leave", func() bool { return a.left })
	assert.Equal(t, []string{"register", "preempt b", "unregister"}, ka.calls)
	assert.NotContains(t, kb.calls, "unregister", "a fenced node keeps away from the keys")
	w.check()
}

// bowl is a watchdog that remembers its meals.
type bowl struct {
	w     *world
	limit time.Duration
	meal  time.Duration
	armed bool
	err   error
}

func (d *bowl) Arm(limit time.Duration) error {
	d.limit, d.meal, d.armed = limit, d.w.s.Now(), d.err == nil
	return d.err
}
func (d *bowl) Feed() error    { d.meal = d.w.s.Now(); return nil }
func (d *bowl) Disarm() error  { d.armed = false; return nil }
func (d *bowl) String() string { return "bowl" }

// The dog is fed as long as the lease is renewed. Before anybody else may take what the node held, it has fired.
func TestWatchdogFiresBeforeTheTakeover(t *testing.T) {
	for seed := range uint64(12) {
		w := newWorld(t, seed, 3, true)
		dog := &bowl{w: w}
		a := w.spawn("a", 0, func(c *Config) { c.Watchdog = dog })
		w.run(patience, "join", a.active)
		b := w.settled("b", 0)
		require.NoError(t, w.s.Run(w.s.Now()+3*dog.limit))
		assert.Less(t, w.s.Now()-dog.meal, dog.limit)
		assert.Equal(t, "bowl", a.node.Status().Watchdog)
		if seed%2 == 0 {
			a.hb.slowWrite = time.Duration(seed) * 90 * time.Millisecond
			require.NoError(t, w.s.Run(w.s.Now()+2*time.Second))
			a.hb.broken = true
		} else {
			a.sched.freeze(time.Minute)
		}
		w.run(patience, "death", func() bool { return w.judge.dead[a.node.ID()] })
		assert.Greater(t, w.s.Now()-dog.meal, dog.limit, "seed %d", seed)
		assert.True(t, dog.armed)
		w.run(patience, "recovery", w.idle)
		assert.True(t, b.active())
		w.check()
		w.stop()
	}
}

func TestWatchdogEndsWithTheNode(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	dog := &bowl{w: w}
	set := func(c *Config) { c.Watchdog = dog }
	a := w.spawn("a", 0, set)
	w.run(patience, "join", a.active)
	a.leave()
	w.run(patience, "leave", func() bool { return a.left })
	assert.False(t, dog.armed)
	b := w.spawn("a", 0, set)
	w.run(patience, "join", b.active)
	b.node.Kill()
	w.run(patience, "end", b.node.Done().IsSet)
	assert.False(t, dog.armed, "its last I/O is over")

	dog.err = errors.New("no such dog")
	c := w.spawn("c", 0, set)
	w.run(patience, "refusal", func() bool { return c.done })
	require.ErrorContains(t, c.err, "no such dog")
	w.check()
}
