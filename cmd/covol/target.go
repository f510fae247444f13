package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covol/covol/iscsi/chap"
	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/iscsi/store"
)

const (
	defaultPortal = "127.0.0.1:3260"
	targetPrefix  = "iqn.2026-11.org.covol:"
)

func newTarget() *cobra.Command {
	cmd := &cobra.Command{
		Use: "target", Short: "Serve a disk to this cluster by iSCSI",
		Long: `An iSCSI target for labs and small clusters: files or block devices become logical units, with
persistent reservations that fence and COMPARE AND WRITE.`,
		Example: "  covol target serve --lun /tmp/lun.img,size=8G\n  covol target status",
		Args:    args(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTargetServe(), newTargetStatus())
	return cmd
}

// lunFlag is FILE[,size=N].
type lunFlag struct {
	path string
	size byteSize
}

func parseLUN(s string) (lunFlag, error) {
	path, options, _ := strings.Cut(s, ",")
	l := lunFlag{path: path}
	if path == "" {
		return l, fmt.Errorf("--lun %q: want FILE[,size=SIZE]", s)
	}
	for _, o := range strings.FieldsFunc(options, func(r rune) bool { return r == ',' }) {
		size, ok := strings.CutPrefix(o, "size=")
		if !ok {
			return l, fmt.Errorf("--lun %q: unknown option %q", s, o)
		}
		if err := l.size.Set(size); err != nil {
			return l, fmt.Errorf("--lun %q: %w", s, err)
		}
	}
	return l, nil
}

func parseCHAP(flag, s string) (chap.Secret, error) {
	if s == "" {
		return chap.Secret{}, nil
	}
	user, secret, ok := strings.Cut(s, ":")
	if !ok || user == "" || secret == "" {
		return chap.Secret{}, fmt.Errorf("--%s: want USER:SECRET", flag)
	}
	return chap.Secret{Name: user, Secret: secret}, nil
}

// openUnits opens the stores behind the units. closeAll gives them back.
func openUnits(luns []string, units func(path string) scsi.Options) (server *scsi.Server, closeAll func() error, err error) {
	var files []*store.File
	closeAll = func() error {
		var errs []error
		for _, f := range files {
			errs = append(errs, f.Flush(context.Background()), f.Close())
		}
		return errors.Join(errs...)
	}
	byNumber := map[int]*scsi.Unit{}
	for i, s := range luns {
		l, err := parseLUN(s)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		f, err := store.Open(l.path, int64(l.size))
		if err != nil {
			return nil, nil, errors.Join(hint(err, "A file is made when its size is given: --lun %s,size=8G", l.path), closeAll())
		}
		files = append(files, f)
		if byNumber[i], err = scsi.NewUnit(f, units(l.path)); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s: %w", l.path, err), closeAll())
		}
	}
	server, err = scsi.NewServer(byNumber)
	return server, closeAll, err
}

// unitIdentity names a unit by where its store is, so that it is the same after a restart.
func unitIdentity(path string) (serial string, id uint64) {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(path))
	return fmt.Sprintf("%016x", h.Sum64()), h.Sum64()
}
