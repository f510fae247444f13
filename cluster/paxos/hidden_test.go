package paxos

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
)

// scripted is a world without voters: the test writes the blocks.
func scripted(t *testing.T, block uint64, ballots ...*ondisk.Ballot) (w *world, reg func(slot uint16, leased func() bool) *Register) {
	w = newWorld(t, 2, 3)
	w.decided[block], w.newest = 10*block, block
	dev := w.disk.Path(0)
	in(t, w, func(ctx context.Context) error {
		return dev.WriteAt(ctx, ondisk.EncodeView(w.sb, &ondisk.View{Epoch: block, Writer: 10 * block}), ondisk.ViewBlock*ondisk.BlockSize, true)
	})
	for _, b := range ballots {
		in(t, w, func(ctx context.Context) error {
			return dev.WriteAt(ctx, ondisk.EncodeBallot(w.sb, b), int64(w.sb.BallotBlock(b.Slot))*ondisk.BlockSize, true)
		})
	}
	w.faults = nil // what the test wrote is not judged
	return w, func(slot uint16, leased func() bool) *Register {
		return NewRegister(NewReader(dev, w.sb, w.s), slot, 1, rand.NewChaCha8([32]byte{}), leased)
	}
}

// in runs fn as a procedure of w to its end.
func in(t *testing.T, w *world, fn func(context.Context) error) {
	t.Helper()
	var err error
	done := false
	w.s.Go("test", func() { err, done = fn(context.Background()), true })
	for !done {
		require.NoError(t, w.s.Run(w.s.Now()+50*time.Millisecond))
	}
	require.NoError(t, err)
}

// A late copy has set the view block back while a vote two epochs ahead is in phase 2: what is decided is not known, so
// nothing counts until that vote is over.
func TestHiddenViewIsNotMissed(t *testing.T) {
	w, reg := scripted(t, 2, &ondisk.Ballot{Slot: 0, Incarnation: 1, Epoch: 4, MBal: 3, Bal: 3, Value: ondisk.ValueProposed, Writer: 77})
	r := reg(1, func() bool { return true })
	in(t, w, func(ctx context.Context) error {
		s, err := r.Read(ctx)
		require.NoError(t, err)
		assert.False(t, s.Clear())
		assert.True(t, s.Hidden())
		won, err := r.Propose(ctx, s.View, &ondisk.View{Epoch: 3, Writer: 5})
		assert.False(t, won)
		return err
	})
	in(t, w, func(ctx context.Context) error {
		s, err := r.Read(ctx)
		assert.True(t, s.Clear())
		assert.Equal(t, uint64(4), s.View.Epoch)
		assert.Equal(t, uint64(77), s.View.Writer, "what was proposed is decided")
		assert.Equal(t, uint64(4), s.Block.Epoch)
		return err
	})
}

// The view block is brought up to the base of a vote before a ballot goes on, so that no vote hides what is decided.
func TestBaseIsCopiedFirst(t *testing.T) {
	w, reg := scripted(t, 1, &ondisk.Ballot{Slot: 0, Incarnation: 1, Epoch: 2, MBal: 3, Bal: 3, Value: ondisk.ValueDecided, Writer: 77})
	writes := 0
	r := reg(1, func() bool { writes++; return writes == 1 })
	in(t, w, func(ctx context.Context) error {
		s, err := r.Read(ctx)
		require.NoError(t, err)
		assert.Equal(t, uint64(2), s.View.Epoch)
		_, err = r.Propose(ctx, s.View, &ondisk.View{Epoch: 3, Writer: 5})
		require.ErrorIs(t, err, ErrLease)
		s, err = r.Read(ctx)
		assert.Equal(t, uint64(2), s.Block.Epoch)
		assert.Equal(t, uint64(2), s.Pending, "no ballot of the next epoch yet")
		return err
	})
}

// A torn ballot is waited for, and ignored once it has been the same for W.
func TestTornBallotIsWaitedFor(t *testing.T) {
	w, reg := scripted(t, 1)
	w.disk.Corrupt(int64(w.sb.BallotBlock(2))*ondisk.BlockSize+600, 16)
	r := reg(1, func() bool { return true })
	p := w.sb.Profile
	in(t, w, func(ctx context.Context) error {
		base := &ondisk.View{Epoch: 1, Writer: 10}
		_, err := r.Propose(ctx, base, &ondisk.View{Epoch: 2, Writer: 5})
		require.ErrorIs(t, err, ErrUnclear)
		for began := w.s.Now(); ; {
			s, err := r.Read(ctx)
			require.NoError(t, err)
			if s.Clear() {
				assert.GreaterOrEqual(t, w.s.Now()-began, p.Wait()-p.Heartbeat)
				break
			}
			require.Less(t, w.s.Now()-began, 2*p.Wait())
			_ = w.s.Sleep(ctx, p.Heartbeat)
		}
		won, err := r.Propose(ctx, base, &ondisk.View{Epoch: 2, Writer: 5})
		assert.True(t, won)
		return err
	})
}
