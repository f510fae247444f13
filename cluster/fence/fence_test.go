package fence

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
)

var victim = Victim{NodeID: view.NodeID{Slot: 3, Incarnation: 2}, Name: "b", Host: [16]byte{1}, Boot: [16]byte{2}}

type locks struct {
	held bool
	err  error
	n    int64
}

func (l *locks) ByteLocked(n int64) (bool, error) {
	l.n = n
	return l.held, l.err
}

func TestHostLock(t *testing.T) {
	l := &locks{}
	m := HostLock{Locks: l, Host: [16]byte{1}, Boot: [16]byte{2}}
	p, err := m.Prove(t.Context(), victim)
	require.NoError(t, err)
	assert.Equal(t, "host", p.Method)
	assert.False(t, p.Settle, "the kernel drops the lock after the last write")
	assert.EqualValues(t, 3, l.n)

	l.held = true
	_, err = m.Prove(t.Context(), victim)
	require.ErrorIs(t, err, ErrNoProof)
	l.held, l.err = false, errors.New("injected")
	_, err = m.Prove(t.Context(), victim)
	require.ErrorContains(t, err, "injected")
	assert.NotErrorIs(t, err, ErrNoProof)

	l.err = nil
	for _, other := range []HostLock{{l, [16]byte{1}, [16]byte{3}}, {l, [16]byte{2}, [16]byte{2}}, {Locks: l}} {
		_, err = other.Prove(t.Context(), victim)
		assert.ErrorIs(t, err, ErrNoProof, "a clone, or another boot, or no ids")
	}
	nowhere := victim
	nowhere.Host, nowhere.Boot = [16]byte{}, [16]byte{}
	_, err = HostLock{Locks: l}.Prove(t.Context(), nowhere)
	assert.ErrorIs(t, err, ErrNoProof, "nodes without locks are nobody's neighbours")
}

func TestLease(t *testing.T) {
	m, v := Lease{Wait: 14 * time.Second}, victim
	v.Unchanged = 14*time.Second - 1
	_, err := m.Prove(t.Context(), v)
	require.ErrorIs(t, err, ErrNoProof)
	v.Unchanged++
	p, err := m.Prove(t.Context(), v)
	require.NoError(t, err)
	assert.Equal(t, "lease: no heartbeat for 14s", p.String())
}

// script makes an executable that finds its directory in $d.
func script(t *testing.T, body string) (path, dir string) {
	dir = t.TempDir()
	path = filepath.Join(dir, "fence_test")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\nd="+dir+"\n"+body), 0o700))
	return path, dir
}

func TestCommandTellsWhoAndWhat(t *testing.T) {
	path, dir := script(t, "cat >$d/in\necho switched off\n")
	p, err := Command{Path: path, Options: []string{"ip=10.0.0.1", "login=admin"}}.Prove(t.Context(), victim)
	require.NoError(t, err)
	assert.Equal(t, Proof{Method: "command fence_test", Text: "it has switched b off", Settle: true}, p)
	in, err := os.ReadFile(filepath.Join(dir, "in"))
	require.NoError(t, err)
	assert.Equal(t, "action=off\nnodename=b\nport=b\nip=10.0.0.1\nlogin=admin\n", string(in))
}

func TestCommandFails(t *testing.T) {
	path, dir := script(t, "echo x >>$d/runs\necho 'no route  to host' >&2\nexit 1\n")
	runs := func() int {
		b, err := os.ReadFile(filepath.Join(dir, "runs"))
		require.NoError(t, err)
		return strings.Count(string(b), "x")
	}
	_, err := Command{Path: path}.Prove(t.Context(), victim)
	require.ErrorIs(t, err, ErrNoProof)
	require.ErrorContains(t, err, "no route to host")
	require.ErrorContains(t, err, "exit status 1")
	assert.Equal(t, 1+DefaultRetries, runs())
	_, err = Command{Path: path, Retries: -1}.Prove(t.Context(), victim)
	require.ErrorIs(t, err, ErrNoProof)
	assert.Equal(t, 2+DefaultRetries, runs())

	_, err = Command{Path: filepath.Join(dir, "none")}.Prove(t.Context(), victim)
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, name := range []string{"", "b\naction=status"} {
		v := victim
		v.Name = name
		_, err = Command{Path: path}.Prove(t.Context(), v)
		require.ErrorIs(t, err, ErrNoProof)
	}
	assert.Equal(t, 2+DefaultRetries, runs(), "nothing is run for such a name")
}

// A program that succeeds at the second try has succeeded.
func TestCommandTriesAgain(t *testing.T) {
	path, _ := script(t, "test -e $d/once && exit 0\n: >$d/once\nexit 1\n")
	_, err := Command{Path: path}.Prove(t.Context(), victim)
	require.NoError(t, err)
}

// A program that hangs is killed with what it has started, and has proven nothing.
func TestCommandHangs(t *testing.T) {
	path, dir := script(t, "sleep 600 &\necho $! >$d/child\nwait\n")
	_, err := Command{Path: path, Timeout: 300 * time.Millisecond, Retries: -1}.Prove(t.Context(), victim)
	require.ErrorIs(t, err, ErrNoProof)
	require.ErrorContains(t, err, "not done within 300ms")
	pid, err := os.ReadFile(filepath.Join(dir, "child"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, 20*time.Second, time.Millisecond)
}

func TestCommandIsGivenUp(t *testing.T) {
	path, dir := script(t, ": >$d/begun\nsleep 600\n")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(dir, "begun")); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := Command{Path: path}.Prove(ctx, victim)
	require.ErrorIs(t, err, context.Canceled)
}

// Output is kept short, and in one line.
func TestCommandTalksTooMuch(t *testing.T) {
	path, _ := script(t, "i=0; while test $i -lt 3000; do echo line $i; i=$((i+1)); done\nexit 3\n")
	_, err := Command{Path: path, Retries: -1}.Prove(t.Context(), victim)
	require.ErrorContains(t, err, "line 2999")
	assert.Less(t, len(err.Error()), 1000)
	assert.NotContains(t, err.Error(), "\n")
}
