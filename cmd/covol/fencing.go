package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/watchdog"
	"github.com/covol/covol/member"
)

// Words of --fence.
const (
	fenceAuto    = "auto"
	fenceHost    = "host"
	fenceLease   = fence.LeaseName
	fenceCommand = "command="
)

const fenceWant = "Want auto, or host, lease, command=PATH, best first, with commas between; docs/fencing.md explains them."

// fencing is how a node proves others dead: the words of --fence. None means auto.
type fencing []string

// check holds the words to what they may be.
func (f fencing) check() error {
	seen := map[string]bool{}
	for _, word := range f {
		path, command := strings.CutPrefix(word, fenceCommand)
		switch {
		case seen[word]:
			return hint(fmt.Errorf("--fence: %s twice", word), fenceWant)
		case command:
			if err := checkExecutable(path); err != nil {
				return hint(fmt.Errorf("--fence: %w", err), "It gets its options on standard input, as the fence-agents do; see docs/fencing.md.")
			}
		case word == fenceAuto && len(f) > 1:
			return hint(fmt.Errorf("--fence: %s stands alone", word), fenceWant)
		case word != fenceAuto && word != fenceHost && word != fenceLease:
			return hint(fmt.Errorf("--fence %q", word), fenceWant)
		}
		seen[word] = true
	}
	return nil
}

func checkExecutable(path string) error {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("fence command: %w", err)
	case !st.Mode().IsRegular() || st.Mode()&0o111 == 0:
		return fmt.Errorf("fence command %s is not an executable file", path)
	}
	return nil
}

// choose puts the methods into c. Without the locks of the host among them the node takes none and publishes no ids of
// its host: it is to others as if it had a host of its own.
func (f fencing) choose(c *member.Config, locks cluster.HostLocks) error {
	words := f
	if len(words) == 0 || words[0] == fenceAuto {
		words = fencing{fenceHost, fenceLease}
		if locks == nil {
			words = words[1:]
		}
	}
	for _, word := range words {
		switch path, command := strings.CutPrefix(word, fenceCommand); {
		case command:
			c.Fencing = append(c.Fencing, fence.Command{Path: path})
		case word == fenceHost && locks == nil:
			return hint(errors.New("--fence host: this device has no locks of the host"), "Use --fence auto.")
		case word == fenceHost:
			c.Host = locks
			c.Fencing = append(c.Fencing, fence.HostLock{Locks: locks, Host: c.Machine.Host, Boot: c.Machine.Boot})
		default:
			c.Fencing = append(c.Fencing, fence.Lease{Wait: c.Super.Profile.Wait()})
		}
	}
	return nil
}

// watchdogOf is the watchdog of --watchdog, nil for none.
func watchdogOf(path string) cluster.Watchdog {
	if path == "" {
		return nil
	}
	return watchdog.New(path, watchdog.Open(path))
}
