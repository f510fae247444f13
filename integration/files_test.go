package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
)

// walk reads all names and attributes below dir and what it finds in files, whatever happens to them meanwhile.
func walk(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if f, err := os.Open(path); err == nil {
			_, _ = io.CopyN(io.Discard, f, 64<<10)
			f.Close()
		}
		return nil
	})
}

// digest is the SHA-256 of a file.
func digest(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

// names lists a directory, sorted, and requires that no name comes twice.
func names(t testing.TB, dir string) []string {
	t.Helper()
	f, err := os.Open(dir)
	require.NoError(t, err)
	defer f.Close()
	list, err := f.Readdirnames(-1)
	require.NoError(t, err)
	sort.Strings(list)
	for i := 1; i < len(list); i++ {
		require.NotEqual(t, list[i-1], list[i], "a name is listed twice in %s", dir)
	}
	return list
}

// copyTree copies directories, files and symbolic links from real trees until it has mib MiB.
func copyTree(t testing.TB, dst string, mib int, from ...string) {
	t.Helper()
	left := int64(mib) << 20
	for _, src := range from {
		err := filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if left <= 0 {
				return filepath.SkipAll
			}
			n, err := copyEntry(filepath.Join(dst, path), path, d)
			left -= n
			return err
		})
		require.NoError(t, err)
	}
	require.LessOrEqual(t, left, int64(0), "%v have less than %d MiB", from, mib)
}

// copyEntry returns the space that the copy takes, about.
func copyEntry(dst, src string, d fs.DirEntry) (int64, error) {
	switch {
	case d.IsDir():
		return 4096, os.MkdirAll(dst, 0o755)
	case d.Type()&fs.ModeSymlink != 0:
		to, err := os.Readlink(src)
		if err != nil {
			return 0, err
		}
		return 0, os.Symlink(to, dst)
	case !d.Type().IsRegular():
		return 0, nil
	}
	in, err := os.Open(src)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(dst)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, in)
	if err == nil {
		err = out.Close()
	}
	return (n + 4095) &^ 4095, err
}
