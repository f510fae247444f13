package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// network joins hosts that are network namespaces: a hub with a bridge, and a cable from it to each host.
//
// Namespaces are named after the process of the test, so that tests do not meet and what a killed one left is found.
type network struct {
	t     testing.TB
	name  string
	hosts int
}

var networks atomic.Int64

// cut is a way to cut a host off.
type cut string

const (
	cutBoth cut = "both"    // the cable is out
	cutIn   cut = "deaf"    // the host hears nobody
	cutOut  cut = "dumb"    // nobody hears the host
	cutPair cut = "partial" // the host does not hear the next one, all else works
)

func newNetwork(t testing.TB) *network {
	t.Helper()
	tool(t, "ip", "iproute2")
	tool(t, "nsenter", "util-linux")
	tool(t, "nft", "nftables")
	sweepNetworks(t)
	w := &network{t: t, name: fmt.Sprintf("covol%d-%d", os.Getpid(), networks.Add(1))}
	t.Cleanup(w.close)
	run(t, "ip", "netns", "add", w.hub())
	run(t, "ip", "-n", w.hub(), "link", "add", "name", "switch", "type", "bridge")
	run(t, "ip", "-n", w.hub(), "link", "set", "switch", "up")
	return w
}

// sweepNetworks removes what tests left that were killed.
func sweepNetworks(t testing.TB) {
	left, err := filepath.Glob("/run/netns/covol*-*")
	require.NoError(t, err)
	for _, path := range left {
		var pid, n int
		name := filepath.Base(path)
		if k, _ := fmt.Sscanf(name, "covol%d-%d-", &pid, &n); k != 2 {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); os.IsNotExist(err) {
			_, _ = runCode(t, "ip", "netns", "del", name)
		}
	}
}

func (w *network) hub() string           { return w.name + "-hub" }
func (w *network) host(i int) string     { return fmt.Sprintf("%s-h%d", w.name, i) }
func (w *network) addr(i int) string     { return fmt.Sprintf("10.77.0.%d", i) }
func (w *network) cable(i int) string    { return fmt.Sprintf("h%d", i) }
func (w *network) next(i int) (next int) { return i%w.hosts + 1 }

// add makes host i, the next one from 1 on.
func (w *network) add(i int) {
	w.t.Helper()
	w.hosts = i
	run(w.t, "ip", "netns", "add", w.host(i))
	run(w.t, "ip", "-n", w.hub(), "link", "add", w.cable(i), "type", "veth", "peer", "name", "net", "netns", w.host(i))
	run(w.t, "ip", "-n", w.hub(), "link", "set", w.cable(i), "master", "switch", "up")
	run(w.t, "ip", "-n", w.host(i), "addr", "add", w.addr(i)+"/24", "dev", "net")
	run(w.t, "ip", "-n", w.host(i), "link", "set", "lo", "up")
	run(w.t, "ip", "-n", w.host(i), "link", "set", "net", "up")
}

// cut cuts host i off; heal undoes it.
func (w *network) cut(i int, how cut) {
	w.t.Helper()
	var rule string
	switch how {
	case cutBoth:
		run(w.t, "ip", "-n", w.hub(), "link", "set", w.cable(i), "down")
		return
	case cutIn:
		rule = `type filter hook input priority 0; iifname "net" drop;`
	case cutOut:
		rule = `type filter hook output priority 0; oifname "net" drop;`
	case cutPair:
		rule = fmt.Sprintf(`type filter hook input priority 0; ip saddr %s drop;`, w.addr(w.next(i)))
	}
	run(w.t, "ip", "netns", "exec", w.host(i), "nft", "table inet cut {\n chain c { "+rule+" }\n}")
}

func (w *network) heal(i int) {
	w.t.Helper()
	run(w.t, "ip", "-n", w.hub(), "link", "set", w.cable(i), "up")
	run(w.t, "ip", "netns", "exec", w.host(i), "nft", "flush ruleset")
}

func (w *network) close() {
	for i := 1; i <= w.hosts; i++ {
		_, _ = runCode(w.t, "ip", "netns", "del", w.host(i))
	}
	if code, out := runCode(w.t, "ip", "netns", "del", w.hub()); code != 0 {
		w.t.Errorf("remove network: %s", strings.TrimSpace(out))
	}
}

// TestNetwork: hosts reach each other, cuts cut what they say, and nothing is left.
func TestNetwork(t *testing.T) {
	needMounts(t)
	var name string
	t.Run("cuts", func(t *testing.T) {
		w := newNetwork(t)
		name = w.name
		for i := 1; i <= 3; i++ {
			w.add(i)
		}
		// hears tries whether what i sends reaches j and the answer comes back.
		hears := func(i, j int) bool {
			code, _ := runCode(t, "nsenter", "--net=/run/netns/"+w.host(i), "--", "bash", "-c",
				fmt.Sprintf("timeout 1 bash -c '</dev/tcp/%s/9' 2>&1 | grep -q refused", w.addr(j)))
			return code == 0
		}
		// hearing waits for what a busy machine may be slow to show.
		hearing := func(i, j int, want bool, what any) {
			require.Eventually(t, func() bool { return hears(i, j) == want }, time.Minute, time.Millisecond, "%v: host %d hears host %d: want %v", what, i, j, want)
		}
		for _, c := range []struct {
			how      cut
			from, to bool // host 1 to host 2, host 1 to host 3
		}{{cutBoth, false, false}, {cutIn, false, false}, {cutOut, false, false}, {cutPair, false, true}} {
			hearing(1, 2, true, "before")
			hearing(1, 3, true, "before")
			w.cut(1, c.how)
			hearing(1, 2, c.from, c.how)
			hearing(1, 3, c.to, c.how)
			hearing(2, 3, true, c.how)
			w.heal(1)
		}
	})
	left, err := filepath.Glob("/run/netns/" + name + "-*")
	require.NoError(t, err)
	require.Empty(t, left)
}
