package ondisk

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// valueDecoders reads values of trees; the key is part of the input.
func valueDecoders() map[string]func(key uint64, v []byte) (any, []byte, error) {
	sb := sampleSuper()
	return map[string]func(uint64, []byte) (any, []byte, error){
		"extent": func(key uint64, v []byte) (any, []byte, error) {
			e, err := DecodeExtent(sb, 77, key, v)
			return e, EncodeExtent(e), err
		},
		"deferred free": func(key uint64, v []byte) (any, []byte, error) {
			f, err := DecodeFree(sb, 77, key, v)
			return f, EncodeFree(f), err
		},
		"orphan": func(key uint64, v []byte) (any, []byte, error) {
			o, err := DecodeOrphan(sb, 77, key, v)
			return o, EncodeOrphan(o), err
		},
		"dirent": func(_ uint64, v []byte) (any, []byte, error) {
			d, err := DecodeDirents(77, v)
			return d, EncodeDirents(d), err
		},
	}
}

type valueSample struct {
	name  string
	key   uint64
	value []byte
}

func valueSamples() []valueSample {
	return []valueSample{
		{"extent", 0, EncodeExtent(Extent{Physical: 5000, Length: 3})},
		{"extent", 1 << 20, EncodeExtent(Extent{Physical: 6000, Length: 2, Flags: ExtentUnwritten})},
		{"deferred free", 20000, EncodeFree(Free{Blocks: 8, Kind: FreeClusters})},
		{"deferred free", 20001, EncodeFree(Free{Blocks: 1, Kind: FreeMeta})},
		{"orphan", 20001, EncodeOrphan(Orphan{Generation: 5})},
		{"dirent", 0, EncodeDirents([]Dirent{{20001, 8, "a"}})},
		{"dirent", 0, EncodeDirents([]Dirent{{20001, 8, "a"}, {20002, 4, strings.Repeat("b", MaxName)}})},
	}
}

func judgeValue(t testing.TB, name string, key uint64, v []byte) {
	v1, again, err := valueDecoders()[name](key, v)
	if err != nil {
		require.ErrorIs(t, err, ErrCorrupt)
		return
	}
	require.Equal(t, v, again, "%s: bytes differ after a round trip", name)
	v2, _, err := valueDecoders()[name](key, again)
	require.NoError(t, err)
	require.Equal(t, v1, v2)
}

func TestValuesSurviveMutations(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, s := range valueSamples() {
		_, _, err := valueDecoders()[s.name](s.key, s.value)
		require.NoError(t, err, "%+v", s)
		for range 4000 {
			v := bytes.Clone(s.value)
			mutate(r, v, 0, len(v))
			judgeValue(t, s.name, s.key+r.Uint64N(2)*r.Uint64(), v[:len(v)-r.IntN(2)*r.IntN(len(v))])
		}
	}
}

func TestExtentLimits(t *testing.T) {
	s := sampleSuper()
	k := uint64(s.ClusterBlocks())
	own := uint64(s.GroupMetaClusters())
	first := s.GroupFirst(1) / k
	last := (s.GroupFirst(s.Groups-1) + uint64(s.GroupBlocksOf(s.Groups-1))) / k
	for _, c := range []struct {
		why string
		e   Extent
		ok  bool
	}{
		{"first space of a group", Extent{0, first + own, 1, 0}, true},
		{"header of a group", Extent{0, first + own - 1, 2, 0}, false},
		{"to the end of a group", Extent{0, first - 1, 1, 0}, true},
		{"across groups", Extent{0, first - 1, 2, 0}, false},
		{"before groups", Extent{0, s.GroupStart/k - 1, 1, 0}, false},
		{"to the end of the volume", Extent{0, last - 1, 1, 0}, true},
		{"over the last superblock", Extent{0, last - 1, 2, 0}, false},
		{"far outside", Extent{0, 1 << 62, 1, 0}, false},
		{"block number overflows", Extent{0, ^uint64(0)/k + 1 + first + own, 1, 0}, false},
		{"empty", Extent{0, first + own, 0, 0}, false},
		{"end of file", Extent{MaxFileSize/uint64(s.ClusterSize) - 1, first + own, 1, 0}, true},
		{"beyond end of file", Extent{MaxFileSize/uint64(s.ClusterSize) - 1, first + own, 2, 0}, false},
		{"logical overflows", Extent{^uint64(0), first + own, 2, 0}, false},
		{"unwritten", Extent{0, first + own, 1, ExtentUnwritten}, true},
		{"shared without the feature", Extent{0, first + own, 1, ExtentShared}, false},
		{"unknown flag", Extent{0, first + own, 1, 4}, false},
	} {
		got, err := DecodeExtent(s, 1, c.e.Logical, EncodeExtent(c.e))
		assert.Equal(t, c.ok, err == nil, c.why)
		if c.ok {
			assert.Equal(t, c.e, got)
			assert.Equal(t, c.e.Logical+uint64(c.e.Length), got.End())
		}
	}
}

func TestDeferredFreeLimits(t *testing.T) {
	s := sampleSuper()
	k := s.ClusterBlocks()
	space := s.GroupFirst(1) + uint64(s.GroupMetaClusters()*k)
	for _, c := range []struct {
		f  Free
		ok bool
	}{
		{Free{space, k, FreeClusters}, true},
		{Free{space + 1, k, FreeClusters}, false},
		{Free{space, k - 1, FreeClusters}, false},
		{Free{space, 0, FreeClusters}, false},
		{Free{space - uint64(k), k, FreeClusters}, false},
		{Free{s.GroupFirst(1) - uint64(k), 2 * k, FreeClusters}, false},
		{Free{space + 1, 1, FreeMeta}, true},
		{Free{space + 1, 2, FreeMeta}, false},
		{Free{space - 1, 1, FreeMeta}, false},
		{Free{RootBlock, 1, FreeMeta}, false},
		{Free{s.OrphanBlock(0), 1, FreeMeta}, false},
		{Free{space, k, 0}, false},
		{Free{space, k, 3}, false},
	} {
		got, err := DecodeFree(s, 1, c.f.Block, EncodeFree(c.f))
		assert.Equal(t, c.ok, err == nil, "%+v", c.f)
		if c.ok {
			assert.Equal(t, c.f, got)
		}
	}
	for _, ino := range []uint64{RootBlock, s.OrphanBlock(0), 0, ^uint64(0)} {
		_, err := DecodeOrphan(s, 1, ino, EncodeOrphan(Orphan{}))
		assert.ErrorIs(t, err, ErrCorrupt)
	}
}

func TestDirentsRefuseWhatADirectoryCannotHold(t *testing.T) {
	for why, ds := range map[string][]Dirent{
		"dot": {{1, 4, "."}}, "dot dot": {{1, 4, ".."}}, "slash": {{1, 8, "a/b"}}, "nul": {{1, 8, "a\x00"}}, "empty": {{1, 8, ""}},
		"order": {{1, 8, "b"}, {2, 8, "a"}}, "twice": {{1, 8, "a"}, {2, 8, "a"}}, "none": {},
	} {
		_, err := DecodeDirents(9, EncodeDirents(ds))
		assert.ErrorIs(t, err, ErrCorrupt, why)
	}
	assert.False(t, ValidName(strings.Repeat("x", MaxName+1)))
	assert.True(t, ValidName("..."))
}

func TestHashNameLeavesRoomForDots(t *testing.T) {
	s := sampleSuper()
	seen := map[uint64]bool{}
	for i := range 10_000 {
		h := s.HashName(strings.Repeat("n", i%200+1) + string(rune('a'+i%26)) + string(rune(i)))
		if h < 16 || h >= 1<<63 {
			t.Fatalf("hash %#x", h)
		}
		seen[h] = true
	}
	other := sampleSuper()
	other.HashSeed[15] ^= 1
	assert.NotEqual(t, s.HashName("a"), other.HashName("a"))
	assert.Greater(t, len(seen), 9_900)
}
