package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/covol/covol/bench/host"
)

const heldName = "held"

// pair is two nodes of one volume.
type pair struct {
	o        options
	dir      string
	fence    string
	survivor *host.Mount
	victim   *host.Mount // nil: dead
	held     *os.File    // the file in question, as the survivor has it
	meter    *meter      // on the survivor
}

const (
	survivorName = "survivor"
	victimName   = "victim"
)

// newPair makes a volume in dir and mounts it twice. A pair that was not made is cleaned away.
func newPair(o options, dir string, s scenario) (p *pair, err error) {
	p = &pair{o: o, dir: dir, fence: s.fence}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := makeVolume(o, dir, s.profile); err != nil {
		return p, err
	}
	if p.survivor, err = p.start(survivorName); err != nil {
		return p, err
	}
	if p.held, err = os.OpenFile(filepath.Join(p.survivor.Dir, heldName), os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return p, err
	}
	if p.meter, err = startMeter(filepath.Join(p.survivor.Dir, "own")); err != nil {
		return p, err
	}
	p.victim, err = p.start(victimName)
	return p, err
}

// makeVolume makes an image in dir, and the directories that nodes of it need.
func makeVolume(o options, dir, profile string) error {
	for _, d := range []string{survivorName, victimName, "state"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := host.Run("fallocate", "-l", "512M", imageOf(dir)); err != nil {
		return err
	}
	return host.Run(o.covol, "mkfs", "--profile", profile, imageOf(dir))
}

func imageOf(dir string) string { return filepath.Join(dir, "lun.img") }

func (p *pair) start(name string) (*host.Mount, error) {
	return startNode(p.o, p.dir, name, "--fence", p.fence)
}

func startNode(o options, dir, name string, args ...string) (*host.Mount, error) {
	args = append(args, "--insecure", "--state-dir", filepath.Join(dir, "state"))
	m, err := host.Start(o.covol, imageOf(dir), filepath.Join(dir, name), name, filepath.Join(dir, name+".log"), args...)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	return m, nil
}

// takeover is what one death cost.
type takeover struct {
	wait  time.Duration // from the kill to the end of the survivor's operation
	stall time.Duration // the longest operation on another file meanwhile
	calm  time.Duration // the same before, when nobody died
}

// errTooSoon says that the survivor's operation was over before the victim was killed.
var errTooSoon = errors.New("the survivor did not wait for the victim")

// round lets the victim take the lock and die once. If blocked, the survivor's operation is there before.
func (p *pair) round(blocked bool) (t takeover, err error) {
	if p.victim == nil {
		if p.victim, err = p.start(victimName); err != nil {
			return t, err
		}
	}
	if err := hold(filepath.Join(p.victim.Dir, heldName)); err != nil {
		return t, fmt.Errorf("victim: %w", err)
	}
	p.meter.reset()
	time.Sleep(p.o.calm)
	if t.calm, err = p.meter.stall(); err != nil {
		return t, fmt.Errorf("unrelated file: %w", err)
	}
	done := make(chan error, 1)
	if blocked {
		if err := p.victim.Stop(); err != nil {
			return t, err
		}
		go func() { done <- touch(p.held) }()
		time.Sleep(p.o.stopped)
		if len(done) > 0 {
			_ = p.victim.Signal(syscall.SIGCONT)
			return t, errTooSoon
		}
	}
	p.meter.reset()
	began := time.Now()
	if err := p.victim.Signal(syscall.SIGKILL); err != nil {
		return t, err
	}
	if !blocked {
		go func() { done <- touch(p.held) }()
	}
	err = <-done
	t.wait = time.Since(began)
	_ = p.victim.Wait()
	p.victim = nil
	if err != nil {
		return t, fmt.Errorf("survivor: %w", err)
	}
	if t.stall, err = p.meter.stall(); err != nil {
		return t, fmt.Errorf("unrelated file: %w", err)
	}
	return t, nil
}

// hold makes the node of that mount take the lock of a file exclusively, and keep it in its cache.
func hold(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(touch(f), f.Close())
}

// close takes down what there is.
func (p *pair) close() error {
	if p.meter != nil {
		p.meter.close()
	}
	if p.held != nil {
		_ = p.held.Close()
	}
	var errs []error
	for _, m := range []*host.Mount{p.victim, p.survivor} {
		if m != nil {
			errs = append(errs, m.Leave())
		}
	}
	host.Unmount(filepath.Join(p.dir, victimName)) // of one that died and was not mounted again
	return errors.Join(errs...)
}
