package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/volume"
)

func superOf(t *testing.T, path string) *ondisk.Super {
	t.Helper()
	dev, err := filedev.Open(path, filedev.Options{ReadOnly: true})
	require.NoError(t, err)
	defer dev.Close()
	s, _, err := volume.Open(context.Background(), dev)
	require.NoError(t, err)
	return s
}

func poke(t *testing.T, path string, blk uint64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt(b, int64(blk)*ondisk.BlockSize)
	require.NoError(t, err)
}

func TestMkfs(t *testing.T) {
	path := image(t)
	r := into[mkfsResult](t, ok(t, "mkfs", "--json", "--label", "images", "--slots", "3", "--cluster-size", "64K", "--journal-size", "8M", "--profile", "san", path))
	assert.Equal(t, mkfsResult{Device: path, UUID: superOf(t, path).UUID.String(), Label: "images", Size: 256 << 20, Free: r.Free, ClusterSize: 64 << 10,
		Slots: 3, JournalSize: 8 << 20, Groups: r.Groups, Profile: "san", TakeoverTime: "45s"}, r)
	assert.Positive(t, r.Free)
	assert.Contains(t, fails(t, 1, "the device holds something else", "mkfs", path).err, "--force")
	assert.Equal(t, "images", superOf(t, path).Label)
	assert.Contains(t, ok(t, "mkfs", "--force", path), "covol volume on "+path)
	assert.Empty(t, superOf(t, path).Label)
}

func TestMkfsRefused(t *testing.T) {
	path, dir := image(t), t.TempDir()
	small := filepath.Join(dir, "small")
	require.NoError(t, os.WriteFile(small, make([]byte, 1<<20), 0o644))
	ext4 := image(t)
	magic := make([]byte, ondisk.BlockSize)
	binary.LittleEndian.PutUint16(magic[1024+56:], 0xef53)
	poke(t, ext4, 0, magic)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"no such file", []string{filepath.Join(dir, "none")}},
		{"too small", []string{small}},
		{"ext", []string{ext4}},
		{"bad option", []string{"--profile", "nonsense", path}},
		{"bad option", []string{"--cluster-size", "5K", path}},
		{"bad option", []string{"--label", strings.Repeat("x", 65), path}},
		{"not a size", []string{"--journal-size", "lots", path}},
		{"wrong number of arguments", nil},
		{"", []string{dir}},
	} {
		r := fails(t, 1, c.want, append([]string{"mkfs"}, c.args...)...)
		require.Empty(t, r.out)
	}
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, -1, strings.IndexFunc(string(b[:1<<20]), func(r rune) bool { return r != 0 }), "nothing was written")
}

// TestMounted: tools that need a volume alone refuse one that is mounted.
func TestMounted(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	m := mount(t, dev, "busy")
	fails(t, 1, "mounted by busy", "mkfs", "--force", dev)
	fails(t, fsckFailed, "mounted by busy", "fsck", dev)
	fails(t, fsckFailed, "mounted by busy", "fsck", "-y", dev)
	r := covol(t, "fsck", "-n", dev)
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "work in progress")
	require.Contains(t, ok(t, "dump", dev, "slots"), "busy")
	require.NoError(t, os.WriteFile(m.path("f"), nil, 0o644), "nobody was harmed")
}

// TestBadVolume: what is not a covol volume this build can use is refused by every tool, with the reason.
func TestBadVolume(t *testing.T) {
	dir := t.TempDir()
	cases := map[string]struct {
		spoil func(t *testing.T, path string)
		want  string
	}{
		"nothing": {func(t *testing.T, path string) {
			require.NoError(t, os.Truncate(path, 0))
			require.NoError(t, os.Truncate(path, 256<<20))
		}, "not a covol volume"},
		"empty":         {func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) }, "not a covol volume"},
		"shorter":       {func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 200<<20)) }, "device shorter than its volume"},
		"other version": {otherVersion, "unsupported format"},
		"feature": {func(t *testing.T, path string) {
			s := superOf(t, path)
			s.Incompat |= 1 << 60
			poke(t, path, 0, ondisk.EncodeSuper(s, 0))
		}, "unsupported format"},
		"all copies": {func(t *testing.T, path string) {
			s := superOf(t, path)
			for _, blk := range []uint64{ondisk.SuperBlock, ondisk.SuperCopyBlock, s.Blocks - 1} {
				b := ondisk.EncodeSuper(s, blk)
				b[ondisk.BlockSize-1] ^= 1
				poke(t, path, blk, b)
			}
		}, "no valid superblock"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := image(t)
			ok(t, "mkfs", path)
			c.spoil(t, path)
			fails(t, 1, c.want, "mount", path, dir, "--node", "a")
			fails(t, 1, c.want, "dump", path)
			fails(t, fsckFailed, c.want, "fsck", "-n", path)
			fails(t, fsckFailed, c.want, "fsck", "-y", path)
		})
	}
}

func otherVersion(t *testing.T, path string) {
	s := superOf(t, path)
	b := ondisk.EncodeSuper(s, 0)
	h := ondisk.GetHeader(b)
	h.Version++
	ondisk.PutHeader(b, &h)
	ondisk.Seal(b)
	poke(t, path, 0, b)
}

// TestSuperCopy: with a damaged superblock the copy is used, and everybody says so.
func TestSuperCopy(t *testing.T) {
	path := image(t)
	ok(t, "mkfs", "--profile", "fast", path)
	poke(t, path, 0, make([]byte, ondisk.BlockSize))
	const want = "superblock copy in block"
	r := covol(t, "fsck", "-n", path)
	require.Equal(t, fsckErrors, r.code)
	require.Contains(t, r.err, want)
	require.Contains(t, r.out, "F101")
	require.Contains(t, covol(t, "dump", path).err, want)
	needMount(t)
	m := mount(t, path, "a")
	require.Contains(t, m.stderr(), want)
	require.Contains(t, m.status().Volume.Note, want)
	require.NoError(t, os.WriteFile(m.path("f"), nil, 0o644))
}

func TestFsck(t *testing.T) {
	path := image(t)
	ok(t, "mkfs", "--profile", "fast", path)
	for _, flags := range [][]string{{"-n"}, {"-y"}, nil, {"-n", "--deep"}} {
		require.Contains(t, ok(t, append([]string{"fsck", path}, flags...)...), "clean")
	}
	rep := into[map[string]any](t, ok(t, "fsck", "--json", path))
	assert.Equal(t, true, rep["clean"])
	assert.Empty(t, rep["findings"])
	assert.Empty(t, rep["replayed"])

	s := superOf(t, path)
	poke(t, path, s.ClusterBitmapBlock(0, 0), make([]byte, ondisk.BlockSize))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	r := covol(t, "fsck", "-n", path)
	require.Equal(t, fsckErrors, r.code)
	require.Contains(t, r.out, "F302")
	require.Empty(t, r.err)
	r = covol(t, "fsck", path)
	require.Equal(t, fsckErrors, r.code)
	require.Contains(t, r.err, "fsck -y")
	rep = into[map[string]any](t, covol(t, "fsck", "--json", path).out)
	assert.Equal(t, false, rep["clean"])
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after), "only -y changes anything")
	fails(t, fsckFailed, "no such file", "fsck", "-n", filepath.Join(t.TempDir(), "none"))
	fails(t, fsckFailed, "fsck", "fsck")
	fails(t, fsckFailed, "unknown", "fsck", "-x", path)
	fails(t, fsckFailed, "yes", "fsck", "-n", "-y", path)
}

// TestFsckRepairs: what -n names, -y mends and says so, and the volume is clean then.
func TestFsckRepairs(t *testing.T) {
	path := image(t)
	ok(t, "mkfs", "--profile", "fast", path)
	s := superOf(t, path)
	poke(t, path, s.SlotBlock(1), make([]byte, ondisk.BlockSize))
	damage := func() {
		poke(t, path, s.ClusterBitmapBlock(0, 0), make([]byte, ondisk.BlockSize))
		poke(t, path, ondisk.ViewBlock, make([]byte, ondisk.BlockSize))
		poke(t, path, ondisk.SuperCopyBlock, make([]byte, ondisk.BlockSize))
		poke(t, path, s.JournalStart(0), make([]byte, 2*ondisk.BlockSize))
	}
	damage()
	r := covol(t, "fsck", "-y", path)
	require.Equal(t, fsckRepaired, r.code, r.err)
	for _, code := range []string{"F102", "F120", "F121", "F201", "F302"} {
		require.Contains(t, r.out, code)
	}
	require.Contains(t, r.out, "done: ")
	require.Contains(t, ok(t, "fsck", "-n", path), "clean")
	require.Contains(t, ok(t, "fsck", "-y", path), "clean")
	damage()
	j := covol(t, "fsck", "-y", "--json", "--index-memory", "1", "--temp-dir", t.TempDir(), path)
	require.Equal(t, fsckRepaired, j.code, j.err)
	rep := into[map[string]any](t, j.out)
	assert.Equal(t, true, rep["clean"])
	assert.Empty(t, rep["findings"])
	assert.Len(t, rep["repaired"], 4)
	require.Contains(t, ok(t, "fsck", path), "clean")
}

func TestDump(t *testing.T) {
	path := image(t)
	ok(t, "mkfs", "--label", "seen", path)
	assert.Contains(t, ok(t, "dump", path), "seen")
	for _, what := range [][]string{{"superblock"}, {"slots"}, {"group", "0"}, {"inode", "10"}, {"journal", "0"}, {"block", "0"}, {"path", "/"}} {
		assert.NotEmpty(t, ok(t, append([]string{"dump", path}, what...)...), what)
		into[map[string]any](t, ok(t, append([]string{"dump", "--json", path}, what...)...))
	}
	assert.Contains(t, fails(t, 1, "want superblock", "dump", path, "nonsense").err, "--help")
	fails(t, 1, "no such file or directory", "dump", path, "path", "/none")
	fails(t, 1, "", "dump", path, "inode", "99999999")
}
