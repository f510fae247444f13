package handover

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecordRoundTrip(t *testing.T) {
	running := Record{VM: vm, State: Running, Owner: nodeS, Epoch: 7}
	for _, r := range []Record{running, running.migratingTo(nodeT), {VM: vm, State: Stopped, Owner: nodeS, Epoch: 7}} {
		b, err := r.Encode()
		require.NoError(t, err)
		got, err := DecodeRecord(b)
		require.NoError(t, err)
		assert.Equal(t, r, got)
	}
}

func TestDamagedRecord(t *testing.T) {
	for _, s := range []string{
		"", "{}", "null", `{"version":2,"vm":"a","state":"running","owner":"n","epoch":1}`,
		`{"version":1,"vm":"a","state":"running","owner":"n","epoch":0}`,
		`{"version":1,"vm":"a","state":"running","owner":"n","target":"m","epoch":1}`,
		`{"version":1,"vm":"a","state":"migrating","owner":"n","epoch":1}`,
		`{"version":1,"vm":"a","state":"migrating","owner":"n","target":"n","epoch":1}`,
		`{"version":1,"vm":"a","state":"walking","owner":"n","epoch":1}`,
		`{"version":1,"vm":"` + strings.Repeat("a", maxRecord) + `","state":"running","owner":"n","epoch":1}`,
	} {
		_, err := DecodeRecord([]byte(s))
		assert.ErrorIs(t, err, ErrRecord, "%.80s", s)
	}
	_, err := Record{VM: strings.Repeat("a", maxRecord), State: Running, Owner: nodeS, Epoch: 1}.Encode()
	assert.Error(t, err)
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"vm":"a","state":"migrating","owner":"n","target":"m","epoch":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecord(b)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			return // longer than it was: escapes
		}
		got, err := DecodeRecord(again)
		require.NoError(t, err, "%s", bytes.TrimSpace(again))
		assert.Equal(t, r, got)
	})
}

func TestTakeover(t *testing.T) {
	running := Record{VM: vm, State: Running, Owner: nodeS, Epoch: 3}
	moving := running.migratingTo(nodeT)
	dead := func(names ...Node) func(Node) bool {
		return func(n Node) bool {
			for _, d := range names {
				if d == n {
					return true
				}
			}
			return false
		}
	}
	for _, c := range []struct {
		r       Record
		dead    func(Node) bool
		patient bool
		ok      bool
	}{
		{running, dead(), true, false},
		{running, dead(nodeT), true, false},
		{running, dead(nodeS), false, true},
		{moving, dead(nodeS), false, false}, // the target may have GO
		{moving, dead(nodeS), true, true},
		{moving, dead(nodeS, nodeT), false, true},
		{moving, dead(nodeT), true, false}, // the source swaps back
		{Record{VM: vm, State: Stopped, Owner: nodeS, Epoch: 3}, dead(nodeS), true, false},
	} {
		next, err := Takeover(c.r, nodeX, c.dead, c.patient)
		if c.ok {
			require.NoError(t, err)
			assert.Equal(t, Record{VM: vm, State: Running, Owner: nodeX, Epoch: 4}, next)
		} else {
			assert.ErrorIs(t, err, ErrNotDead)
		}
	}
}
