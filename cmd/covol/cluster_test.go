package main

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var tokenText = regexp.MustCompile(`covol-token-[A-Za-z0-9_-]+`)

// issuing is a cluster command that runs and prints a line.
type issuing struct {
	t    *testing.T
	stop func() error
	out  *bufio.Reader
}

func background(t *testing.T, args ...string) *issuing {
	t.Helper()
	cmd := covolCmd(args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ended := false
	stop := func() error {
		if ended {
			return nil
		}
		ended = true
		_ = cmd.Process.Signal(unix.SIGTERM)
		return cmd.Wait()
	}
	t.Cleanup(func() { _ = stop() })
	return &issuing{t: t, stop: stop, out: bufio.NewReader(out)}
}

// until reads to the first line that has what is wanted.
func (i *issuing) until(want *regexp.Regexp) string {
	i.t.Helper()
	for {
		line, err := i.out.ReadString('\n')
		if found := want.FindString(line); found != "" {
			return found
		}
		require.NoError(i.t, err)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := listenEnrol("127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

func TestCluster(t *testing.T) {
	root := t.TempDir()
	dir := func(name string) string { return filepath.Join(root, name) }
	addr := freeAddr(t)
	assert.Contains(t, ok(t, "cluster", "init", "--dir", dir("a"), "--name", "prod", "--node", "a"), "this host is node a")
	fails(t, 1, "there already", "cluster", "init", "--dir", dir("a"))
	fails(t, 1, "no cluster directory", "cluster", "show", "--dir", dir("b"))

	// The short way: the token waits for its node.
	wait := background(t, "cluster", "token", "--wait", "--dir", dir("a"), "--listen", addr)
	token := wait.until(tokenText)
	assert.Contains(t, ok(t, "cluster", "join", token, "--dir", dir("b"), "--node", "b"), "node b of cluster prod")
	wait.until(regexp.MustCompile("Node b is in the cluster"))
	require.NoError(t, wait.stop())

	// The long way: a server, tokens beside it.
	fails(t, 1, "reach the issuer", "cluster", "join", token, "--dir", dir("c"), "--node", "c")
	serve := background(t, "cluster", "serve", "--dir", dir("a"))
	again := func() result { return covol(t, "cluster", "join", token, "--dir", dir("c"), "--node", "c") }
	r := again()
	for strings.Contains(r.err, "reach the issuer") { // not listening yet
		r = again()
	}
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, `used by node "b"`)
	require.Contains(t, r.err, "covol cluster token --wait")
	fails(t, 1, "not a token", "cluster", "join", token[:len(token)-3], "--dir", dir("c"), "--node", "c")
	fails(t, 1, "there already", "cluster", "join", token, "--dir", dir("b"), "--node", "b")
	token = tokenText.FindString(ok(t, "cluster", "token", "--dir", dir("a"), "--node", "c", "--json"))
	fails(t, 1, `made for node "c"`, "cluster", "join", token, "--dir", dir("d"), "--node", "d")
	ok(t, "cluster", "join", token, "--dir", dir("c"), "--node", "c")
	ok(t, "cluster", "renew", "--dir", dir("c"))
	ok(t, "cluster", "renew", "--dir", dir("a"))
	fails(t, 1, "not on this host", "cluster", "token", "--dir", dir("c"), "--listen", addr)
	_ = serve.stop()
	fails(t, 1, "covol cluster serve", "cluster", "renew", "--dir", dir("c"))

	s := into[clusterShow](t, ok(t, "cluster", "show", "--json", "--dir", dir("a")))
	assert.True(t, s.IsIssuer)
	assert.Equal(t, addr, s.Issuer)
	assert.Len(t, s.Nodes, 3)
	b := into[clusterShow](t, ok(t, "cluster", "show", "--json", "--dir", dir("b")))
	assert.Equal(t, s.Authority, b.Authority)
	assert.Equal(t, 365, b.DaysLeft+1)
	assert.False(t, b.IsIssuer)
	assert.Contains(t, ok(t, "cluster", "show", "--dir", dir("a")), "this host is the issuer")
}

// TestMountSecurity: what mount takes for security, before it touches the volume.
func TestMountSecurity(t *testing.T) {
	dev, dir := newVolume(t), t.TempDir()
	keys := filepath.Join(t.TempDir(), "covol")
	ok(t, "cluster", "init", "--dir", keys, "--node", "a")
	fails(t, 1, "no cluster directory", "mount", dev, dir, "--cluster-dir", keys+"x")
	fails(t, 1, `the certificate in `+keys+` is of node "a"`, "mount", dev, dir, "--cluster-dir", keys, "--node", "b")
	fails(t, 1, "exclude each other", "mount", dev, dir, "--cluster-dir", keys, "--insecure")
	r := fails(t, 1, "in clear over [", "mount", dev, dir, "--node", "a", "--bind", "0.0.0.0:0")
	require.Contains(t, r.err, "covol cluster init")
	fails(t, 1, "in clear over 192.0.2.1:7800", "mount", dev, dir, "--node", "a", "--join", "192.0.2.1:7800")
	require.NoError(t, os.Chmod(filepath.Join(keys, "node.key"), 0o644))
	fails(t, 1, "chmod 600", "mount", dev, dir, "--cluster-dir", keys)
}
