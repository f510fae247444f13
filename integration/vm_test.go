package integration

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestGuest boots Debian's kernel from a disk that node 1 has made and node 2 serves, and looks at it from node 3.
func TestGuest(t *testing.T) {
	qemu, debugfs := tool(t, "qemu-system-x86_64", "qemu-system-x86"), tool(t, "debugfs", "e2fsprogs")
	e2fsck := tool(t, "e2fsck", "e2fsprogs")
	kernel, modules := guestKernel(t)
	l := newLab(t, labOptions{nodes: 3, size: "1G", limit: 12 * time.Minute})
	n1, n2, n3 := l.nodes[0], l.nodes[1], l.nodes[2]
	buildImage(t, l, n1.path("vm.raw"), 24)
	from := filepath.Join(l.dir, "from-host")
	run(t, "cp", "/proc/self/exe", from)
	run(t, debugfs, "-w", "-R", "write "+from+" from-host", n1.path("vm.raw"))

	out := boot(t, l, qemu, "-kernel", kernel, "-initrd", guestInitrd(t, l.dir, modules),
		"-drive", "file="+n2.path("vm.raw")+",format=raw,if=virtio,cache=none,aio=threads")
	assert.Contains(t, out, "guest: from-host "+digest(t, from))

	run(t, e2fsck, "-fn", n3.path("vm.raw"))
	assert.Equal(t, "written inside the guest\n", debugfsCat(t, debugfs, n3.path("vm.raw"), "from-guest"))
	large := filepath.Join(l.dir, "large")
	run(t, debugfs, "-R", "dump large-from-guest "+large, n3.path("vm.raw"))
	assert.Contains(t, out, "guest: large-from-guest "+digest(t, large))
}

// debugfsCat reads a file inside an image.
func debugfsCat(t testing.TB, debugfs, image, name string) string {
	t.Helper()
	out, err := exec.Command(debugfs, "-R", "cat "+name, image).Output()
	require.NoError(t, err)
	return string(out)
}

// boot runs a virtual machine until it powers off and returns its console. It needs no KVM.
func boot(t testing.TB, l *lab, qemu string, args ...string) string {
	t.Helper()
	cmd := exec.Command(qemu, append([]string{"-accel", "tcg", "-m", "512", "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-serial", "stdio", "-append", "console=ttyS0 panic=-1 quiet random.trust_cpu=on"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-over:
		case <-l.late:
			_ = cmd.Process.Kill()
		}
	}()
	var text strings.Builder
	for r := bufio.NewScanner(out); r.Scan(); {
		line := strings.TrimSpace(r.Text())
		text.WriteString(line + "\n")
		if strings.HasPrefix(line, "guest: ") {
			t.Log(line)
		}
	}
	require.NoError(t, cmd.Wait(), text.String())
	require.Contains(t, text.String(), "guest: done", text.String())
	return text.String()
}
