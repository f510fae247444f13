package faultdev_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/devtest"
	"github.com/covol/covol/ondisk/blockdev/faultdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
)

var ctx = context.Background()

func mem() *memdev.Device {
	return memdev.New(blockdev.Geometry{SectorSize: 512, Size: devtest.Size}, nil)
}

func TestConformanceWithoutRules(t *testing.T) {
	devtest.Run(t, func(*testing.T) blockdev.Device { return faultdev.New(mem(), nil).As() })
}

func TestParse(t *testing.T) {
	for text, canonical := range map[string]string{
		"write #7 error":                "write #7 error",
		"write 4096..8192 error":        "write 4096..8192 error",
		"read block 12 corrupt":         "read 49152..53248 corrupt",
		"flush #2 error sticky":         "flush #2 error sticky",
		"any >40 error":                 "any >40 error",
		"any >0 fenced":                 "any >0 fenced",
		" caw  late-error\tonce ":       "caw late-error once",
		"write #3 8192..12288 torn":     "write #3 8192..12288 torn",
		"read error; write lost\n\n;;":  "read error\nwrite lost",
		"// nothing\ndiscard lost // x": "discard lost",
		"":                              "",
	} {
		rs, err := faultdev.Parse(text)
		require.NoError(t, err, text)
		assert.Equal(t, canonical, rs.String(), text)
		again, err := faultdev.Parse(rs.String())
		require.NoError(t, err)
		assert.Equal(t, rs, again)
	}
	for text, want := range map[string]string{
		"wirte error":                           `no operation "wirte"`,
		"write":                                 "no action",
		"write #7":                              "no action",
		"write explode":                         `no action "explode"`,
		"read error\nwrite #0 error":            `line 2, rule "write #0 error": 0 is not between`,
		"write #x error":                        `no number: "x"`,
		"write #-1 error":                       `no number: "-1"`,
		"write 8..8 error":                      "empty range",
		"write 8..4 error":                      "not between",
		"write block error":                     `no number: "error"`,
		"write block 9223372036854775807 error": "not between",
		"write #1 >2 error":                     `no action ">2"`,
		"write 1..2 #1 error":                   `no action "#1"`,
		"write error once sticky":               `unexpected "sticky"`,
		"write error twice":                     `unexpected "twice"`,
		"write #99999999999999999999 error":     "no number",
	} {
		_, err := faultdev.Parse(text)
		assert.ErrorContains(t, err, want, text)
	}
	assert.Panics(t, func() { faultdev.Must("x") })
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"write #7 error", "read block 12 corrupt; any >4 1..2 torn sticky", "//", "flush..", ">"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rs, err := faultdev.Parse(text)
		if err != nil {
			return
		}
		again, err := faultdev.Parse(rs.String())
		require.NoError(t, err)
		require.Equal(t, rs, again)
	})
}

// TestRules runs scripts: each letter is an operation of one sector on the place that follows, upper-case ones are
// expected to fail.
func TestRules(t *testing.T) {
	for _, c := range []struct{ rules, script string }{
		{"write #2 error", "w0 W0 w0 r0"},
		{"write #2 error once", "w0 W0 w0"},
		{"write #2 error sticky", "r0 w0 W0 W9 r0 f"},
		{"write >2 error", "w0 w0 W0 W0 r0"},
		{"any >3 error", "w0 r0 f W0 R0 F D0"},
		{"any #3 error", "w0 r0 F w0"},
		{"write 512..1024 error", "w0 W1 w2 r1 W1"},
		{"write 512..1024 error once", "w0 W1 w2 w1"},
		{"write #2 512..1024 error", "w1 w0 W1 w1"},
		{"write #2 512..1024 error sticky", "w1 w0 W1 W0 W9 r1"},
		{"any 0..512 error", "f f R0 W0 D0 r1"},
		{"read error; write #1 error", "R0 W0 w0 R1"},
		{"flush #2 error", "f w0 F f"},
		{"discard error", "D0 w0"},
	} {
		t.Run(c.rules, func(t *testing.T) {
			d := faultdev.New(mem(), faultdev.Must(c.rules))
			p := make([]byte, 512)
			var want int64
			for i, step := range bytes.Fields([]byte(c.script)) {
				var off int64
				if len(step) > 1 {
					off = int64(step[1]-'0') * 512
				}
				var err error
				switch step[0] | 0x20 {
				case 'r':
					err = d.ReadAt(ctx, p, off)
				case 'w':
					err = d.WriteAt(ctx, p, off, false)
				case 'f':
					err = d.Flush(ctx)
				case 'd':
					err = d.Discard(ctx, off, 512)
				}
				if step[0] < 'a' {
					want++
					assert.ErrorIs(t, err, blockdev.ErrMedium, "step %d", i)
					assert.True(t, faultdev.Injected(err))
				} else {
					assert.NoError(t, err, "step %d", i)
				}
			}
			assert.Equal(t, want, d.Strikes())
		})
	}
}

func TestActions(t *testing.T) {
	old, now := bytes.Repeat([]byte{'o'}, 2048), bytes.Repeat([]byte{'n'}, 2048)
	changed := func(p []byte) (n int) {
		for _, b := range p {
			if b != 'n' {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		rule  string
		class error
		judge func(t *testing.T, p []byte)
	}{
		{"write error", blockdev.ErrMedium, func(t *testing.T, p []byte) { assert.Equal(t, old, p) }},
		{"write fenced", blockdev.ErrFenced, func(t *testing.T, p []byte) { assert.Equal(t, old, p) }},
		{"write late-error", blockdev.ErrMedium, func(t *testing.T, p []byte) { assert.Equal(t, now, p) }},
		{"write lost", nil, func(t *testing.T, p []byte) { assert.Equal(t, old, p) }},
		{"write torn", blockdev.ErrMedium, func(t *testing.T, p []byte) {
			assert.Equal(t, append(bytes.Clone(now[:1024]), old[1024:]...), p)
		}},
		{"write corrupt", nil, func(t *testing.T, p []byte) { assert.Equal(t, 4, changed(p)) }},
	} {
		t.Run(c.rule, func(t *testing.T) {
			m := mem()
			require.NoError(t, m.WriteAt(ctx, old, 0, false))
			p := bytes.Clone(now)
			err := faultdev.New(m, faultdev.Must(c.rule)).WriteAt(ctx, p, 0, false)
			if c.class == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, c.class)
			}
			assert.Equal(t, now, p, "the caller's buffer")
			got := make([]byte, 2048)
			require.NoError(t, m.ReadAt(ctx, got, 0))
			c.judge(t, got)
		})
	}
}

func TestReadActions(t *testing.T) {
	m := mem()
	now := bytes.Repeat([]byte{'n'}, 1024)
	require.NoError(t, m.WriteAt(ctx, now, 0, false))
	read := func(rule string) ([]byte, error) {
		p := make([]byte, 1024)
		return p, faultdev.New(m, faultdev.Must(rule)).ReadAt(ctx, p, 0)
	}
	p, err := read("read corrupt")
	require.NoError(t, err)
	assert.NotEqual(t, now[:512], p[:512])
	assert.NotEqual(t, now[512:], p[512:])
	q, err := read("read corrupt")
	require.NoError(t, err)
	assert.Equal(t, p, q, "the same damage every time")
	p, err = read("read lost")
	require.NoError(t, err)
	assert.Equal(t, make([]byte, 1024), p)
	for _, rule := range []string{"read torn", "read late-error"} {
		_, err = read(rule)
		assert.ErrorIs(t, err, blockdev.ErrMedium)
	}
}

func TestCompareActions(t *testing.T) {
	zero, one := make([]byte, 512), bytes.Repeat([]byte{1}, 512)
	for _, c := range []struct {
		rule          string
		swapped, fail bool
		after         byte
	}{
		{"caw #2 error", true, false, 1}, {"caw error", false, true, 0}, {"caw lost", false, true, 0},
		{"caw late-error", false, true, 1},
	} {
		m := mem()
		d := faultdev.New(m, faultdev.Must(c.rule)).As().(blockdev.CompareAndWriter)
		swapped, err := d.CompareAndWrite(ctx, 0, zero, one)
		assert.Equal(t, c.swapped, swapped, c.rule)
		assert.Equal(t, c.fail, err != nil, c.rule)
		p := make([]byte, 512)
		require.NoError(t, m.ReadAt(ctx, p, 0))
		assert.Equal(t, c.after, p[0], c.rule)
	}
	_, ok := faultdev.New(struct{ blockdev.Device }{mem()}, nil).As().(blockdev.CompareAndWriter)
	assert.False(t, ok)
}

// TestFailEachOperation is the loop that users of the package write.
func TestFailEachOperation(t *testing.T) {
	runs := 0
	for n := 1; ; n++ {
		d := faultdev.New(mem(), faultdev.Must(fmt.Sprintf("any #%d error", n)))
		p := make([]byte, 512)
		var err error
		for i := range int64(5) {
			if err == nil {
				err = d.WriteAt(ctx, p, i*512, false)
			}
		}
		if err == nil {
			err = d.Flush(ctx)
		}
		runs++
		if d.Strikes() == 0 {
			require.NoError(t, err)
			assert.EqualValues(t, 5, d.Count(faultdev.Write))
			assert.EqualValues(t, 1, d.Count(faultdev.Flush))
			assert.EqualValues(t, 6, d.Count(faultdev.Any))
			break
		}
		require.ErrorIs(t, err, blockdev.ErrMedium)
	}
	assert.Equal(t, 7, runs)
}
