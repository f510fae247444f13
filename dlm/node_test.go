package dlm_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/dlm/simnet"
)

// rig is some nodes on a simulated network, whose users are procedures of one world.
type rig struct {
	t     *testing.T
	w     *simnet.World
	net   *simnet.Net
	nodes []*rigNode
}

// rigNode gives way at once, unless keep says otherwise.
type rigNode struct {
	*dlm.Node
	id       view.NodeID
	blocking []string
	keep     bool
}

func newRig(t *testing.T, n int) *rig {
	w := simnet.NewWorld(1)
	t.Cleanup(w.Close)
	g := &rig{t: t, w: w, net: simnet.NewNet(w, 1)}
	g.net.SetFaults(simnet.Faults{MinDelay: 10 * time.Microsecond, MaxDelay: 50 * time.Microsecond})
	for i := range n {
		r := &rigNode{id: view.NodeID{Slot: view.Slot(i), Incarnation: 1}}
		r.Node = dlm.NewNode(dlm.Config{ID: r.id, Sched: w, Transport: g.net.Join(r.id.Slot), OnBlocking: func(res dlm.Resource, want dlm.Mode) {
			r.blocking = append(r.blocking, fmt.Sprint(res, " ", want))
			if !r.keep {
				assert.NoError(t, r.Downgrade(res, dlm.NL, nil))
			}
		}})
		g.nodes = append(g.nodes, r)
	}
	return g
}

func (g *rig) view(epoch view.Epoch, slots ...int) {
	v := view.View{Epoch: epoch}
	for _, s := range slots {
		v.Members = append(v.Members, view.Member{NodeID: g.nodes[s].id})
	}
	for _, s := range slots {
		g.nodes[s].SetView(v)
	}
}

// do runs fn as a procedure and the world until it returns.
func (g *rig) do(fn func()) {
	g.t.Helper()
	done := false
	g.w.Go("test", func() { fn(); done = true })
	g.w.RunWhile(g.w.Now()+time.Minute, func() bool { return !done })
	require.True(g.t, done, "hangs")
}

var inode1 = dlm.Resource{Kind: dlm.Inode, ID: 1}

func TestNode_LockIsCached(t *testing.T) {
	g := newRig(t, 2)
	g.view(1, 0, 1)
	ctx := context.Background()
	g.do(func() {
		for _, n := range g.nodes {
			require.NoError(t, n.WaitRebuilt(ctx, 1))
		}
		a := g.nodes[0]
		first, err := a.Lock(ctx, inode1, dlm.EX, dlm.Options{})
		require.NoError(t, err)
		sent := a.Stats().MessagesSent()
		for _, m := range []dlm.Mode{dlm.EX, dlm.PR, dlm.CR, dlm.NL} {
			again, err := a.Lock(ctx, inode1, m, dlm.Options{NoQueue: true})
			require.NoError(t, err)
			assert.Equal(t, first, again)
		}
		assert.Equal(t, sent, a.Stats().MessagesSent(), "a held lock costs no message")

		got, err := g.nodes[1].Lock(ctx, inode1, dlm.PR, dlm.Options{})
		require.NoError(t, err)
		assert.Greater(t, got.Token, first.Token)
		assert.Equal(t, []string{"inode/1 PR"}, a.blocking)
	})
}

// TestNode_AloneSendsNothing: after the first use of a resource its user needs no message, whatever it converts.
func TestNode_AloneSendsNothing(t *testing.T) {
	g := newRig(t, 3)
	g.view(1, 0, 1, 2)
	ctx := context.Background()
	g.do(func() {
		n := g.nodes[2]
		for id := range uint64(20) {
			_, err := n.Lock(ctx, dlm.Resource{Kind: dlm.Inode, ID: id}, dlm.CR, dlm.Options{})
			require.NoError(t, err)
		}
		before := n.Stats().MessagesSent()
		for range 10 {
			for id := range uint64(20) {
				r := dlm.Resource{Kind: dlm.Inode, ID: id}
				_, err := n.Lock(ctx, r, dlm.EX, dlm.Options{})
				require.NoError(t, err)
				require.NoError(t, n.Downgrade(r, dlm.CR, []byte("v")))
			}
		}
		assert.Equal(t, before, n.Stats().MessagesSent())
		assert.Zero(t, n.Stats().RemoteGrants)
	})
}

func TestNode_Errors(t *testing.T) {
	g := newRig(t, 2)
	g.view(1, 0, 1)
	ctx := context.Background()
	a, b := g.nodes[0], g.nodes[1]
	a.keep, b.keep = true, true
	g.do(func() {
		_, err := a.Lock(ctx, inode1, dlm.PR, dlm.Options{})
		require.NoError(t, err)
		_, err = b.Lock(ctx, inode1, dlm.EX, dlm.Options{NoQueue: true})
		require.ErrorIs(t, err, dlm.ErrBusy)
		_, err = b.Lock(ctx, inode1, dlm.PR, dlm.Options{})
		require.NoError(t, err)

		require.ErrorIs(t, a.Downgrade(inode1, dlm.EX, nil), dlm.ErrNotHeld)
		require.ErrorIs(t, a.Downgrade(dlm.Resource{Kind: dlm.VM}, dlm.NL, nil), dlm.ErrNotHeld)
		require.ErrorIs(t, a.Downgrade(inode1, dlm.NL, make([]byte, dlm.MaxValue+1)), dlm.ErrValueSize)

		// L5: the first conversion waits, the second is refused; then the first is granted.
		var first error
		finished := g.w.NewEvent()
		g.w.Go("convert", func() {
			_, first = a.Lock(ctx, inode1, dlm.EX, dlm.Options{})
			finished.Set()
		})
		require.NoError(t, g.w.Sleep(ctx, 10*time.Millisecond))
		_, err = b.Lock(ctx, inode1, dlm.EX, dlm.Options{})
		require.ErrorIs(t, err, dlm.ErrDeadlock)
		assert.False(t, finished.IsSet())
		require.NoError(t, b.Downgrade(inode1, dlm.NL, nil))
		require.NoError(t, finished.Wait(ctx))
		require.NoError(t, first)
	})
}

func TestNode_ContextEnds(t *testing.T) {
	g := newRig(t, 2)
	g.view(1, 0, 1)
	a, b := g.nodes[0], g.nodes[1]
	a.keep = true
	g.do(func() {
		ctx := context.Background()
		_, err := a.Lock(ctx, inode1, dlm.EX, dlm.Options{})
		require.NoError(t, err)
		short, cancel := context.WithCancel(ctx)
		g.w.Go("cancel", func() {
			_ = g.w.Sleep(ctx, time.Second)
			cancel()
		})
		_, err = b.Lock(short, inode1, dlm.EX, dlm.Options{})
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, g.w.Sleep(ctx, time.Second))
		for _, l := range a.Locks() {
			assert.Empty(t, l.Waiters)
		}
		assert.Empty(t, b.Locks())
		_, err = b.Lock(short, inode1, dlm.NL, dlm.Options{})
		require.NoError(t, err, "nothing to wait for")
	})
}

func TestNode_StopAndLeave(t *testing.T) {
	g := newRig(t, 3)
	ctx := context.Background()
	a, b, c := g.nodes[0], g.nodes[1], g.nodes[2]
	waited := g.w.NewEvent()
	g.w.Go("before the first view", func() {
		_, err := a.Lock(ctx, inode1, dlm.PR, dlm.Options{})
		assert.NoError(t, err)
		waited.Set()
	})
	g.w.Run(g.w.Now() + time.Second)
	require.False(t, waited.IsSet())
	g.view(1, 0, 1, 2)
	g.do(func() {
		require.NoError(t, waited.Wait(ctx))
		require.NoError(t, a.Leave(ctx))
		for _, l := range a.Locks() {
			assert.Equal(t, dlm.NL, l.Mode)
		}
		_, err := a.Lock(ctx, inode1, dlm.CR, dlm.Options{})
		require.ErrorIs(t, err, dlm.ErrStopped)
	})
	g.view(2, 1, 2)
	a.Stop()
	g.do(func() {
		_, err := b.Lock(ctx, inode1, dlm.EX, dlm.Options{})
		require.NoError(t, err)
		b.keep = true
		g.w.Go("stop", func() {
			_ = g.w.Sleep(ctx, time.Second)
			c.Stop()
		})
		_, err = c.Lock(ctx, inode1, dlm.EX, dlm.Options{})
		require.ErrorIs(t, err, dlm.ErrStopped)
		require.ErrorIs(t, c.WaitRebuilt(ctx, 9), dlm.ErrStopped)
		require.NoError(t, c.Leave(ctx), "nothing is held after Stop")
	})
	// A view without the node stops it.
	b.SetView(view.View{Epoch: 3, Members: []view.Member{{NodeID: c.id}}})
	g.do(func() {
		_, err := b.Lock(ctx, dlm.Resource{Kind: dlm.VM}, dlm.CR, dlm.Options{})
		require.ErrorIs(t, err, dlm.ErrStopped)
	})
}

// TestNode_HistoryIsLinearizable keeps a register in the value block of one resource. Three nodes read it under PR
// and write it under PW; porcupine judges that the history is one register's.
func TestNode_HistoryIsLinearizable(t *testing.T) {
	model := porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, in, out any) (bool, any) {
			if written := in.(string); written != "" {
				return out.(string) == state.(string), written
			}
			return out.(string) == state.(string), state
		},
	}
	for seed := uint64(1); seed <= 20; seed++ {
		history := registerHistory(t, seed)
		require.Len(t, history, 60)
		require.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(model, history, 20*time.Second), "seed %d", seed)
	}
}

// registerUser holds CR for good, so that the value block lives, and more when it reads or writes.
type registerUser struct {
	n      *dlm.Node
	busy   bool
	wanted bool
}

func (u *registerUser) giveWay(dlm.Resource, dlm.Mode) {
	if u.wanted = true; !u.busy {
		u.lower(nil)
	}
}

func (u *registerUser) lower(value []byte) {
	u.wanted = false
	_ = u.n.Downgrade(inode1, dlm.CR, value) // not held yet: the callback came before the first Lock returned
}

// access reads the register, writes it if value is not empty, and returns what it read.
func (u *registerUser) access(ctx context.Context, value string) (string, error) {
	u.busy = true
	m := dlm.PR
	if value != "" {
		m = dlm.PW
	}
	g, err := u.n.Lock(ctx, inode1, m, dlm.Options{})
	for errors.Is(err, dlm.ErrDeadlock) {
		u.lower(nil)
		g, err = u.n.Lock(ctx, inode1, m, dlm.Options{})
	}
	u.busy = false
	if value != "" {
		u.lower([]byte(value))
	} else if u.wanted {
		u.lower(nil)
	}
	return string(g.Value), err
}

// registerHistory has an input "" for a read, else the value written; the output is the value found. View changes
// without deaths happen meanwhile and must not show.
func registerHistory(t *testing.T, seed uint64) []porcupine.Operation {
	w := simnet.NewWorld(seed)
	defer w.Close()
	net := simnet.NewNet(w, seed)
	net.SetFaults(simnet.Faults{Drop: 0.1, Duplicate: 0.1, Spike: 0.05, MinDelay: 50 * time.Microsecond, MaxDelay: 5 * time.Millisecond, SpikeTime: 300 * time.Millisecond})
	var v view.View
	var users []*registerUser
	for i := range view.Slot(3) {
		u := &registerUser{}
		id := view.NodeID{Slot: i, Incarnation: 1}
		v.Members = append(v.Members, view.Member{NodeID: id})
		u.n = dlm.NewNode(dlm.Config{ID: id, Sched: w, Transport: net.Join(i), OnBlocking: u.giveWay})
		users = append(users, u)
	}
	ctx := context.Background()
	w.Go("views", func() {
		for range 6 {
			v.Epoch++
			for _, u := range users {
				u.n.SetView(v)
				_ = w.Sleep(ctx, time.Duration(w.Rand().Int64N(int64(100*time.Millisecond))))
			}
		}
	})
	var history []porcupine.Operation
	left := len(users)
	for i, u := range users {
		w.Go("user", func() {
			_, err := u.n.Lock(ctx, inode1, dlm.CR, dlm.Options{})
			assert.NoError(t, err)
			for k := range 20 {
				_ = w.Sleep(ctx, time.Duration(w.Rand().Int64N(int64(20*time.Millisecond))))
				value := ""
				if w.Rand().IntN(2) == 0 {
					value = fmt.Sprintf("%d.%d", i, k)
				}
				call := int64(w.Now())
				out, err := u.access(ctx, value)
				assert.NoError(t, err)
				history = append(history, porcupine.Operation{ClientId: i, Input: value, Output: out, Call: call, Return: int64(w.Now())})
			}
			left--
		})
	}
	w.RunWhile(10*time.Minute, func() bool { return left > 0 })
	require.Zero(t, left, "seed %d hangs", seed)
	return history
}
