package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/mkfs"
	"github.com/covol/covol/ondisk/volume"
)

type mkfsOptions struct {
	label       string
	clusterSize byteSize
	slots       uint32
	journalSize byteSize
	profile     string
	force       bool
	noDiscard   bool
	asJSON      bool
	out, err    io.Writer
}

func newMkfs() *cobra.Command {
	o := &mkfsOptions{}
	cmd := &cobra.Command{
		Use:   "mkfs [flags] DEVICE",
		Short: "Make a volume on a device or image file",
		Long: `Make a volume on a block device or an image file, from 256 MiB to 64 TiB.

What is on the device is lost. A device that holds something is refused unless --force
is given; one that a node has mounted is refused always.`,
		Example: "  truncate -s 10G lun.img\n  covol mkfs --label images lun.img\n  covol mkfs --label images --slots 8 --profile san /dev/mapper/lun7",
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.out, o.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return o.run(cmd.Context(), a)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.label, "label", "", "name of the volume, at most 64 bytes")
	f.Var(&o.clusterSize, "cluster-size", "unit of allocation, 4K to 1M (default 64K; 4K on volumes below 2G)")
	f.Uint32Var(&o.slots, "slots", 0, "how many nodes may mount it at a time (default by size: 4, 8 or 16)")
	f.Var(&o.journalSize, "journal-size", "journal of each node (default 1/512 of the volume, 4M to 256M)")
	f.StringVar(&o.profile, "profile", "default", "times of heartbeat and lease: "+profileNames())
	f.BoolVar(&o.force, "force", false, "overwrite what is on the device")
	f.BoolVar(&o.noDiscard, "no-discard", false, "do not discard the device's old content first")
	addJSON(cmd, &o.asJSON)
	_ = cmd.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions(profiles(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func profiles() []string {
	var names []string
	for _, p := range ondisk.Profiles {
		names = append(names, p.Name)
	}
	return names
}

func profileNames() string { return strings.Join(profiles(), ", ") }

func (o *mkfsOptions) run(ctx context.Context, a []string) error {
	path := a[0]
	dev, err := openDevice(path, filedev.Options{Exclusive: true})
	if err != nil {
		return err
	}
	defer dev.Close()
	bar := newProgress(o.err)
	defer bar.done()
	super, err := mkfs.Format(ctx, dev, mkfs.Options{
		Label: o.label, ClusterSize: uint32(min(o.clusterSize, 1<<32-1)), Slots: o.slots, JournalBytes: int64(o.journalSize),
		Profile: o.profile, Force: o.force, NoDiscard: o.noDiscard,
		InUse:    func() error { return o.inUse(ctx, dev) },
		Progress: func(done, total int64) { bar.update("format", done, total) },
	})
	bar.done()
	if err != nil {
		return mkfsHint(shown(path), fmt.Errorf("mkfs %s: %w", shown(path), err))
	}
	return o.print(shown(path), super)
}

// inUse refuses a volume that any node may have mounted. A device without a volume is nobody's.
func (o *mkfsOptions) inUse(ctx context.Context, dev device) error {
	super, _, err := volume.Open(ctx, dev)
	if err != nil {
		return nil // Format itself looks at what is there
	}
	names, err := inUseBy(ctx, dev, super, func(s string) { fmt.Fprintln(o.err, "covol:", s) })
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("mounted by %s", strings.Join(names, ", "))
	}
	return nil
}

func mkfsHint(path string, err error) error {
	switch {
	case errors.Is(err, mkfs.ErrInUse):
		return hint(err, "Unmount it on every node first (covol umount DIR); --force does not override this.")
	case errors.Is(err, mkfs.ErrOccupied):
		return hint(err, "Nothing was changed. If its content may be lost: covol mkfs --force %s", path)
	case errors.Is(err, mkfs.ErrTooSmall):
		return hint(err, "A volume needs at least 256 MiB, more with many slots or large journals.")
	case errors.Is(err, mkfs.ErrOption):
		return hint(err, "See: covol mkfs --help")
	}
	return err
}

type mkfsResult struct {
	Device       string `json:"device"`
	UUID         string `json:"uuid"`
	Label        string `json:"label"`
	Size         int64  `json:"size"`
	Free         int64  `json:"free"`
	ClusterSize  int64  `json:"cluster_size"`
	Slots        uint32 `json:"slots"`
	JournalSize  int64  `json:"journal_size"`
	Groups       uint32 `json:"groups"`
	Profile      string `json:"profile"`
	TakeoverTime string `json:"takeover_time"`
}

func (o *mkfsOptions) print(path string, s *ondisk.Super) error {
	r := mkfsResult{
		Device: path, UUID: s.UUID.String(), Label: s.Label, Size: int64(s.Blocks) * ondisk.BlockSize,
		Free: int64(s.FreeClusters) * int64(s.ClusterSize), ClusterSize: int64(s.ClusterSize), Slots: s.Slots,
		JournalSize: int64(s.JournalBlocks) * ondisk.BlockSize, Groups: s.Groups, Profile: s.Profile.Name,
		TakeoverTime: s.Profile.Wait().String(),
	}
	if o.asJSON {
		return writeJSON(o.out, r)
	}
	_, err := fmt.Fprintf(o.out, `covol volume on %s
  label     %s
  uuid      %s
  size      %s, %s free, clusters of %s in %d groups
  nodes     %d slots with a journal of %s each
  profile   %s: a silent node counts as dead after %s
Mount it with: covol mount %s DIR --node NAME
`, r.Device, or(r.Label, "(none)"), r.UUID, bytesText(r.Size), bytesText(r.Free), bytesText(r.ClusterSize), r.Groups,
		r.Slots, bytesText(r.JournalSize), r.Profile, r.TakeoverTime, r.Device)
	return err
}

func or(s, standard string) string {
	if s == "" {
		return standard
	}
	return s
}
