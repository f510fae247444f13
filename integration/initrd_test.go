package integration

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// guestKernel finds an unpacked kernel package: the kernel and the directory of its modules.
func guestKernel(t testing.TB) (kernel, modules string) {
	t.Helper()
	dir := or(os.Getenv("COVOL_KERNEL_DIR"), "/var/cache/covol/kernel")
	list, err := filepath.Glob(filepath.Join(dir, "boot/vmlinuz-*-cloud-amd64"))
	require.NoError(t, err)
	if len(list) == 0 {
		t.Skipf("no guest kernel in %s: unpack there what linux-image-cloud-amd64 depends on (apt-get download, dpkg -x)", dir)
	}
	sort.Strings(list)
	kernel = list[len(list)-1]
	release := strings.TrimPrefix(filepath.Base(kernel), "vmlinuz-")
	for _, lib := range []string{"lib/modules", "usr/lib/modules"} {
		modules = filepath.Join(dir, lib, release)
		if _, err := os.Stat(modules); err == nil {
			return kernel, modules
		}
	}
	require.Fail(t, "kernel without modules", kernel)
	return "", ""
}

// modulesFor returns the paths of modules and of all they need, in the order of loading.
func modulesFor(t testing.TB, dir string, want ...string) []string {
	t.Helper()
	paths := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(d.Name(), ".ko"); ok && err == nil {
			paths[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	}))
	var order []string
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		path, ok := paths[strings.ReplaceAll(name, "-", "_")]
		if !ok || seen[path] { // not there: built into the kernel
			return
		}
		seen[path] = true
		for _, d := range dependsOf(t, path) {
			add(d)
		}
		order = append(order, path)
	}
	for _, name := range want {
		add(name)
	}
	return order
}

// dependsOf reads the field "depends" of a module, as modinfo(8) does.
func dependsOf(t testing.TB, path string) []string {
	t.Helper()
	f, err := elf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Section(".modinfo").Data()
	require.NoError(t, err)
	for _, field := range bytes.Split(info, []byte{0}) {
		if list, ok := strings.CutPrefix(string(field), "depends="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}

// archive is a cpio archive in the format "newc", which the kernel unpacks as its first root.
type archive struct {
	bytes.Buffer
	files int
}

func (a *archive) add(name string, mode uint32, data []byte) {
	a.files++
	// magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
	fmt.Fprintf(a, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", a.files, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(data)
	a.pad()
}

func (a *archive) pad() { a.Write(make([]byte, -a.Len()&3)) }

// guestInitrd builds the initial root of the guest: its init and the modules of a virtio disk.
func guestInitrd(t testing.TB, dir, modules string) string {
	t.Helper()
	init := filepath.Join(dir, "init")
	require.NoError(t, goTool("CGO_ENABLED=0", "build", "-o", init, "./guest"))
	var a archive
	b, err := os.ReadFile(init)
	require.NoError(t, err)
	a.add("init", 0o100755, b)
	a.add("dev", 0o040755, nil)
	a.add("modules", 0o040755, nil)
	for i, path := range modulesFor(t, modules, "virtio_pci", "virtio_blk", "crc32c_generic", "ext4") {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		a.add(fmt.Sprintf("modules/%02d-%s", i, filepath.Base(path)), 0o100644, b)
	}
	a.add("TRAILER!!!", 0, nil)
	initrd := filepath.Join(dir, "initrd")
	require.NoError(t, os.WriteFile(initrd, a.Bytes(), 0o644))
	return initrd
}
