package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/iscsi/store"
	"github.com/covol/covol/iscsi/target"
	"github.com/covol/covol/ondisk/sched"
)

type targetServe struct {
	luns, allow  []string
	portal, name string
	chap, mutual string
	logLevel     string
}

func newTargetServe() *cobra.Command {
	o := &targetServe{}
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve files or block devices until it is told to stop", Args: args(0, 0),
		Long: `Serve each --lun as a logical unit, from number 0 on, in the foreground. Ready is said by a line
'covol: serving NAME at PORTAL'. SIGTERM ends it. Registrations with APTPL are kept
beside each unit's file, in FILE.pr.`,
		Example: "  covol target serve --lun /tmp/lun.img,size=8G\n  covol target serve --lun /dev/sdb --portal 10.0.0.5:3260 --chap user:secret12chars",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.luns, "lun", nil, "file or block device, FILE[,size=SIZE]; again for more units")
	f.StringVar(&o.portal, "portal", defaultPortal, "address to serve at")
	f.StringVar(&o.name, "name", "", "iSCSI name of the target (default from the name of the first file)")
	f.StringVar(&o.chap, "chap", "", "USER:SECRET that initiators must prove")
	f.StringVar(&o.mutual, "chap-mutual", "", "USER:SECRET that the target proves in return")
	f.StringArrayVar(&o.allow, "allow", nil, "name of an initiator that may log in; again for more (default all)")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	_ = cmd.MarkFlagRequired("lun")
	return cmd
}

func (o *targetServe) run(cmd *cobra.Command) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	opts := target.Options{Name: o.targetIQN(), Allow: o.allow, Clock: sched.Real{}, Random: rand.Reader, Log: log}
	var err error
	if opts.CHAP, err = parseCHAP("chap", o.chap); err != nil {
		return err
	}
	if opts.Mutual, err = parseCHAP("chap-mutual", o.mutual); err != nil {
		return err
	}
	server, closeAll, err := openUnits(o.luns, func(path string) scsi.Options {
		serial, id := unitIdentity(path)
		return scsi.Options{Serial: serial, ID: id, Keeper: store.Keeper{Path: path + ".pr"}, Log: log}
	})
	if err != nil {
		return err
	}
	opts.Server = server
	return errors.Join(o.serve(cmd, opts), closeAll())
}

// targetIQN is --name, or made of the first file's name.
func (o *targetServe) targetIQN() string {
	if o.name != "" {
		return o.name
	}
	base := filepath.Base(strings.SplitN(o.luns[0], ",", 2)[0])
	return targetPrefix + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, base)
}

func (o *targetServe) serve(cmd *cobra.Command, opts target.Options) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	t, err := target.New(opts)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", o.portal)
	if err != nil {
		return hint(fmt.Errorf("target: %w", err), "Choose another address with --portal.")
	}
	status, err := serveTargetStatus(ln.Addr().String(), opts.Name, t)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	defer status.Close()
	fmt.Fprintf(cmd.OutOrStdout(), "covol: serving %s at %s\n", opts.Name, ln.Addr())
	done := make(chan error, 1)
	go func() { done <- t.Serve(ln) }()
	select {
	case err = <-done:
	case <-ctx.Done():
	}
	return errors.Join(err, t.Close())
}

// targetReport is what covol target status --json prints.
type targetReport struct {
	Name     string           `json:"name"`
	Portal   string           `json:"portal"`
	PID      int              `json:"pid"`
	Sessions []target.Session `json:"sessions"`
}

// targetSocket is where the target at a portal answers.
func targetSocket(portal string) string {
	return filepath.Join(os.TempDir(), "covol-target-"+strings.NewReplacer(":", "-", "[", "", "]", "").Replace(portal)+".sock")
}

func serveTargetStatus(portal, name string, t *target.Target) (net.Listener, error) {
	path := targetSocket(portal)
	_ = os.Remove(path) // the portal is ours, so whoever left it is gone
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("target status: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(targetReport{Name: name, Portal: portal, PID: os.Getpid(), Sessions: t.Status()})
	})}
	go func() { _ = srv.Serve(ln) }()
	return ln, nil
}
