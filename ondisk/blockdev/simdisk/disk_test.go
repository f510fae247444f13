package simdisk_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/devtest"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
)

var ctx = context.Background()

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  simdisk.Config
	}{
		{"kind", simdisk.Config{}},
		{"harsh", simdisk.Config{Traits: simdisk.Harsh}},
		{"4k, ordered, compare", simdisk.Config{SectorSize: 4096, CompareAndWrite: true,
			Traits: simdisk.Traits{LoseUnflushed: true, Ordered: true}}},
		{"harsh, everything on, time passes", simdisk.Config{CompareAndWrite: true, Reserve: true, Traits: simdisk.Harsh,
			Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Size = devtest.Size
			devtest.Run(t, func(*testing.T) blockdev.Device { return simdisk.New(c.cfg).Path(0) })
		})
	}
}

// sectors returns one sector of each letter.
func sectors(letters string) []byte {
	var p []byte
	for _, c := range []byte(letters) {
		p = append(p, bytes.Repeat([]byte{c}, 512)...)
	}
	return p
}

// letters reads n sectors back as their letters: '.' for zeros, '?' for a sector that is not all one letter.
func letters(t *testing.T, d blockdev.Device, off int64, n int) string {
	t.Helper()
	p := make([]byte, n*512)
	require.NoError(t, d.ReadAt(ctx, p, off))
	var s []byte
	for ; len(p) > 0; p = p[512:] {
		switch {
		case !bytes.Equal(p[:512], bytes.Repeat(p[:1], 512)):
			s = append(s, '?')
		case p[0] == 0:
			s = append(s, '.')
		default:
			s = append(s, p[0])
		}
	}
	return string(s)
}

func newDisk(seed uint64, tr simdisk.Traits) *simdisk.Disk {
	return simdisk.New(simdisk.Config{Size: 1 << 20, Seed: seed, Traits: tr, CompareAndWrite: true, Reserve: true})
}

// outcomes collects what sectors may read as after a crash, over many seeds.
func outcomes(t *testing.T, d *simdisk.Disk, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for seed := range uint64(200) {
		got[letters(t, d.CrashClone(seed).Path(0), 0, n)]++
	}
	return got
}

func keys(m map[string]int) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	return all
}

func TestCrashOutcomes(t *testing.T) {
	write := func(s string, off int64, fua bool) func(*testing.T, blockdev.Device) {
		return func(t *testing.T, d blockdev.Device) { require.NoError(t, d.WriteAt(ctx, sectors(s), off, fua)) }
	}
	flush := func(t *testing.T, d blockdev.Device) { require.NoError(t, d.Flush(ctx)) }
	type steps []func(*testing.T, blockdev.Device)
	lose := simdisk.Traits{LoseUnflushed: true}
	ordered := simdisk.Traits{LoseUnflushed: true, Ordered: true}
	orderedTorn := simdisk.Traits{LoseUnflushed: true, Ordered: true, TearSectors: true}
	for _, c := range []struct {
		name   string
		traits simdisk.Traits
		steps  steps
		want   []string
	}{
		{"kind keeps all", simdisk.Traits{}, steps{write("ab", 0, false)}, []string{"ab"}},
		{"whole or lost", lose, steps{write("ab", 0, false)}, []string{"..", "ab"}},
		{"torn", simdisk.Harsh, steps{write("ab", 0, false)}, []string{"..", "ab", "a.", ".b"}},
		{"flushed", simdisk.Harsh, steps{write("ab", 0, false), flush}, []string{"ab"}},
		{"fua", simdisk.Harsh, steps{write("ab", 0, true)}, []string{"ab"}},
		{"fua does not flush others", lose, steps{write("a", 0, false), write("b", 512, true)}, []string{".b", "ab"}},
		{"any order", lose, steps{write("a", 0, false), write("b", 512, false)}, []string{"..", "a.", ".b", "ab"}},
		{"ordered", ordered, steps{write("a", 0, false), write("b", 512, false)}, []string{"..", "a.", "ab"}},
		{"ordered, torn", orderedTorn, steps{write("ab", 0, false), write("c", 512, false)},
			[]string{"..", "a.", ".b", "ab", "ac"}},
		{"overwritten", lose, steps{write("a", 0, false), write("b", 0, false)}, []string{"..", "a.", "b."}},
		{"flush is a barrier", lose, steps{write("a", 0, false), flush, write("b", 0, false)}, []string{"a.", "b."}},
		{"older write never comes up after fua", lose, steps{write("ab", 0, false), write("x", 0, true)},
			[]string{"x.", "xb"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(1, c.traits)
			for _, s := range c.steps {
				s(t, d.Path(0))
			}
			before := d.Hash()
			assert.ElementsMatch(t, c.want, keys(outcomes(t, d, 2)))
			assert.Equal(t, before, d.Hash(), "a crash clone changed its original")
		})
	}
}

func TestCrashGarbage(t *testing.T) {
	tr := simdisk.Harsh
	tr.GarbageOnTear = true
	d := newDisk(1, tr)
	require.NoError(t, d.Path(0).WriteAt(ctx, sectors("ab"), 0, false))
	got := outcomes(t, d, 2)
	for _, want := range []string{"..", "ab", "a.", ".b", "?b", "a?"} {
		assert.Contains(t, got, want)
	}
}

func TestCloneIsExact(t *testing.T) {
	d := newDisk(1, simdisk.Harsh)
	p := d.Path(0)
	require.NoError(t, p.WriteAt(ctx, sectors("ab"), 0, false))
	c := d.Clone()
	require.NoError(t, p.WriteAt(ctx, sectors("xy"), 0, false))
	assert.Equal(t, "ab", letters(t, c.Path(0), 0, 2))
	assert.ElementsMatch(t, []string{"..", "ab", "a.", ".b"}, keys(outcomes(t, c, 2)))
	require.NoError(t, c.Path(0).Flush(ctx))
	assert.Zero(t, c.Unflushed())
	assert.EqualValues(t, 2048, d.Unflushed())
	assert.NotEqual(t, c.Hash(), d.Hash())
}

func TestDiscardIsZerosOrNothing(t *testing.T) {
	got := map[string]int{}
	for seed := range uint64(50) {
		d := newDisk(seed, simdisk.Harsh)
		p := d.Path(0)
		require.NoError(t, p.WriteAt(ctx, sectors("abc"), 0, true))
		require.NoError(t, p.Discard(ctx, 512, 512))
		live := letters(t, p, 0, 3)
		got[live]++
		if live == "a.c" {
			assert.ElementsMatch(t, []string{"a.c", "abc"}, keys(outcomes(t, d, 3)))
		}
	}
	assert.ElementsMatch(t, []string{"abc", "a.c"}, keys(got))
}

func TestErrorRules(t *testing.T) {
	d := newDisk(1, simdisk.Traits{
		ReadErrors:  []simdisk.ErrorRule{{Off: 4096, Len: 512, Hosts: []int{1}}},
		WriteErrors: []simdisk.ErrorRule{{Off: 8192, Len: 512, Once: true}},
	})
	b := make([]byte, 1024)
	assert.ErrorIs(t, d.Path(1).ReadAt(ctx, b, 4096-512), blockdev.ErrMedium)
	assert.ErrorIs(t, d.Path(1).ReadAt(ctx, b, 4096), blockdev.ErrMedium)
	assert.NoError(t, d.Path(1).ReadAt(ctx, b, 4096+512))
	assert.NoError(t, d.Path(2).ReadAt(ctx, b, 4096), "the rule is for host 1")
	assert.ErrorIs(t, d.Path(2).WriteAt(ctx, b, 8192, false), blockdev.ErrMedium)
	assert.NoError(t, d.Path(2).WriteAt(ctx, b, 8192, false), "the rule was for once")
}

func TestFailedWriteIsUncertain(t *testing.T) {
	tr := simdisk.Harsh
	tr.WriteErrors = []simdisk.ErrorRule{{}}
	got := map[string]int{}
	for seed := range uint64(100) {
		p := newDisk(seed, tr).Path(0)
		require.ErrorIs(t, p.WriteAt(ctx, sectors("ab"), 0, true), blockdev.ErrMedium)
		got[letters(t, p, 0, 2)]++
	}
	assert.ElementsMatch(t, []string{"..", "ab", "a.", ".b"}, keys(got))
}

func TestMisdirectAndCorrupt(t *testing.T) {
	d := newDisk(4, simdisk.Traits{MisdirectWrites: 1})
	p := d.Path(0)
	require.NoError(t, p.WriteAt(ctx, sectors("abcd"), 0, false))
	assert.Equal(t, "....", letters(t, p, 0, 4))
	b := make([]byte, 1<<20)
	require.NoError(t, p.ReadAt(ctx, b, 0))
	assert.Equal(t, 1, bytes.Count(b, sectors("abcd")), "it went somewhere else")

	d.SetTraits(simdisk.Traits{})
	require.NoError(t, p.WriteAt(ctx, sectors("a"), 0, false))
	d.SetTraits(simdisk.Traits{MisdirectReads: 1})
	missed := 0
	for range 20 {
		if letters(t, p, 0, 1) != "a" {
			missed++
		}
	}
	assert.Greater(t, missed, 15)

	d.SetTraits(simdisk.Traits{})
	d.Corrupt(10, 5)
	got := make([]byte, 512)
	require.NoError(t, p.ReadAt(ctx, got, 0))
	for i, v := range got {
		assert.Equal(t, i >= 10 && i < 15, v != 'a', "byte %d", i)
	}
	assert.Equal(t, d.Hash(), d.CrashClone(1).Hash(), "rot is on the medium")
}
