package scsi_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// out is a PERSISTENT RESERVE OUT.
func out(u *scsi.Unit, n scsi.Nexus, action byte, kind scsi.Type, key, serviceKey uint64, flags byte) scsi.Result {
	p := make([]byte, 24)
	binary.BigEndian.PutUint64(p, key)
	binary.BigEndian.PutUint64(p[8:], serviceKey)
	p[20] = flags
	return u.Execute(ctx, &scsi.Command{Nexus: n, CDB: []byte{0x5f, action, byte(kind), 0, 0, 0, 0, 0, 24, 0}, Out: p, Expected: scsi.Unknown})
}

const (
	register, reserve, release, clearAll, preempt, preemptAbort, registerIgnore = 0, 1, 2, 3, 4, 5, 6
)

// watcher only looks; unit attentions do not reach it.
var watcher = scsi.Nexus{Initiator: "iqn.watcher,i,0x000000000009", Port: 1}

func keys(t *testing.T, u *scsi.Unit) []uint64 {
	p := good(t, do(t, u, watcher, "5e 00 0000000000 1000 00", nil))
	require.Equal(t, len(p)-8, int(binary.BigEndian.Uint32(p[4:])))
	all := []uint64{}
	for p = p[8:]; len(p) > 0; p = p[8:] {
		all = append(all, binary.BigEndian.Uint64(p))
	}
	return all
}

// held returns type and key of the reservation.
func held(t *testing.T, u *scsi.Unit) (scsi.Type, uint64) {
	p := good(t, do(t, u, watcher, "5e 01 0000000000 1000 00", nil))
	if len(p) == 8 {
		return 0, 0
	}
	return scsi.Type(p[21] & 0xf), binary.BigEndian.Uint64(p[8:])
}

// TestConflicts is SPC-4 table 66 and SBC-3 table 13: what conflicts with a reservation of each type, for a holder, a
// nexus that is registered and one that is not.
func TestConflicts(t *testing.T) {
	classes := map[string][]string{
		"any": {"00 00 00 00 00 00", "03 00 00 00 ff 00", "12 00 00 0024 00", "25 00 00000000 00 0000 00", "9e 10 0000000000000000 00000020 00 00",
			"a0 00 00 000000 00000100 00 00", "5e 00 0000000000 00ff 00", "5e 03 0000000000 00ff 00", "1b 00 00 00 01 00", "1e 00 00 00 00 00"},
		"read": {"28 00 00000000 00 0001 00", "08 000000 01 00", "88 00 0000000000000000 00000001 00 00", "2f 00 00000000 00 0001 00", "34 00 00000000 00 0001 00",
			"1a 00 3f 00 ff 00", "9e 12 0000000000000000 00000100 00 00", "a3 0c 00 00 0000 00001000 00 00"},
		"write": {"2a 00 00000000 00 0001 00", "0a 000000 01 00", "8a 00 0000000000000000 00000001 00 00", "2e 00 00000000 00 0001 00", "35 00 00000000 00 0000 00",
			"42 00 00000000 00 0000 00", "41 00 00000000 00 0001 00", "93 00 0000000000000000 00000001 00 00", "8b 00 0000000000000000 00000001 00 00",
			"89 00 0000000000000000 000000 01 00 00", "1b 00 00 00 00 00", "1e 00 00 00 01 00"},
	}
	for kind, row := range map[scsi.Type]struct{ registeredRead, registeredWrite, otherRead, otherWrite bool }{
		scsi.WriteExclusive:               {true, false, true, false},
		scsi.ExclusiveAccess:              {false, false, false, false},
		scsi.WriteExclusiveRegistrants:    {true, true, true, false},
		scsi.ExclusiveAccessRegistrants:   {true, true, false, false},
		scsi.WriteExclusiveAllRegistrants: {true, true, true, false},
		scsi.ExclusiveAccessAll:           {true, true, false, false},
	} {
		u := newUnit(t, nil)
		good(t, out(u, alice, register, 0, 0, 1, 0))
		good(t, out(u, bob, register, 0, 0, 2, 0))
		good(t, out(u, alice, reserve, kind, 1, 0, 0))
		for class, cdbs := range classes {
			for _, c := range cdbs {
				for n, allowed := range map[scsi.Nexus]map[string]bool{
					alice: {"any": true, "read": true, "write": true},
					bob:   {"any": true, "read": row.registeredRead, "write": row.registeredWrite},
					carol: {"any": true, "read": row.otherRead, "write": row.otherWrite},
				} {
					t.Run(fmt.Sprintf("type %d %s %s", kind, n.Initiator, c), func(t *testing.T) {
						r := do(t, u, n, c, fill(0, 2)[:u.DataOut(cdb(t, c))])
						assert.Equal(t, !allowed[class], r.Status == scsi.ReservationConflict)
					})
				}
			}
		}
	}
}

// TestRegister is SPC-4 table 50.
func TestRegister(t *testing.T) {
	u := newUnit(t, nil)
	conflict := func(r scsi.Result) { t.Helper(); assert.Equal(t, scsi.ReservationConflict, r.Status) }
	conflict(out(u, alice, register, 0, 9, 1, 0))
	good(t, out(u, alice, register, 0, 0, 0, 0))
	assert.Empty(t, keys(t, u))
	good(t, out(u, alice, register, 0, 0, 1, 0))
	conflict(out(u, alice, register, 0, 2, 3, 0))
	good(t, out(u, alice, register, 0, 1, 3, 0))
	good(t, out(u, alice, registerIgnore, 0, 77, 4, 0))
	good(t, out(u, bob, registerIgnore, 0, 0, 5, 0))
	assert.Equal(t, []uint64{4, 5}, keys(t, u))
	conflict(out(u, carol, reserve, scsi.WriteExclusive, 0, 0, 0))
	conflict(out(u, alice, reserve, scsi.WriteExclusive, 5, 0, 0))
	good(t, out(u, alice, reserve, scsi.WriteExclusive, 4, 0, 0))
	good(t, out(u, alice, reserve, scsi.WriteExclusive, 4, 0, 0))
	conflict(out(u, alice, reserve, scsi.ExclusiveAccess, 4, 0, 0))
	conflict(out(u, bob, reserve, scsi.WriteExclusive, 5, 0, 0))
	sense(t, out(u, alice, release, scsi.ExclusiveAccess, 4, 0, 0), scsi.IllegalRequest, scsi.InvalidRelease)
	good(t, out(u, bob, release, scsi.WriteExclusive, 5, 0, 0))
	kind, key := held(t, u)
	assert.Equal(t, [2]any{scsi.WriteExclusive, uint64(4)}, [2]any{kind, key})
	good(t, out(u, alice, register, 0, 4, 0, 0))
	kind, _ = held(t, u)
	assert.Zero(t, kind, "unregistering gives up the reservation")
	sense(t, out(u, bob, register, 0, 5, 6, 0x08), scsi.IllegalRequest, scsi.InvalidFieldInParam)
	sense(t, out(u, bob, register, 0, 5, 6, 0x01), scsi.IllegalRequest, scsi.InvalidFieldInParam)
	sense(t, out(u, bob, reserve, 2, 5, 0, 0), scsi.IllegalRequest, scsi.InvalidFieldInCDB)
	conflict(do(t, u, bob, "16 00 00 00 00 00", nil))
	p := make([]byte, 23)
	sense(t, do(t, u, bob, "5f 00 00 0000 00000017 00", p), scsi.IllegalRequest, scsi.ParamListLength)
}

// TestPreempt is SPC-4 5.12.11.4 for each type.
func TestPreempt(t *testing.T) {
	for _, action := range []byte{preempt, preemptAbort} {
		for _, kind := range []scsi.Type{1, 3, 5, 6, 7, 8} {
			all := kind >= 7
			u := newUnit(t, nil)
			for i, n := range []scsi.Nexus{alice, bob, carol} {
				u.Attach(n, false)
				do(t, u, n, "00 00 00 00 00 00", nil)
				good(t, out(u, n, register, 0, 0, uint64(i+1), 0))
			}
			good(t, out(u, bob, reserve, kind, 2, 0, 0))
			assert.Equal(t, scsi.ReservationConflict, out(u, alice, action, kind, 1, 99, 0).Status)
			good(t, out(u, alice, action, kind, 1, 2, 0))
			assert.Equal(t, []uint64{1, 3}, keys(t, u))
			now, key := held(t, u)
			assert.Equal(t, kind, now)
			if all {
				assert.Zero(t, key)
			} else {
				assert.Equal(t, uint64(1), key)
			}
			sense(t, do(t, u, bob, "00 00 00 00 00 00", nil), scsi.UnitAttention, scsi.RegistrationsPreempted)
			assert.Equal(t, scsi.ReservationConflict, do(t, u, bob, "2a 00 00000000 00 0001 00", fill(1, 1)).Status)
			if all {
				good(t, out(u, alice, action, kind, 1, 0, 0))
				assert.Equal(t, []uint64{1}, keys(t, u))
			} else {
				sense(t, out(u, alice, action, kind, 1, 0, 0), scsi.IllegalRequest, scsi.InvalidFieldInParam)
			}
		}
	}
}

func TestReleaseAndClearTellOthers(t *testing.T) {
	u := newUnit(t, nil)
	for i, n := range []scsi.Nexus{alice, bob} {
		u.Attach(n, false)
		do(t, u, n, "00 00 00 00 00 00", nil)
		good(t, out(u, n, register, 0, 0, uint64(i+1), 0))
	}
	good(t, out(u, alice, reserve, scsi.WriteExclusiveRegistrants, 1, 0, 0))
	good(t, out(u, alice, release, scsi.WriteExclusiveRegistrants, 1, 0, 0))
	sense(t, do(t, u, bob, "00 00 00 00 00 00", nil), scsi.UnitAttention, scsi.ReservationsReleased)
	good(t, out(u, bob, clearAll, 0, 2, 0, 0))
	sense(t, do(t, u, alice, "00 00 00 00 00 00", nil), scsi.UnitAttention, scsi.ReservationsPreempted)
	assert.Empty(t, keys(t, u))
}

func TestMoveAndFullStatus(t *testing.T) {
	u := newUnit(t, &memKeeper{})
	good(t, out(u, alice, register, 0, 0, 1, 0))
	good(t, out(u, alice, reserve, scsi.WriteExclusive, 1, 0, 0))
	id := make([]byte, 28)
	id[0], id[3] = 0x45, 24
	copy(id[4:], bob.Initiator)
	p := make([]byte, 24)
	binary.BigEndian.PutUint64(p, 1)
	binary.BigEndian.PutUint64(p[8:], 2)
	p[17], p[19], p[23] = 0x02, 1, byte(len(id))
	p = append(p, id...)
	good(t, do(t, u, alice, "5f 07 00 0000 00000034 00", p))
	assert.Equal(t, []uint64{2}, keys(t, u))
	status := good(t, do(t, u, carol, "5e 03 0000000000 1000 00", nil))
	assert.Equal(t, id, status[32:])
	assert.Equal(t, []byte{1, 1}, status[20:22])
	good(t, do(t, u, bob, "2a 00 00000000 00 0001 00", fill(1, 1)))
	assert.Equal(t, scsi.ReservationConflict, do(t, u, alice, "2a 00 00000000 00 0001 00", fill(1, 1)).Status)
	caps := good(t, do(t, u, carol, "5e 02 0000000000 1000 00", nil))
	assert.Equal(t, cdb(t, "0008 01 80 ea 01 0000"), caps)
}

// TestPersist: with APTPL a restart changes nothing, without it forgets all, and a state that cannot be kept is not taken.
func TestPersist(t *testing.T) {
	k := &memKeeper{}
	u := newUnit(t, k)
	good(t, out(u, alice, register, 0, 0, 1, 1))
	good(t, out(u, bob, register, 0, 0, 2, 1))
	good(t, out(u, alice, reserve, scsi.WriteExclusiveAllRegistrants, 1, 0, 0))
	k.err = errors.New("disk is full")
	sense(t, out(u, alice, preemptAbort, scsi.WriteExclusiveAllRegistrants, 1, 2, 0), scsi.HardwareError, scsi.InternalFailure)
	assert.Equal(t, []uint64{1, 2}, keys(t, u))
	k.err = nil
	good(t, out(u, alice, preemptAbort, scsi.WriteExclusiveAllRegistrants, 1, 2, 0))

	u = newUnit(t, k)
	assert.Equal(t, []uint64{1}, keys(t, u))
	assert.Equal(t, scsi.ReservationConflict, do(t, u, bob, "2a 00 00000000 00 0001 00", fill(1, 1)).Status)
	good(t, out(u, alice, register, 0, 1, 3, 0))
	u = newUnit(t, k)
	assert.Empty(t, keys(t, u))
	for _, bad := range []string{"{", `{"Version":9}`, `{"Version":1,"Type":2}`} {
		_, err := scsi.NewUnit(memdev.New(blockdev.Geometry{SectorSize: sector, Size: 1 << 20}, nil), scsi.Options{Keeper: &memKeeper{data: []byte(bad)}})
		assert.Error(t, err, bad)
	}
}

// TestPreemptIsExact: once PREEMPT AND ABORT is done, no write of the victim lands, however many are on their way.
func TestPreemptIsExact(t *testing.T) {
	for range 20 {
		u := newUnit(t, nil)
		good(t, out(u, alice, register, 0, 0, 1, 0))
		good(t, out(u, bob, register, 0, 0, 2, 0))
		good(t, out(u, alice, reserve, scsi.WriteExclusiveAllRegistrants, 1, 0, 0))
		var wg sync.WaitGroup
		start := make(chan struct{})
		for w := range 4 {
			wg.Go(func() {
				<-start
				for do(t, u, bob, "2a 00 00000000 00 0001 00", fill(byte(w+1), 1)).Status == scsi.Good {
				}
			})
		}
		close(start)
		good(t, out(u, alice, preemptAbort, scsi.WriteExclusiveAllRegistrants, 1, 2, 0))
		good(t, do(t, u, alice, "2a 00 00000000 00 0001 00", fill(0xee, 1)))
		wg.Wait()
		assert.Equal(t, fill(0xee, 1), good(t, do(t, u, alice, "28 00 00000000 00 0001 00", nil)))
	}
}
