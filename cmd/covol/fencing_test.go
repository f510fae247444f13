package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/member"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/filedev"
)

func TestFencingWords(t *testing.T) {
	dir := t.TempDir()
	agent, text := filepath.Join(dir, "fence_x"), filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(agent, []byte("#!/bin/sh\n"), 0o700))
	require.NoError(t, os.WriteFile(text, nil, 0o600))
	for _, words := range []fencing{{}, {"auto"}, {"lease"}, {"host", "command=" + agent}, {"host", "command=" + agent, "lease"}} {
		require.NoError(t, words.check(), words)
	}
	for _, words := range []fencing{{"auto", "lease"}, {"lease", "lease"}, {"scsi"}, {""}, {"command="}, {"command=" + dir}, {"command=" + text}} {
		require.Error(t, words.check(), words)
	}

	names := func(words fencing) (out []string, host bool) {
		c := member.Config{Super: &ondisk.Super{Profile: ondisk.Profiles[0]}}
		require.NoError(t, words.choose(&c, &filedev.Device{}))
		for _, m := range c.Fencing {
			out = append(out, m.Name())
		}
		return out, c.Host != nil
	}
	for _, words := range []fencing{nil, {"auto"}} {
		got, host := names(words)
		assert.Equal(t, []string{"host", "lease"}, got)
		assert.True(t, host)
	}
	got, host := names(fencing{"lease"})
	assert.Equal(t, []string{"lease"}, got)
	assert.False(t, host, "no lock is taken, no ids are published")
	got, host = names(fencing{"host", "command=" + agent})
	assert.Equal(t, []string{"host", fence.Command{Path: agent}.Name()}, got)
	assert.True(t, host)
	assert.Nil(t, watchdogOf(""))
	assert.NotNil(t, watchdogOf("/dev/watchdog0"))
}
