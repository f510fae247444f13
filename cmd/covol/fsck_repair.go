package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/check"
	"github.com/covol/covol/ondisk/check/bigindex"
	"github.com/covol/covol/ondisk/sched"
)

// repair is fsck -y. The code is that of what is left.
func (o *fsckOptions) repair(ctx context.Context, path string) error {
	rep, err := o.repairDevice(ctx, path)
	if err == nil {
		err = o.printRepair(rep)
	}
	switch {
	case err != nil:
		return &exitError{code: fsckFailed, err: err}
	case !rep.Left.Clean():
		return &exitError{code: fsckErrors}
	case rep.Changed():
		return &exitError{code: fsckRepaired}
	}
	return nil
}

// repairDevice takes the volume for itself, repairs it, and gives it back.
func (o *fsckOptions) repairDevice(ctx context.Context, path string) (rep *check.RepairReport, err error) {
	var devs [2]device // data, and slots and view: a descriptor of its own
	for i := range devs {
		if devs[i], err = openDevice(path, filedev.Options{}); err != nil {
			return nil, err
		}
		defer devs[i].Close()
	}
	super, err := o.open(ctx, devs[0])
	if err != nil {
		return nil, err
	}
	hold, err := o.take(ctx, devs[1], super)
	if err != nil {
		return nil, err
	}
	bar := newProgress(o.err)
	defer bar.done()
	rep, err = check.Repair(ctx, hold.Wrap(devs[0]), check.RepairOptions{
		Progress: bar.update, Deep: o.deep, Held: hold.Before(), IndexMemory: int64(o.memory),
		OpenIndex: func() (check.Store, error) { return bigindex.Open(o.tempDir) },
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	// A repair that was interrupted leaves its slot as a node that died does: the journal may have to be replayed.
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), super.Profile.Wait())
	defer cancel()
	if e := hold.Release(leave, err == nil); e != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w", path, e))
	}
	return rep, err
}

// take waits until nobody can have the volume, and claims it.
func (o *fsckOptions) take(ctx context.Context, dev device, super *ondisk.Super) (*cluster.Hold, error) {
	machine, err := cluster.LocalMachine()
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	told := time.AfterFunc(progressAfter, func() {
		o.say(fmt.Sprintf("waiting for a sign of life of other nodes, at most %s", ago(super.Profile.Wait())))
	})
	defer told.Stop()
	hold, err := cluster.Exclusive(ctx, cluster.Config{Dev: dev, Super: super, Name: cluster.ToolName(host, os.Getpid()), Addr: "-",
		Host: dev.hostLocks(), Machine: machine, Sched: sched.Real{}, Log: quietLog()})
	var by *cluster.Mounted
	if errors.As(err, &by) {
		return nil, mountedBy(dev.Path(), by.Names)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dev.Path(), err)
	}
	return hold, nil
}

// printRepair shows what was wrong, what was done, and what is left.
func (o *fsckOptions) printRepair(rep *check.RepairReport) error {
	if o.asJSON {
		return o.printJSON(rep.Left, rep)
	}
	var b strings.Builder
	for _, s := range rep.Replayed {
		fmt.Fprintf(&b, "journal of slot %d replayed: %d transactions, %d blocks\n", s.Slot, s.Transactions, s.Blocks)
	}
	for _, f := range rep.Repaired {
		fmt.Fprintf(&b, "%s\n", f.Finding)
		for _, w := range f.Owners {
			fmt.Fprintf(&b, "    owner: %s\n", w)
		}
		fmt.Fprintf(&b, "    done: %s\n", f.Done)
	}
	if _, err := o.out.Write([]byte(b.String())); err != nil {
		return err
	}
	if err := rep.Left.WriteText(o.out, check.Info); err != nil {
		return err
	}
	if rep.Changed() {
		fmt.Fprintf(o.out, "%d findings repaired, %d blocks written\n", len(rep.Repaired), rep.Blocks)
	}
	if rep.Stuck != "" {
		o.say("errors are left: " + rep.Stuck)
	}
	return nil
}
