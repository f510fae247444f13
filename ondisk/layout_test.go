package ondisk

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/layout"
)

var update = flag.Bool("update", false, "rewrite the tables of FORMAT.md, and layout.lock if Version is new")

func TestLayoutsHaveNoGaps(t *testing.T) {
	require.NoError(t, Layouts.Check())
	for typ := TypeSuper; typ <= TypeJournalCommit; typ++ {
		l, ok := Layouts.Get(typ.String())
		require.True(t, ok, "%v has no layout", typ)
		assert.Equal(t, BlockSize, l.Size)
		assert.Equal(t, "header", l.Fields[0].Name)
		h, _ := layoutHeader.Field("type")
		assert.Contains(t, h.Doc, fmt.Sprintf("%d %s", typ, typ))
	}
}

func TestFormatDocumentHoldsTheTables(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	require.NoError(t, err)
	want, err := Layouts.Replace(string(doc))
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile("FORMAT.md", []byte(want), 0o644))
	} else {
		require.Equal(t, want, string(doc), "run go test ./ondisk -update")
	}
	parsed, err := layout.Parse(want)
	require.NoError(t, err)
	require.Len(t, parsed, len(Layouts))
	for i := range Layouts {
		got, ok := parsed.Get(Layouts[i].Name)
		require.True(t, ok)
		assert.Equal(t, Layouts[i], *got)
	}
}

// The lock file has a line "version N" and one "hash name" for each structure. A structure that changes needs a new
// Version; -update rewrites the file only then. Only what takes zeros into use so that builds that know of it and builds
// that do not live together is changed here by hand.
func TestLayoutLock(t *testing.T) {
	const file = "testdata/layout.lock"
	var b strings.Builder
	fmt.Fprintf(&b, "version %d\n", Version)
	for i := range Layouts {
		fmt.Fprintln(&b, Layouts[i].Hash(), Layouts[i].Name)
	}
	old, err := os.ReadFile(file)
	if os.IsNotExist(err) || *update && !strings.HasPrefix(string(old), fmt.Sprintf("version %d\n", Version)) {
		require.True(t, *update, "%s is missing", file)
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
		return
	}
	require.NoError(t, err)
	assert.Equal(t, string(old), b.String(), "bump ondisk.Version or put it back")
}

func TestFixedPlacesDoNotOverlap(t *testing.T) {
	for _, slots := range []uint32{1, 4, 16, MaxSlots} {
		s := sampleSuper()
		s.Slots = slots
		used := map[uint64]string{}
		take := func(what string, blk uint64) {
			require.Empty(t, used[blk], "%s and %s in block %d", what, used[blk], blk)
			require.Less(t, blk, s.JournalStart(0))
			used[blk] = what
		}
		for what, blk := range map[string]uint64{"super": SuperBlock, "copy": SuperCopyBlock, "grow": GrowBlock, "root": RootBlock, "view": ViewBlock} {
			take(what, blk)
		}
		for i := range uint16(slots) {
			take("ballot", s.BallotBlock(i))
			take("slot", s.SlotBlock(i))
			take("space", s.SpaceBlock(i))
			take("orphans", s.OrphanBlock(i))
			take("free log", s.FreeLogBlock(i))
			require.True(t, s.IsMetaPlace(s.OrphanBlock(i)) && s.IsMetaPlace(s.FreeLogBlock(i)))
			require.False(t, s.IsMetaPlace(s.SlotBlock(i)) || s.IsMetaPlace(s.BallotBlock(i)) || s.IsMetaPlace(s.SpaceBlock(i)))
		}
		require.Zero(t, s.JournalStart(0)%journalAlign)
		require.Equal(t, s.JournalStart(0)+uint64(slots*s.JournalBlocks), s.JournalStart(uint16(slots)))
	}
}
