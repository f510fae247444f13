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
	if path := os.Getenv(mapEnv); path != "" {
		mapForever(path)
	}
	if os.Getenv("COVOL_STATE_DIR") == "" { // nothing of a test stays in /var
		_ = os.Setenv("COVOL_STATE_DIR", "none")
	}
	code := m.Run()
	for _, b := range []*covolBuild{&plain, &faulty} {
		if b.dir != "" {
			_ = os.RemoveAll(b.dir)
		}
	}
	os.Exit(code)
}

// covolBuild is a build of covol, made by the first test that needs it.
type covolBuild struct {
	once sync.Once
	dir  string
	bin  string
	err  error
}

var plain, faulty covolBuild

// covolBin returns the path of the binary under test.
func covolBin(t testing.TB) string {
	t.Helper()
	plain.once.Do(func() {
		if plain.bin = os.Getenv("COVOL_BIN"); plain.bin == "" {
			plain.build()
		}
	})
	require.NoError(t, plain.err)
	return plain.bin
}

// faultsBin returns the path of a build whose disk fails on command.
func faultsBin(t testing.TB) string {
	t.Helper()
	faulty.once.Do(func() { faulty.build("-tags", "faults") })
	require.NoError(t, faulty.err)
	return faulty.bin
}

func (b *covolBuild) build(flags ...string) {
	if b.dir, b.err = os.MkdirTemp("", "covol-bin"); b.err != nil {
		return
	}
	b.bin = filepath.Join(b.dir, "covol")
	args := append([]string{"build", "-o", b.bin}, flags...)
	cgo := "CGO_ENABLED=0"
	if os.Getenv("COVOL_TEST_RACE") != "" {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	b.err = goTool(cgo, append(args, "../cmd/covol")...)
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
