package writelog_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/devtest"
	"github.com/covol/covol/ondisk/blockdev/faultdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
	"github.com/covol/covol/ondisk/blockdev/writelog"
)

var ctx = context.Background()

func mem() *memdev.Device {
	return memdev.New(blockdev.Geometry{SectorSize: 512, Size: devtest.Size}, nil)
}

func TestConformance(t *testing.T) {
	devtest.Run(t, func(*testing.T) blockdev.Device { return writelog.New(mem(), nil).As() })
	_, ok := writelog.New(struct{ blockdev.Device }{mem()}, nil).As().(blockdev.CompareAndWriter)
	assert.False(t, ok)
}

// play runs a script on a log: "ab@2" writes sectors of these letters at sector 2, with "!" behind it by fua; "-3@1"
// discards 3 sectors at 1; "F" flushes; ":x" marks x.
func play(t *testing.T, d blockdev.Device, mark func(any), script string) {
	t.Helper()
	for _, step := range strings.Fields(script) {
		var at int64
		what, where, _ := strings.Cut(step, "@")
		where, fua := strings.CutSuffix(where, "!")
		if where != "" {
			_, err := fmt.Sscan(where, &at)
			require.NoError(t, err)
		}
		switch {
		case step == "F":
			require.NoError(t, d.Flush(ctx))
		case step[0] == ':':
			mark(step[1:])
		case step[0] == '-':
			require.NoError(t, d.Discard(ctx, at*512, int64(step[1]-'0')*512))
		default:
			var p []byte
			for _, c := range []byte(what) {
				p = append(p, bytes.Repeat([]byte{c}, 512)...)
			}
			require.NoError(t, d.WriteAt(ctx, p, at*512, fua))
		}
	}
}

func letters(t *testing.T, d blockdev.Device, n int) string {
	t.Helper()
	p := make([]byte, n*512)
	require.NoError(t, d.ReadAt(ctx, p, 0))
	var s []byte
	for ; len(p) > 0; p = p[512:] {
		require.Equal(t, bytes.Repeat(p[:1], 512), p[:512])
		s = append(s, max(p[0], '.'))
	}
	return string(s)
}

// states returns what the first n sectors may read as, with the marks before.
func states(t *testing.T, l *writelog.Log, o writelog.Options, n int) []string {
	var all []string
	for c, d := range l.Crashes(o) {
		s := letters(t, d, n)
		for _, m := range c.Marks {
			s += ":" + m.(string)
		}
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

func TestStates(t *testing.T) {
	for _, c := range []struct {
		script string
		torn   bool
		n      int
		want   string
	}{
		{"a@0", false, 1, ". a"},
		{"a@0 b@1", false, 2, ".. a. ab .b"},
		{"a@0 F b@1", false, 2, ".. a. ab"},
		{"a@0 b@1 F c@0", false, 2, ".. a. ab .b cb"},
		{"a@0! b@1", false, 2, ".. a. ab"},
		{"a@0 b@1! c@2", false, 3, "... a.. ab. .b. abc .bc"},
		{"a@0 b@0! c@1", false, 2, ".. a. b. bc"},
		{"a@0 b@0", false, 1, ". a b"},
		{"ab@0", false, 2, ".. ab"},
		{"ab@0", true, 2, ".. ab a. .b"},
		{"ab@0 F cd@0", true, 2, ".. ab a. .b cd cb ad"},
		{"a@0 F -1@0", false, 1, ". a"},
		{"a@0! -1@0 F b@1", false, 2, ".. a. .b"},
		{"a@0 :x F :y b@1", false, 2, ".. a. a.:x ..:x a.:x:y ab:x:y"},
		{"a@0 F :x :y :z", false, 1, ". a a:x:y:z"},
		{":x", false, 1, ". .:x"},
		{"a@0 b@1 c@2", false, 3, "... a.. ab. .b. abc ..c .bc a.c"},
	} {
		t.Run(c.script, func(t *testing.T) {
			l := writelog.New(mem(), nil)
			play(t, l, l.Mark, c.script)
			assert.ElementsMatch(t, strings.Fields(c.want), states(t, l, writelog.Options{Torn: c.torn}, c.n))
		})
	}
}

func TestBaseAndPrefixes(t *testing.T) {
	m := mem()
	play(t, m, nil, "xyz@0")
	l := writelog.New(m, m.Image())
	play(t, l, l.Mark, "a@0 b@1 c@2")
	assert.Equal(t, []string{"xyz", "ayz", "abz", "abc"}, states(t, l, writelog.Options{PrefixOnly: true}, 3))
	assert.Len(t, states(t, l, writelog.Options{}, 3), 8)
	assert.Equal(t, 3, l.Writes())
}

// TestOverlappingFlush has a write that ends after the flush has begun: the flush says nothing about it.
func TestOverlappingFlush(t *testing.T) {
	in := &hooked{Device: mem()}
	l := writelog.New(in, nil)
	in.inFlush = func() { play(t, l, l.Mark, "b@1") }
	play(t, l, l.Mark, "a@0 F :end")
	assert.ElementsMatch(t, strings.Fields(".. a. ab .b a.:end ab:end"), states(t, l, writelog.Options{}, 2))

	in = &hooked{Device: mem()}
	l = writelog.New(in, nil)
	in.inWrite = func() { in.inWrite = nil; play(t, l, l.Mark, "b@1 F :end") }
	play(t, l, l.Mark, "a@0")
	assert.ElementsMatch(t, strings.Fields(".. a. ab .b .b:end ab:end"), states(t, l, writelog.Options{}, 2))
}

type hooked struct {
	blockdev.Device
	inFlush, inWrite func()
}

func (h *hooked) Flush(ctx context.Context) error {
	if h.inFlush != nil {
		h.inFlush()
	}
	return h.Device.Flush(ctx)
}

func (h *hooked) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	if h.inWrite != nil {
		h.inWrite()
	}
	return h.Device.WriteAt(ctx, p, off, fua)
}

func TestFailedStaysUncertain(t *testing.T) {
	l := writelog.New(faultdev.New(mem(), faultdev.Must("write #1 error; flush #1 error")), nil)
	require.Error(t, l.WriteAt(ctx, bytes.Repeat([]byte{'a'}, 512), 0, true))
	play(t, l, l.Mark, "b@1")
	require.Error(t, l.Flush(ctx))
	l.Mark("one")
	play(t, l, l.Mark, "F :two")
	got := states(t, l, writelog.Options{}, 2)
	for _, want := range []string{"..:one", "a.:one", ".b:one", "ab:one", ".b:one:two", "ab:one:two"} {
		assert.Contains(t, got, want)
	}
	assert.NotContains(t, got, "a.:one:two")

	n := l.Writes()
	require.ErrorIs(t, l.WriteAt(ctx, make([]byte, 512), 1, false), blockdev.ErrRange)
	require.ErrorIs(t, l.Discard(ctx, 1, 512), blockdev.ErrRange)
	assert.Equal(t, n, l.Writes(), "what is refused is no write")
}

func TestCompareAndWrite(t *testing.T) {
	l := writelog.New(mem(), nil)
	d := l.As().(blockdev.CompareAndWriter)
	a, b := bytes.Repeat([]byte{'a'}, 512), bytes.Repeat([]byte{'b'}, 512)
	swapped, err := d.CompareAndWrite(ctx, 0, make([]byte, 512), a)
	require.NoError(t, err)
	require.True(t, swapped)
	swapped, err = d.CompareAndWrite(ctx, 0, make([]byte, 512), b)
	require.NoError(t, err)
	require.False(t, swapped)
	l.Mark("done")
	assert.ElementsMatch(t, []string{".", "a", "a:done"}, states(t, l, writelog.Options{}, 1))
}

// TestCrashRepeats makes every crash again from its text.
func TestCrashRepeats(t *testing.T) {
	l := writelog.New(mem(), nil)
	play(t, l, l.Mark, "abc@0 d@1! :x ef@4 F -2@0 ghij@3 k@0 F l@2 mn@6")
	seen := map[string]bool{}
	for c, d := range l.Crashes(writelog.Options{Torn: true}) {
		text := c.String()
		require.False(t, seen[text], "%s comes twice", text)
		seen[text] = true
		again, err := writelog.Parse(text)
		require.NoError(t, err)
		e, err := l.At(again)
		require.NoError(t, err, text)
		require.Equal(t, d.Hash(), e.Hash(), text)
	}
	assert.Greater(t, len(seen), 30)
	for _, bad := range []string{"", "event", "event x", "event 99", "event 1 kept 7", "event 1 kept", "event 1 kept x",
		"event 1 torn 1:9", "event 1 torn 1:", "event 1 torn 8:0", "event 1 lost 3", "event -1"} {
		c, err := writelog.Parse(bad)
		if err == nil {
			_, err = l.At(c)
		}
		assert.Error(t, err, bad)
	}
}

func TestManyPendingAreSampled(t *testing.T) {
	l := writelog.New(mem(), nil)
	for i := range 40 {
		play(t, l, l.Mark, fmt.Sprintf("a@%d", i))
	}
	o := writelog.Options{Exhaustive: 4, Samples: 10}
	run := func(o writelog.Options) (all []string) {
		for c := range l.Crashes(o) {
			all = append(all, c.String())
		}
		return all
	}
	first := run(o)
	assert.Equal(t, first, run(o), "same seed, same crashes")
	o.Seed = 1
	assert.NotEqual(t, first, run(o))
	full := "event 79 kept 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33," +
		"34,35,36,37,38,39,40"
	assert.Contains(t, first, full)
	assert.Contains(t, first, "event 79 kept 40")
	assert.Less(t, len(first), 40*13)

	o = writelog.Options{Exhaustive: 4, Samples: 10, AfterEvents: 50}
	late := run(o)
	assert.Equal(t, first[len(first)-len(late):], late, "a walk that begins later meets the same crashes")
	assert.NotEmpty(t, late)
}

func TestBreakOut(t *testing.T) {
	l := writelog.New(mem(), nil)
	play(t, l, l.Mark, "a@0 b@1 c@2 :x")
	for stop := range 12 {
		n := 0
		for range l.Crashes(writelog.Options{Torn: true}) {
			if n++; n > stop {
				break
			}
		}
		assert.Equal(t, stop+1, n)
	}
}

// TestAgreesWithSimdisk has both make crashes of the same script: whatever simdisk leaves at random, the log must
// have among its states.
func TestAgreesWithSimdisk(t *testing.T) {
	for _, script := range []string{"a@0 b@1 F c@0 d@2 e@1!", "ab@0 c@1 F d@0 b@2", "a@0! b@0 c@1 -1@2 d@2"} {
		sim := simdisk.New(simdisk.Config{Size: devtest.Size, Traits: simdisk.Traits{LoseUnflushed: true}})
		l := writelog.New(sim.Path(0), nil)
		play(t, l, l.Mark, script)
		all := states(t, l, writelog.Options{}, 3)
		for seed := range uint64(300) {
			assert.Contains(t, all, letters(t, sim.CrashClone(seed).Path(0), 3), "%s, seed %d", script, seed)
		}
	}
}

// TestImagesAreIndependent writes to delivered disks and looks whether it shows in others.
func TestImagesAreIndependent(t *testing.T) {
	l := writelog.New(mem(), nil)
	play(t, l, l.Mark, "a@0 F b@1 c@2 F d@3")
	want := states(t, l, writelog.Options{}, 4)
	for _, d := range l.Crashes(writelog.Options{}) {
		play(t, d, nil, "zzzz@0")
	}
	assert.Equal(t, want, states(t, l, writelog.Options{}, 4))
}

func BenchmarkCrashes(b *testing.B) {
	l := writelog.New(mem(), nil)
	p := make([]byte, 4096)
	for i := range 100 {
		for j := range 8 {
			_ = l.WriteAt(ctx, p, int64((i*8+j)%256)*4096, false)
		}
		_ = l.Flush(ctx)
	}
	b.ResetTimer()
	for n := 0; n < b.N; {
		for range l.Crashes(writelog.Options{Torn: true}) {
			if n++; n >= b.N {
				break
			}
		}
	}
}
