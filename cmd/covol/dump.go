package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/dump"
)

type dumpOptions struct {
	asJSON   bool
	out, err io.Writer
}

func newDump() *cobra.Command {
	o := &dumpOptions{}
	cmd := &cobra.Command{
		Use:   "dump DEVICE [superblock|slots|group N|inode N|journal N|block N|path P]",
		Short: "Print structures of a volume",
		Long: `Print structures of a volume as they lie on the device. It only reads, and may be used on
a mounted volume; what a node has not written home yet is not seen. Without a second
argument it prints the superblock.`,
		Example: "  covol dump lun.img\n  covol dump lun.img path /vm/disk.img\n  covol dump --json lun.img slots",
		Args:    args(1, 3),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.out, o.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return o.run(cmd.Context(), a)
		},
		ValidArgsFunction: func(_ *cobra.Command, a []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(a) == 1 {
				return []string{"superblock", "slots", "group", "inode", "journal", "block", "path"}, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	addJSON(cmd, &o.asJSON)
	return cmd
}

func (o *dumpOptions) run(ctx context.Context, a []string) error {
	dev, err := openDevice(a[0], filedev.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer dev.Close()
	super, note, err := openSuper(ctx, dev)
	if err != nil {
		return err
	}
	if note != nil {
		fmt.Fprintf(o.err, "covol: %s\n", note)
	}
	err = dump.Dump(ctx, o.out, dev, super, a[1:], o.asJSON)
	if errors.Is(err, dump.ErrUsage) {
		return hint(err, "See: covol dump --help")
	}
	return err
}
