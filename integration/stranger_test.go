package integration

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/pki"
)

// TestStranger: who has no certificate of the cluster, or that of another one, does not come in although it can reach the
// disk and the ports, is told why, and those who are in go on as they were.
func TestStranger(t *testing.T) {
	l := newLab(t, labOptions{nodes: 2})
	a, b := l.nodes[0], l.nodes[1]
	require.NoError(t, os.WriteFile(a.path("f"), []byte("before"), 0o644))
	before := a.status()

	foreign := filepath.Join(t.TempDir(), "covol")
	_, err := pki.Init(pki.Dir(foreign), "test", "n3", time.Now(), false)
	require.NoError(t, err)
	own := filepath.Join(t.TempDir(), "covol") // of the cluster, but not of this name
	_, err = l.issuer.Enrol(pki.Dir(own), "n4", time.Now(), false)
	require.NoError(t, err)
	for _, tc := range []struct {
		name, want string
		args       []string
	}{
		{"another authority", "signed by another authority", []string{"--cluster-dir", foreign}},
		{"no certificate", "it may want TLS", nil},
		{"no certificate, insecure", "it may want TLS", []string{"--insecure"}},
		{"another name", `is of node "n4"`, []string{"--cluster-dir", own}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out := covolCode(t, append([]string{"mount", l.dev, t.TempDir(), "--node", "n3", "--bind", "127.0.0.1:0"}, tc.args...)...)
			require.NotZero(t, code)
			require.Contains(t, out, tc.want)
			require.NotContains(t, out, "panic")
		})
	}

	// Who does not ask first, but knocks.
	addr := a.status().Node.Addr
	for i := range 100 {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer conn.Close()
		switch i % 3 {
		case 0:
			_, _ = conn.Write(make([]byte, 1000))
		case 1:
			go func() { _ = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
		}
	}
	writeRead := func(name string) {
		require.NoError(t, os.WriteFile(b.path(name), []byte(name), 0o644))
		text, err := os.ReadFile(a.path(name))
		require.NoError(t, err)
		require.Equal(t, name, string(text))
	}
	writeRead("f")
	writeRead("g")
	after := a.status()
	assert.Equal(t, before.Cluster.Epoch, after.Cluster.Epoch, "nobody came in")
	assert.Equal(t, "active", after.State)
	assert.Contains(t, after.Cluster.Secured, "TLS 1.3")
}
