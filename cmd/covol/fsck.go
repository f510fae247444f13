package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/check"
)

// Exit codes of fsck.
const (
	fsckClean    = 0
	fsckRepaired = 1
	fsckErrors   = 4
	fsckFailed   = 8
)

type fsckOptions struct {
	checkOnly bool
	yes       bool
	deep      bool
	asJSON    bool
	out, err  io.Writer
}

func newFsck() *cobra.Command {
	o := &fsckOptions{}
	cmd := &cobra.Command{
		Use:   "fsck [-n|-y] DEVICE",
		Short: "Check a volume",
		Long: `Check a volume: everything it says of itself is compared with everything else.

  -n       only read, also while the volume is mounted; then findings may be work in progress.
           What dead nodes left in their journals is taken into account in memory.
  -y       replay the journals of dead nodes, then check. Refused while the volume is mounted.
  neither  as -n, but refused while the volume is mounted.

Damaged structures are reported and not repaired yet: each finding says what a repair
would do.

Exit status: 0 clean, 1 journals were replayed and all is clean now, 4 errors are left,
8 could not run.`,
		Example: "  covol fsck -n lun.img\n  covol fsck --json lun.img",
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.out, o.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return o.run(cmd.Context(), a)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.checkOnly, "check-only", "n", false, "only read, even if the volume is mounted")
	f.BoolVarP(&o.yes, "yes", "y", false, "replay journals, then check")
	f.BoolVar(&o.deep, "deep", false, "read all data of files too")
	addJSON(cmd, &o.asJSON)
	return cmd
}

func (o *fsckOptions) run(ctx context.Context, a []string) error {
	if o.checkOnly && o.yes {
		return &exitError{code: fsckFailed, err: errors.New("-n and --yes exclude each other")}
	}
	replayed, report, err := o.check(ctx, a[0])
	if err != nil {
		return &exitError{code: fsckFailed, err: err}
	}
	if err := o.print(replayed, report); err != nil {
		return &exitError{code: fsckFailed, err: err}
	}
	switch {
	case !report.Clean():
		return &exitError{code: fsckErrors}
	case len(replayed) > 0:
		return &exitError{code: fsckRepaired}
	}
	return nil
}

func (o *fsckOptions) check(ctx context.Context, path string) ([]replayedSlot, *check.Report, error) {
	dev, err := openDevice(path, filedev.Options{ReadOnly: !o.yes})
	if err != nil {
		return nil, nil, err
	}
	defer dev.Close()
	super, note, err := openSuper(ctx, dev)
	if err != nil {
		return nil, nil, err
	}
	if note != nil {
		o.say(note.String())
	}
	if err := o.mayRun(ctx, dev, super); err != nil {
		return nil, nil, err
	}
	var replayed []replayedSlot
	if o.yes {
		if replayed, err = replayAll(ctx, path, super); err != nil {
			err = fmt.Errorf("%s: replay journals: %w", path, err)
			if !errors.Is(err, ondisk.ErrCorrupt) {
				return nil, nil, err
			}
			o.say(err.Error()) // the check tells what that means
		}
	}
	bar := newProgress(o.err)
	defer bar.done()
	report, err := check.Check(ctx, dev, check.Options{Deep: o.deep, Progress: bar.update})
	if err != nil {
		return replayed, nil, fmt.Errorf("%s: %w", path, err)
	}
	return replayed, report, nil
}

func (o *fsckOptions) say(s string) { fmt.Fprintln(o.err, "covol:", s) }

func (o *fsckOptions) mayRun(ctx context.Context, dev *filedev.Device, super *ondisk.Super) error {
	names, err := inUseBy(ctx, dev, super, o.say)
	switch {
	case err != nil && o.checkOnly:
		o.say(err.Error())
		return nil
	case err != nil:
		return err
	case len(names) == 0:
		return nil
	case o.checkOnly:
		o.say(fmt.Sprintf("the volume is mounted by %s: findings may be work in progress", strings.Join(names, ", ")))
		return nil
	}
	return hint(fmt.Errorf("%s: mounted by %s", dev.Path(), strings.Join(names, ", ")),
		"Unmount it on every node first, or look without changing anything: covol fsck -n %s", dev.Path())
}

// replayedSlot is a journal that was brought home.
type replayedSlot struct {
	Slot    view.Slot `json:"slot"`
	Groups  int       `json:"transactions"`
	Applied int       `json:"blocks"`
}

// replayAll joins the cluster alone: who joins an empty cluster brings home every journal first, under the same
// protection as a mount.
func replayAll(ctx context.Context, path string, super *ondisk.Super) ([]replayedSlot, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	name := fmt.Sprintf("fsck@%s/%d", host, os.Getpid())
	n := &node{cfg: nodeConfig{Device: path, Name: name[:min(len(name), ondisk.NameSize)], Log: quietLog()}}
	defer n.closeAll()
	if err := n.openDevice(ctx); err != nil {
		return nil, err
	}
	done, err := n.replayAll(ctx)
	all := make([]replayedSlot, len(done))
	for i, r := range done {
		all[i] = replayedSlot(r)
	}
	return all, err
}

func (o *fsckOptions) print(replayed []replayedSlot, r *check.Report) error {
	if !o.asJSON {
		for _, s := range replayed {
			fmt.Fprintf(o.out, "journal of slot %d replayed: %d transactions, %d blocks\n", s.Slot, s.Groups, s.Applied)
		}
		return r.WriteText(o.out, check.Info)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	all := map[string]any{}
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	all["replayed"] = append([]replayedSlot{}, replayed...)
	return writeJSON(o.out, all)
}
