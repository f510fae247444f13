package bazil

import (
	"os"
	"testing"

	"bazil.org/fuse"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestParseMountInfo(t *testing.T) {
	// The example of proc_pid_mountinfo(5), without and with optional fields, and an odd mount point.
	for line, want := range map[string]*mountInfo{
		"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n": {"98:0", "/mnt2", "ext3"},
		`40 35 0:45 / /a\040b\134c rw - fuse.covol dev rw`:                                 {"0:45", `/a b\c`, "fuse.covol"},
		"40 35 0:45 / /x rw shared:1 master:2 - fuse.covol dev rw":                         {"0:45", "/x", "fuse.covol"},
		"":                             nil,
		"garbage":                      nil,
		"1 2 3 - ":                     nil,
		"40 35 0:45 / /x rw shared:1 ": nil,
	} {
		assert.Equal(t, want, parseMountInfo(line), "%q", line)
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		``: ``, `/a`: `/a`, `\040`: ` `, `a\011b\012`: "a\tb\n", `\134040`: `\040`, `\`: `\`, `\9`: `\9`, `\777x`: `\777x`,
	} {
		assert.Equal(t, want, unescape(in), "%q", in)
	}
}

func TestCleanStaleElsewhere(t *testing.T) {
	require.NoError(t, CleanStale(t.TempDir()))
	require.NoError(t, CleanStale("/proc"), "another filesystem")
	require.NoError(t, CleanStale(t.TempDir()+"/none/none"))
}

// TestUnixMode: every mode survives the library's translation and back.
func TestUnixMode(t *testing.T) {
	for mode, want := range map[os.FileMode]uint32{
		0o644:                             unix.S_IFREG | 0o644,
		0o755 | os.ModeDir:                unix.S_IFDIR | 0o755,
		os.ModeDir | os.ModeSticky | 0o77: unix.S_IFDIR | unix.S_ISVTX | 0o77,
		os.ModeSetuid | os.ModeSetgid:     unix.S_IFREG | unix.S_ISUID | unix.S_ISGID,
		os.ModeDevice:                     unix.S_IFBLK,
		os.ModeDevice | os.ModeCharDevice: unix.S_IFCHR,
		os.ModeNamedPipe:                  unix.S_IFIFO,
		os.ModeSymlink | 0o777:            unix.S_IFLNK | 0o777,
		os.ModeSocket:                     unix.S_IFSOCK,
		os.ModeIrregular | 0o600:          0o600,
	} {
		assert.Equal(t, want, unixMode(mode), "%v", mode)
	}
}

// TestTranslateUnknown: what the server has no use for is not taken for something else.
func TestTranslateUnknown(t *testing.T) {
	for _, r := range []fuse.Request{
		&fuse.UnrecognizedRequest{Opcode: 4000}, &fuse.GetxattrRequest{}, &fuse.ListxattrRequest{}, &fuse.SetxattrRequest{},
		&fuse.RemovexattrRequest{}, &fuse.AccessRequest{}, &fuse.PollRequest{}, &fuse.FlushRequest{}, &fuse.LockRequest{},
	} {
		_, ok := translate(r)
		assert.False(t, ok, "%T", r)
	}
}
