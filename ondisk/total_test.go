package ondisk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// judge decodes a block and holds the outcome to the rule: a value that survives a round trip, or one class of error.
func judge(t testing.TB, d decoder, b []byte) {
	v, again, err := d.decode(b)
	if err != nil {
		var c *Corrupt
		if !errors.As(err, &c) && !errors.Is(err, ErrVersion) {
			t.Fatalf("%s: unexpected class of error: %v", d.name, err)
		}
		if c != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			require.NotEmpty(t, c.Error())
		}
		return
	}
	w, _, err := d.decode(again)
	require.NoError(t, err, "%s: what was decoded does not decode after encoding", d.name)
	require.Equal(t, v, w, d.name)
}

// mutate changes up to 8 numbers in the body; small and extreme values find more than uniform ones.
func mutate(r *rand.Rand, b []byte, from, to int) {
	for range 1 + r.IntN(8) {
		at := from + r.IntN(to-from)
		switch n := min(1<<r.IntN(4), to-at); r.IntN(4) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			for i := range n {
				b[at+i] = 0xff
			}
		case 2:
			clear(b[at : at+n])
		case 3:
			b[at] = byte(r.IntN(256))
		}
	}
}

// mutated runs judge over n mutations with the header kept valid, half of them near the start of the body.
func mutated(t testing.TB, d decoder, seed uint64, n int) {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		b := d.sample()
		to := BlockSize
		if i%2 == 0 {
			to = HeaderSize + 240
		}
		mutate(r, b, HeaderSize, to)
		Seal(b)
		judge(t, d, b)
	}
}

func TestDecodersSurviveMutations(t *testing.T) {
	for i, d := range blockDecoders() {
		t.Run(fmt.Sprintf("%d %s", i, d.name), func(t *testing.T) {
			judge(t, d, d.sample())
			_, again, err := d.decode(d.sample())
			require.NoError(t, err)
			require.Equal(t, headless(d.sample()), headless(again))
			mutated(t, d, uint64(i), 1500)
		})
	}
}

// headless is the block without the fields of the header that are stamped by others than the codec.
func headless(b []byte) []byte {
	c := bytes.Clone(b)
	clear(c[32:HeaderSize])
	return c
}

func TestEveryBitFlipOfASealedBlockIsRefused(t *testing.T) {
	for _, d := range blockDecoders() {
		b := d.sample()
		for bit := range 8 * BlockSize {
			b[bit/8] ^= 1 << (bit % 8)
			if _, _, err := d.decode(b); err == nil {
				t.Fatalf("%s: flip of bit %d is not seen", d.name, bit)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
		_, _, err := d.decode(b)
		require.NoError(t, err)
	}
}

func TestEveryShortBlockIsRefused(t *testing.T) {
	for _, d := range blockDecoders() {
		for _, n := range []int{0, 3, 4, 79, 80, 200, BlockSize - 1, BlockSize + 1} {
			b := append(d.sample(), 0)[:n]
			_, _, err := d.decode(b)
			require.ErrorIs(t, err, ErrCorrupt, "%s of %d bytes", d.name, n)
		}
	}
}

func TestSuperOfAnotherVersionOrFeatureIsRefusedAsSuch(t *testing.T) {
	b := EncodeSuper(sampleSuper(), 0)
	b[6]++
	Seal(b)
	_, err := DecodeSuper(b, 0)
	require.ErrorIs(t, err, ErrVersion)
	require.NotErrorIs(t, err, ErrCorrupt)
	b[7] ^= 1 // version again, but torn
	_, err = DecodeSuper(b, 0)
	require.ErrorIs(t, err, ErrCorrupt)
	for bit := range 64 {
		s := sampleSuper()
		s.Incompat = 1 << bit
		_, err = DecodeSuper(EncodeSuper(s, 0), 0)
		require.ErrorIs(t, err, ErrVersion)
		require.NotErrorIs(t, err, ErrCorrupt)
	}
	s := sampleSuper()
	s.Compat, s.ROCompat = 1<<40, 1<<41
	got, err := DecodeSuper(EncodeSuper(s, 0), 0)
	require.NoError(t, err)
	require.Equal(t, s, got)
}

// Whatever geometry a superblock claims and passes, no computed place may lie outside the volume.
func TestGeometryOfAnyValidSuperStaysInside(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	valid := 0
	for range 3_000 {
		s := sampleSuper()
		s.Blocks = MinVolume/BlockSize + r.Uint64N(1<<r.IntN(35))
		s.ClusterSize = 4096 << r.IntN(9)
		s.Slots = 1 + uint32(r.IntN(MaxSlots))
		s.JournalBlocks = MinJournal + uint32(r.IntN(1000))
		k := uint64(s.ClusterBlocks())
		s.GroupBlocks = uint32(min(MinGroupBlocks+r.IntN(MaxGroupBlocks), MaxGroupBlocks)) / uint32(k) * uint32(k)
		s.GroupStart = (s.JournalStart(uint16(s.Slots)) + k - 1) / k * k
		s.Groups = uint32((s.Blocks-s.GroupStart)/uint64(s.GroupBlocks)) + uint32(r.IntN(2))
		if s.GroupStart >= s.Blocks || s.check(0) != nil {
			continue
		}
		valid++
		last := s.Groups - 1
		require.Less(t, s.GroupFirst(last)+uint64(s.GroupBlocksOf(last)), s.Blocks, "%+v", s)
		require.LessOrEqual(t, s.GroupMetaClusters(), s.GroupClusters(last), "%+v", s)
		for _, blk := range []uint64{s.Blocks - 1, s.Blocks, s.GroupStart - 1, 1 << 63, ^uint64(0)} {
			_, ok := s.GroupOf(blk)
			require.False(t, ok, "block %d of %+v", blk, s)
		}
		end := (s.GroupFirst(last) + uint64(s.GroupBlocksOf(last))) / k
		free := s.GroupFirst(last)/k + uint64(s.GroupMetaClusters())
		require.True(t, free == end || s.IsDataPlace(end-1, 1))
		require.False(t, s.IsDataPlace(end-1, 2) || s.IsDataPlace(end, 1) || s.IsDataPlace(free-1, 1) || s.IsDataPlace(free-1, 5))
		require.False(t, s.IsDataPlace(^uint64(0)/k+1, 1) || s.IsDataPlace(free, ^uint32(0)))
		for _, b := range FormatGroup(s, last) {
			require.Less(t, GetHeader(b).Block, s.GroupFirst(last)+uint64(s.GroupMetaClusters())*k)
		}
	}
	require.Greater(t, valid, 200)
}
