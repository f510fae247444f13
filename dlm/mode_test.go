package dlm_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/dlm"
)

var allModes = []dlm.Mode{dlm.NL, dlm.CR, dlm.CW, dlm.PR, dlm.PW, dlm.EX}

// rights is the slow definition of a mode: what its holder does, and what it lets others do.
type rights struct{ reads, writes, letsRead, letsWrite bool }

var slow = map[dlm.Mode]rights{
	dlm.NL: {false, false, true, true},
	dlm.CR: {true, false, true, true},
	dlm.CW: {true, true, true, true},
	dlm.PR: {true, false, true, false},
	dlm.PW: {true, true, true, false},
	dlm.EX: {true, true, false, false},
}

// slowCompatible: each lets the other do what it does. Reading without protection (CR) is let by all but EX.
func slowCompatible(a, b dlm.Mode) bool {
	lets := func(x, y rights) bool { return (x.letsRead || !y.reads) && (x.letsWrite || !y.writes) }
	return lets(slow[a], slow[b]) && lets(slow[b], slow[a])
}

func TestMode_MatrixIsTheSlowDefinition(t *testing.T) {
	for _, a := range allModes {
		for _, b := range allModes {
			assert.Equal(t, slowCompatible(a, b), dlm.Compatible(a, b), "%v %v", a, b)
			assert.Equal(t, dlm.Compatible(b, a), dlm.Compatible(a, b), "%v %v", a, b)
			covers := true
			for _, o := range allModes {
				covers = covers && (slowCompatible(b, o) || !slowCompatible(a, o))
			}
			assert.Equal(t, covers, a.Covers(b), "%v covers %v", a, b)
		}
	}
}

// TestMode_Union: covers both, and nothing weaker does.
func TestMode_Union(t *testing.T) {
	for _, a := range allModes {
		for _, b := range allModes {
			u := a.Union(b)
			require.True(t, u.Covers(a) && u.Covers(b))
			for _, o := range allModes {
				if o.Covers(a) && o.Covers(b) {
					assert.True(t, o.Covers(u), "%v ∪ %v = %v, but %v is weaker", a, b, u, o)
				}
			}
		}
	}
}

func TestMode_String(t *testing.T) {
	for _, m := range allModes {
		p, err := dlm.ParseMode(m.String())
		require.NoError(t, err)
		assert.Equal(t, m, p)
	}
	_, err := dlm.ParseMode("XX")
	require.Error(t, err)
	assert.Equal(t, "Mode(9)", dlm.Mode(9).String())
	assert.False(t, dlm.Compatible(9, dlm.NL))
	assert.False(t, dlm.Mode(9).Covers(dlm.NL))
	assert.False(t, dlm.EX.Covers(9))
}

func TestResource_String(t *testing.T) {
	assert.Equal(t, "inode/4711", dlm.Resource{Kind: dlm.Inode, ID: 4711}.String())
	assert.Equal(t, "vm/1", dlm.Resource{Kind: dlm.VM, ID: 1}.String())
	assert.Equal(t, "kind99/1", dlm.Resource{Kind: 99, ID: 1}.String())
}
