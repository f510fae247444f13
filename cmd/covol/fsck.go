package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster"
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
	memory    byteSize
	tempDir   string
	out, err  io.Writer
}

func newFsck() *cobra.Command {
	o := &fsckOptions{}
	cmd := &cobra.Command{
		Use:   "fsck [-n|-y] DEVICE",
		Short: "Check and repair a volume",
		Long: `Check a volume: everything it says of itself is compared with everything else.

  -n       only read, also while the volume is mounted; then findings may be work in progress.
           What dead nodes left in their journals is taken into account in memory.
  -y       replay the journals of dead nodes and repair all that is wrong. Refused while the
           volume is mounted, and nobody can mount it meanwhile.
  neither  as -n, but refused while the volume is mounted.

A repair is planned in memory until a check of the plan finds nothing, and written through a
journal of the volume: it may be interrupted at any time and run again. Files that have lost
their name go back to the directory they remember, or to /lost+found.

Exit status: 0 clean, 1 repaired and clean now, 4 errors are left, 8 could not run.`,
		Example: "  covol fsck -n lun.img\n  covol fsck -y lun.img\n  covol fsck --json lun.img",
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.out, o.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return o.run(cmd.Context(), a)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.checkOnly, "check-only", "n", false, "only read, even if the volume is mounted")
	f.BoolVarP(&o.yes, "yes", "y", false, "repair what is wrong")
	f.BoolVar(&o.deep, "deep", false, "read all data of files too")
	o.memory = check.DefaultIndexMemory
	f.Var(&o.memory, "index-memory", "with -y: how much memory the index of owners may take before it moves to a file")
	f.StringVar(&o.tempDir, "temp-dir", "", "with -y: directory for that file (default: the one for temporary files)")
	addJSON(cmd, &o.asJSON)
	return cmd
}

func (o *fsckOptions) run(ctx context.Context, a []string) error {
	if o.checkOnly && o.yes {
		return &exitError{code: fsckFailed, err: errors.New("-n and --yes exclude each other")}
	}
	if o.yes {
		return o.repair(ctx, a[0])
	}
	report, err := o.check(ctx, a[0])
	if err == nil {
		err = o.print(report)
	}
	if err != nil {
		return &exitError{code: fsckFailed, err: err}
	}
	if !report.Clean() {
		if !o.checkOnly && !o.asJSON {
			fmt.Fprintf(o.err, "covol: nothing was changed; to repair: covol fsck -y %s\n", a[0])
		}
		return &exitError{code: fsckErrors}
	}
	return nil
}

// check looks without changing anything.
func (o *fsckOptions) check(ctx context.Context, path string) (*check.Report, error) {
	dev, err := openDevice(path, filedev.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	super, err := o.open(ctx, dev)
	if err != nil {
		return nil, err
	}
	if err := o.mayRun(ctx, dev, super); err != nil {
		return nil, err
	}
	bar := newProgress(o.err)
	defer bar.done()
	report, err := check.Check(ctx, dev, check.Options{Deep: o.deep, Progress: bar.update})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return report, nil
}

func (o *fsckOptions) open(ctx context.Context, dev device) (*ondisk.Super, error) {
	super, note, err := openSuper(ctx, dev)
	if err == nil && note != nil {
		o.say(note.String())
	}
	return super, err
}

func (o *fsckOptions) say(s string) { fmt.Fprintln(o.err, "covol:", s) }

func (o *fsckOptions) mayRun(ctx context.Context, dev device, super *ondisk.Super) error {
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
	return mountedBy(dev.Path(), names)
}

// mountedBy says who has the volume.
func mountedBy(path string, names []string) error {
	for _, n := range names {
		if cluster.IsTool(n) {
			return hint(fmt.Errorf("%s: being repaired by %s", path, n), "Wait until it is done.")
		}
	}
	return hint(fmt.Errorf("%s: mounted by %s", path, strings.Join(names, ", ")),
		"Unmount it on every node first, or look without changing anything: covol fsck -n %s", path)
}

// print shows what a check has found.
func (o *fsckOptions) print(r *check.Report) error {
	if !o.asJSON {
		return r.WriteText(o.out, check.Info)
	}
	return o.printJSON(r, nil)
}

// printJSON shows a report, with what was done if rep is not nil.
func (o *fsckOptions) printJSON(r *check.Report, rep *check.RepairReport) error {
	all := map[string]any{"replayed": []check.Replayed{}, "repaired": []check.Repaired{}}
	parts := []any{r}
	if rep != nil {
		parts = append(parts, rep)
	}
	for _, part := range parts {
		raw, err := json.Marshal(part)
		if err == nil {
			err = json.Unmarshal(raw, &all)
		}
		if err != nil {
			return err
		}
	}
	return writeJSON(o.out, all)
}
