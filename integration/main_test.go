package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// built is the binary under test, made by the first test that needs it.
var built struct {
	once sync.Once
	dir  string
	bin  string
	err  error
}

// covolBin returns the path of the binary under test.
func covolBin(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.bin = os.Getenv("COVOL_BIN"); built.bin != "" {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "covol-bin"); built.err != nil {
			return
		}
		built.bin = filepath.Join(built.dir, "covol")
		args := []string{"build", "-o", built.bin}
		cgo := "CGO_ENABLED=0"
		if os.Getenv("COVOL_TEST_RACE") != "" {
			args, cgo = append(args, "-race"), "CGO_ENABLED=1"
		}
		built.err = goTool(cgo, append(args, "../cmd/covol")...)
	})
	require.NoError(t, built.err)
	return built.bin
}

func goTool(env string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}

// number is a knob of the environment.
func number(t testing.TB, name string, def int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err, "%s wants a number", name)
	return n
}

// scaled is n times what the environment asks for.
func scaled(t testing.TB, n int) int { return n * number(t, "COVOL_TEST_SCALE", 1) }

// tool returns the path of a program, or skips the test and names the Debian package that has it.
func tool(t testing.TB, name, pkg string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p
		}
	}
	t.Skipf("%s is missing: apt-get install %s", name, pkg)
	return ""
}

// needMounts skips where nothing can be mounted.
func needMounts(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("needs /dev/fuse: modprobe fuse")
	}
	tool(t, "fusermount3", "fuse3")
}
