package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// imageMiB is how much of the machine's own files the image of the main job holds.
func imageMiB(t testing.TB) int {
	def := 512
	if testing.Short() {
		def = 64
	}
	return number(t, "COVOL_TEST_IMAGE", def)
}

// buildImage makes an ext4 image from real files, with mke2fs, straight onto path.
//
// mke2fs writes 4 KiB at a time, so TestImage builds its large image beside the volume and copies it there.
func buildImage(t testing.TB, l *lab, path string, mib int) {
	t.Helper()
	mke2fs := tool(t, "mke2fs", "e2fsprogs")
	tree := filepath.Join(l.dir, "tree")
	copyTree(t, tree, mib, "/usr/share", "/usr/lib")
	defer func() { require.NoError(t, os.RemoveAll(tree)) }()
	run(t, mke2fs, "-q", "-t", "ext4", "-i", "4096", "-d", tree, path, fmt.Sprintf("%dM", mib+mib/4+32))
}

// TestImage is the main job: disk images placed by one node are whole on the others.
func TestImage(t *testing.T) {
	qemuImg, e2fsck := tool(t, "qemu-img", "qemu-utils"), tool(t, "e2fsck", "e2fsprogs")
	mib := imageMiB(t)
	l := newLab(t, labOptions{nodes: 3, size: fmt.Sprintf("%dM", 1024+mib*5), limit: 12 * time.Minute})
	n1, n2, n3 := l.nodes[0], l.nodes[1], l.nodes[2]
	buildImage(t, l, filepath.Join(l.dir, "disk.raw"), mib)
	run(t, "cp", "--sparse=always", filepath.Join(l.dir, "disk.raw"), n1.path("disk.raw"))
	require.Equal(t, digest(t, filepath.Join(l.dir, "disk.raw")), digest(t, n1.path("disk.raw")), "the copy on the volume")
	run(t, qemuImg, "convert", "-f", "raw", "-O", "qcow2", n1.path("disk.raw"), n1.path("disk.qcow2"))

	run(t, qemuImg, "compare", "-f", "raw", "-F", "qcow2", n2.path("disk.raw"), n2.path("disk.qcow2"))
	run(t, qemuImg, "check", n2.path("disk.qcow2"))
	run(t, e2fsck, "-fn", n2.path("disk.raw"))

	// The way back, past the page cache of both nodes.
	run(t, qemuImg, "convert", "-f", "qcow2", "-O", "raw", "-T", "none", "-t", "none", n3.path("disk.qcow2"), n3.path("back.raw"))
	run(t, qemuImg, "compare", "-T", "none", "-f", "raw", "-F", "raw", n1.path("disk.raw"), n2.path("back.raw"))
	for _, name := range []string{"disk.raw", "disk.qcow2"} {
		want := digest(t, n1.path(name))
		assert.Equal(t, want, digest(t, n2.path(name)), "%s on node 2", name)
		assert.Equal(t, want, digest(t, n3.path(name)), "%s on node 3", name)
	}

	// And once more by nodes that know nothing.
	want := digest(t, n1.path("disk.raw"))
	l.down()
	l.fsck()
	n3.mount()
	assert.Equal(t, want, digest(t, n3.path("disk.raw")), "after all nodes have left")
	run(t, e2fsck, "-fn", n3.path("back.raw"))
}
