package integration

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/stretchr/testify/require"
)

// faultSocket is where a node built for it takes fault rules.
func (n *node) faultSocket() string { return filepath.Join(n.lab.dir, n.name+".faults") }

// struck tells of the rules of a node: operations struck since it was mounted, and operations that wait now.
type struck struct {
	dataStrikes, dataWaiting, beatStrikes, beatWaiting int
}

// faults sets the rules of a path of the node, data, beat or all; no rules lift them.
func (n *node) faults(path, rules string) struck {
	n.lab.t.Helper()
	s, err := n.order(path + "\n" + rules)
	require.NoError(n.lab.t, err, "fault rules %q for %s of %s", rules, path, n.name)
	return s
}

// struck looks at what the rules have done.
func (n *node) struck() struck {
	n.lab.t.Helper()
	s, err := n.order("look")
	require.NoError(n.lab.t, err)
	return s
}

func (n *node) order(command string) (s struck, err error) {
	c, err := net.DialTimeout("unix", n.faultSocket(), 5*time.Second)
	if err != nil {
		return s, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return s, err
	}
	if _, err := io.WriteString(c, command); err != nil {
		return s, err
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		return s, err
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return s, err
	}
	if _, err := fmt.Sscanf(string(answer), "ok data %d %d beat %d %d", &s.dataStrikes, &s.dataWaiting, &s.beatStrikes, &s.beatWaiting); err != nil {
		return s, fmt.Errorf("%s", answer)
	}
	return s, nil
}
