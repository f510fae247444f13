package handover

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fake is one side's VM: what was done with it, in order.
type fake struct {
	mu    sync.Mutex
	did   []string // GUARDED_BY(mu)
	fails map[string]error
	slow  bool // Copy goes on until it is cancelled
	peer  chan Event
}

func (f *fake) do(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, what)
	return f.fails[what]
}

func (f *fake) Copy(ctx context.Context) error {
	if f.slow {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.do("copy")
}
func (f *fake) Stop(context.Context) error { return f.do("stop") }
func (f *fake) SendGo(_ context.Context, epoch uint64) error {
	f.peer <- Go{epoch}
	return f.do("go")
}
func (f *fake) Verify(context.Context) error       { return f.do("verify") }
func (f *fake) Take(context.Context, uint64) error { return f.do("take") }
func (f *fake) Say(what Message, epoch uint64) {
	select {
	case f.peer <- Heard{what, epoch}:
	default:
	}
}

// flaky loses every other answer.
type flaky struct {
	Memory
	mu    sync.Mutex
	calls int
}

var errLost = errors.New("answer lost")

func (f *flaky) lost() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls++; f.calls%2 == 1 {
		return errLost
	}
	return nil
}

func (f *flaky) Read(ctx context.Context, vm string) (Record, error) {
	r, err := f.Memory.Read(ctx, vm)
	return r, errors.Join(err, f.lost())
}

func (f *flaky) Swap(ctx context.Context, vm string, old, new Record) (Record, error) {
	r, err := f.Memory.Swap(ctx, vm, old, new)
	return r, errors.Join(err, f.lost())
}

func runners(t *testing.T, store Store, s, target *fake) (source, dest *Runner, toSource, toDest chan Event, first Record) {
	first = Record{VM: vm, State: Running, Owner: nodeS, Epoch: 4}
	for {
		if now, err := store.Swap(t.Context(), vm, Record{}, first); err == nil {
			require.Equal(t, first, now)
			break
		}
		if now, err := store.Read(t.Context(), vm); err == nil {
			require.Equal(t, first, now)
			break
		}
	}
	toSource, toDest = make(chan Event, 16), make(chan Event, 16)
	s.peer, target.peer = toDest, toSource
	m, err := NewSource(nodeS, nodeT, first)
	require.NoError(t, err)
	n, err := NewTarget(nodeT, first.migratingTo(nodeT))
	require.NoError(t, err)
	one := Runner{Machine: m, Store: store, VM: vm, Actions: s, Soon: time.Millisecond, Answer: time.Minute, Limit: time.Minute}
	two := one
	two.Machine, two.Actions = n, target
	return &one, &two, toSource, toDest, first
}

func TestRunnersMove(t *testing.T) {
	for name, store := range map[string]Store{"a good store": &Memory{}, "every other answer lost": &flaky{}} {
		t.Run(name, func(t *testing.T) {
			s, d := &fake{}, &fake{}
			source, dest, toSource, toDest, _ := runners(t, store, s, d)
			toDest <- Prepared{}
			ended := make(chan Over, 1)
			go func() { ended <- dest.Run(t.Context(), toDest) }()
			over := source.Run(t.Context(), toSource)
			assert.Equal(t, Over{Result: Moved}, over)
			assert.Equal(t, Over{Result: Moved, Keep: true}, <-ended)
			assert.Equal(t, []string{"copy", "stop", "go"}, s.did)
			assert.Equal(t, []string{"verify", "take"}, d.did)
		})
	}
}

// A cancelled move ends the copying before the record is swapped back, and leaves nothing under way.
func TestRunnerCancels(t *testing.T) {
	s := &fake{slow: true}
	source, _, toSource, _, _ := runners(t, &Memory{}, s, &fake{})
	ended := make(chan Over, 1)
	go func() { ended <- source.Run(t.Context(), toSource) }()
	require.Eventually(t, func() bool {
		r, err := source.Store.Read(t.Context(), vm)
		return err == nil && r.State == Migrating
	}, time.Minute, time.Millisecond)
	toSource <- Cancel{}
	over := <-ended
	assert.True(t, over.Keep)
	assert.ErrorIs(t, over.Why, ErrCancelled)
	assert.Equal(t, []string{"take"}, s.did)
	r, err := source.Store.Read(t.Context(), vm)
	require.NoError(t, err)
	assert.Equal(t, Record{VM: vm, State: Running, Owner: nodeS, Epoch: 5}, r)
}

// Closed events are a cut connection.
func TestRunnerCut(t *testing.T) {
	s := &fake{slow: true}
	source, _, toSource, _, _ := runners(t, &Memory{}, s, &fake{})
	close(toSource)
	over := source.Run(t.Context(), toSource)
	assert.True(t, over.Keep)
	assert.ErrorIs(t, over.Why, ErrCut)
}

func TestNewRefuses(t *testing.T) {
	running := Record{VM: vm, State: Running, Owner: nodeS, Epoch: 1}
	for _, r := range []Record{{}, {VM: vm, State: Stopped, Owner: nodeS, Epoch: 1}, running.runningOn(nodeT), running.migratingTo(nodeT)} {
		_, err := NewSource(nodeS, nodeT, r)
		assert.ErrorContains(t, err, "hand over", "%s", r)
	}
	_, err := NewSource(nodeS, nodeS, running)
	assert.Error(t, err)
	_, err = NewTarget(nodeT, running)
	assert.Error(t, err)
	_, err = NewTarget(nodeX, running.migratingTo(nodeT))
	assert.Error(t, err)
}

// impatient asks for a tick and, before it comes, for the disks.
type impatient struct{ ticks int }

func (m *impatient) Step(e Event) []Effect {
	switch e := e.(type) {
	case Begin:
		return []Effect{Wait{Soon}, Take{1}}
	case Tick:
		m.ticks++
		return []Effect{Take{1}}
	case Taken:
		return []Effect{Over{Result: Stayed, Keep: e.Err == nil}}
	}
	return nil
}

// slowDisks are taken long after a tick would have come.
type slowDisks struct {
	fake
	taken int
}

func (d *slowDisks) Take(ctx context.Context, _ uint64) error {
	d.taken++
	select {
	case <-time.After(100 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A tick that was asked for earlier does not come while something else is under way: its answer would be forgotten, and a VM
// that runs already be started again.
func TestNoTickWhileBusy(t *testing.T) {
	m, d := &impatient{}, &slowDisks{}
	r := Runner{Machine: m, Store: &Memory{}, VM: vm, Actions: d, Soon: time.Millisecond, Answer: time.Minute, Limit: time.Minute}
	assert.True(t, r.Run(t.Context(), nil).Keep)
	assert.Zero(t, m.ticks)
	assert.Equal(t, 1, d.taken)
}
