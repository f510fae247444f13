package reservation

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk/blockdev"
)

var volume = [16]byte{0x12, 0x34}

func TestKeys(t *testing.T) {
	for _, c := range []struct {
		volume [16]byte
		id     view.NodeID
		key    Key
	}{
		{[16]byte{}, view.NodeID{Slot: 0, Incarnation: 1}, 0x0000_0000_00000001},
		{[16]byte{1}, view.NodeID{Slot: 2, Incarnation: 3}, 0x0001_0002_00000003},
		{[16]byte{0, 1, 2}, view.NodeID{Slot: 0x1ff, Incarnation: 0xffffffff}, 0x0102_01ff_ffffffff},
		{[16]byte{15: 0x80}, view.NodeID{Slot: 0xffff, Incarnation: 7}, 0x8000_ffff_00000007},
	} {
		k := KeyOf(fence.Self{NodeID: c.id, Volume: c.volume})
		assert.Equal(t, c.key, k)
		assert.Equal(t, c.id, k.Life())
		assert.True(t, k.of(c.volume))
		assert.False(t, k.of([16]byte{0xff, 0xee}))
	}
	assert.Equal(t, "0x1000200000003", Key(0x0001_0002_00000003).String())
	me := Key(0x0001_0002_00000003)
	for k, earlier := range map[Key]bool{me - 1: true, me: false, me + 1: false, me - 1<<32: false, me - 1<<48 - 1: false} {
		assert.Equal(t, earlier, k.earlier(me), "%v", k)
	}
}

// store is a unit; session is one of its sessions.
type store struct {
	keys  map[int]Key
	kind  Type
	sent  int
	fail  int  // this command loses its answer
	lands bool // and takes effect
}

type session struct {
	*store
	n int
}

var errLost = errors.New("answer lost")

func newStore() *store { return &store{keys: map[int]Key{}} }

func (s session) out(do func() error) error {
	s.sent++
	if s.sent != s.fail {
		return do()
	}
	if s.lands {
		_ = do()
	}
	return errLost
}

func (s session) Register(_ context.Context, old, key Key) error {
	return s.out(func() error {
		if s.keys[s.n] != old {
			return blockdev.ErrFenced
		}
		s.keys[s.n] = key
		s.tidy()
		return nil
	})
}

func (s session) Reserve(_ context.Context, key Key) error {
	return s.out(func() error {
		if s.keys[s.n] != key || key == 0 || s.kind != 0 && s.kind != AllRegistrants {
			return blockdev.ErrFenced
		}
		s.kind = AllRegistrants
		return nil
	})
}

func (s session) PreemptAbort(_ context.Context, key, victim Key) error {
	return s.out(func() error {
		before := len(s.keys)
		if s.keys[s.n] != key || key == 0 {
			return blockdev.ErrFenced
		}
		for n, k := range s.keys {
			if k == victim {
				delete(s.keys, n)
			}
		}
		if len(s.keys) == before {
			return blockdev.ErrFenced
		}
		return nil
	})
}

func (s session) ReadKeys(context.Context) (all []Key, err error) {
	err = s.out(func() error {
		for _, k := range s.keys {
			all = append(all, k)
		}
		return nil
	})
	return all, err
}

func (s session) ReadReservation(context.Context) (t Type, err error) {
	err = s.out(func() error { t = s.kind; return nil })
	return t, err
}

// tidy ends a reservation that nobody holds.
func (s *store) tidy() {
	for n, k := range s.keys {
		if k == 0 {
			delete(s.keys, n)
		}
	}
	if len(s.keys) == 0 {
		s.kind = 0
	}
}

func (s *store) node(n int) *Reservation { return New(session{s, 2 * n}, session{s, 2*n + 1}) }

func (s *store) has(k Key) (n int) {
	for _, q := range s.keys {
		if q == k {
			n++
		}
	}
	return n
}

func self(slot view.Slot, inc view.Incarnation) fence.Self {
	return fence.Self{NodeID: view.NodeID{Slot: slot, Incarnation: inc}, Volume: volume}
}

func victim(s fence.Self) fence.Victim { return fence.Victim{NodeID: s.NodeID, Name: "v"} }

func TestLife(t *testing.T) {
	s, ctx := newStore(), t.Context()
	a, b, c := s.node(0), s.node(1), s.node(2)
	la, lb, lc := self(0, 3), self(1, 1), self(2, 1)
	_, err := a.Prove(ctx, victim(lb))
	require.ErrorIs(t, err, fence.ErrNoProof, "not registered itself")
	s.keys[90], s.keys[91], s.keys[92] = KeyOf(self(0, 2)), KeyOf(self(0, 4)), KeyOf(self(3, 1))
	require.NoError(t, a.Register(ctx, la))
	assert.Equal(t, AllRegistrants, s.kind)
	assert.Equal(t, 2, s.has(KeyOf(la)), "both sessions")
	assert.Zero(t, s.has(KeyOf(self(0, 2))), "an earlier life of the slot")
	assert.Equal(t, 1, s.has(KeyOf(self(0, 4))))
	assert.Equal(t, 1, s.has(KeyOf(self(3, 1))))
	require.NoError(t, b.Register(ctx, self(2, 1)))
	require.NoError(t, b.Register(ctx, lb), "its claim failed, and it tries another slot")
	require.NoError(t, c.Register(ctx, lc))
	assert.Equal(t, 2, s.has(KeyOf(lb)))
	assert.Equal(t, 2, s.has(KeyOf(lc)))
	require.NoError(t, b.Check(ctx))

	p, err := a.Prove(ctx, victim(lb))
	require.NoError(t, err)
	assert.Equal(t, fence.Proof{Method: Name, Text: "the storage has its key " + KeyOf(lb).String() + " no more"}, p)
	assert.Zero(t, s.has(KeyOf(lb)))
	p, err = c.Prove(ctx, victim(lb))
	require.NoError(t, err)
	assert.True(t, p.Settle, "another node's command may still be at work")

	require.ErrorIs(t, b.Check(ctx), fence.ErrFenced)
	require.ErrorIs(t, b.Register(ctx, self(1, 2)), fence.ErrFenced, "never again")
	_, err = b.Prove(ctx, victim(la))
	require.ErrorIs(t, err, fence.ErrFenced)
	assert.Equal(t, 2, s.has(KeyOf(la)))

	require.NoError(t, c.Unregister(ctx))
	assert.Zero(t, s.has(KeyOf(lc)))
	require.Error(t, c.Register(ctx, self(2, 2)))
	assert.Zero(t, s.has(KeyOf(self(2, 2))))
}

// A fenced node learns it from any of its calls.
func TestFencedFencer(t *testing.T) {
	for name, call := range map[string]func(*Reservation) error{
		"register": func(r *Reservation) error { return r.Register(context.Background(), self(1, 2)) },
		"check":    func(r *Reservation) error { return r.Check(context.Background()) },
		"prove": func(r *Reservation) error {
			_, err := r.Prove(context.Background(), victim(self(0, 1)))
			return err
		},
	} {
		s := newStore()
		a, b := s.node(0), s.node(1)
		require.NoError(t, a.Register(t.Context(), self(0, 1)))
		require.NoError(t, b.Register(t.Context(), self(1, 1)))
		_, err := a.Prove(t.Context(), victim(self(1, 1)))
		require.NoError(t, err)
		require.ErrorIs(t, call(b), fence.ErrFenced, name)
		assert.Equal(t, 2, s.has(KeyOf(self(0, 1))), name)
		assert.Len(t, s.keys, 2, name)
	}
}

// What is not in force proves nothing, and Check puts it in force again.
func TestNotInForce(t *testing.T) {
	s := newStore()
	a := s.node(0)
	require.NoError(t, a.Register(t.Context(), self(0, 1)))
	s.kind = 0
	_, err := a.Prove(t.Context(), victim(self(1, 1)))
	require.ErrorIs(t, err, fence.ErrNoProof)
	require.NoError(t, a.Check(t.Context()))
	assert.Equal(t, AllRegistrants, s.kind)
	clear(s.keys)
	s.kind = 0
	require.ErrorIs(t, a.Check(t.Context()), fence.ErrFenced, "the storage has forgotten all")

	f := newStore()
	f.kind = 5
	require.ErrorIs(t, f.node(0).Register(t.Context(), self(0, 1)), ErrForeign)
}

// Each command in turn loses its answer, with and without effect: what is tried again ends as if nothing had been.
func TestLostAnswers(t *testing.T) {
	for fail := 1; ; fail++ {
		hit := false
		for _, lands := range []bool{false, true} {
			s, ctx := newStore(), t.Context()
			s.keys[90] = KeyOf(self(0, 1))
			a, b := s.node(0), s.node(1)
			require.NoError(t, b.Register(ctx, self(1, 1)))
			s.sent, s.fail, s.lands = 0, fail, lands
			again := func(call func() error) {
				err := call()
				if err != nil {
					require.NotErrorIs(t, err, fence.ErrFenced, "command %d, lands %v", fail, lands)
					err = call()
				}
				require.NoError(t, err, "command %d, lands %v", fail, lands)
			}
			again(func() error { return a.Register(ctx, self(0, 2)) })
			assert.Equal(t, 2, s.has(KeyOf(self(0, 2))))
			assert.Zero(t, s.has(KeyOf(self(0, 1))))
			again(func() error { return a.Check(ctx) })
			again(func() error {
				_, err := a.Prove(ctx, victim(self(1, 1)))
				return err
			})
			assert.Zero(t, s.has(KeyOf(self(1, 1))))
			again(func() error { return a.Unregister(ctx) })
			assert.Empty(t, s.keys)
			assert.Zero(t, s.kind)
			hit = hit || s.sent >= fail
		}
		if !hit {
			require.Greater(t, fail, 10)
			return
		}
	}
}

func TestTool(t *testing.T) {
	s, ctx := newStore(), t.Context()
	tool, err := Enter(ctx, volume, 9, session{s, 50}, session{s, 51})
	require.NoError(t, err)
	require.Nil(t, tool, "nothing is reserved")
	require.NoError(t, s.node(0).Register(ctx, self(0, 1)))
	require.NoError(t, s.node(1).Register(ctx, self(1, 1)))
	tool, err = Enter(ctx, volume, 9, session{s, 50}, session{s, 51})
	require.NoError(t, err)
	require.Len(t, s.keys, 6)
	keys, err := tool.Clear(ctx)
	require.NoError(t, err)
	assert.Equal(t, []Key{KeyOf(self(0, 1)), KeyOf(self(1, 1))}, slices.Sorted(slices.Values(keys)))
	assert.Len(t, s.keys, 2)
	require.NoError(t, tool.Leave(ctx))
	assert.Zero(t, s.kind)
	s.kind = 1
	_, err = Enter(ctx, volume, 9, session{s, 50})
	require.ErrorIs(t, err, ErrForeign)
}

func TestPresent(t *testing.T) {
	s := newStore()
	p := Present{s.node(0)}
	require.NoError(t, p.Register(t.Context(), self(0, 1)))
	assert.Equal(t, 2, s.has(KeyOf(self(0, 1))))
	_, err := p.Prove(t.Context(), victim(self(1, 1)))
	require.ErrorIs(t, err, fence.ErrNoProof)
	assert.False(t, p.Forces())
	assert.NotEqual(t, Name, p.Name())
}
