package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

type mountOptions struct {
	node      string
	bind      string
	join      []string
	transport string
	oneHost   bool
	security  securityFlags
	fence     []string
	watchdog  string
	logLevel  string
	stateDir  string
	out, err  io.Writer
}

func newMount() *cobra.Command {
	o := &mountOptions{}
	cmd := &cobra.Command{
		Use:   "mount DEVICE DIR --node NAME",
		Short: "Join a volume as a node and mount it",
		Long: `Join the cluster of a volume as node NAME and mount it on DIR. Stays in the foreground and
prints "covol: mounted DEVICE on DIR" when programs may use it; messages go to standard
error.

Leave by SIGTERM, SIGINT, "covol umount DIR" or umount(8): everything is written home, locks
and slot are given back. After a crash or kill -9 mount again with the same name: the journal
is replayed first, and a dead mount left at DIR is cleared.

Nodes find each other through the device and talk over TCP with TLS, as the cluster directory
of this host says, see "covol cluster". Without one they talk in clear, which is allowed
between nodes of one host, and elsewhere with --insecure only.`,
		Example: "  covol mount lun.img /csv/volume1 --node a\n  covol mount /dev/sdb /csv/volume1 --node host1 --bind 10.0.0.1:7800",
		Args:    args(2, 2),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.out, o.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return o.run(cmd.Context(), a)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.node, "node", "", "name of this node, unique on the volume (default: the name in the cluster directory, else the host's name)")
	f.StringVar(&o.bind, "bind", "", "HOST:PORT where other nodes reach this one (default: any port; of 127.0.0.1 if only this host sees the device, else of the host's first address)")
	f.StringSliceVar(&o.join, "join", nil, "HOST:PORT[,...] of nodes to tell of this one at once; a warning if none answers")
	f.StringVar(&o.transport, "transport", "auto", "how to talk to the kernel: auto, bazil, uring")
	f.BoolVar(&o.oneHost, "one-host", false, "no other host sees this block device, so locks of this host's kernel decide (files and loop devices: always so)")
	addStateDir(cmd, &o.stateDir)
	o.security.add(cmd)
	f.StringSliceVar(&o.fence, "fence", []string{fenceAuto}, "how to prove that a silent node is dead, best first: auto, or METHOD[,METHOD] of host, lease, command=PATH")
	f.StringVar(&o.watchdog, "watchdog", "", "hardware watchdog, such as /dev/watchdog0: resets this host if the node hangs or loses its lease")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	_ = cmd.RegisterFlagCompletionFunc("transport", cobra.FixedCompletions([]string{"auto", "bazil", "uring"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// check holds the options to what they may be, before anything is touched.
func (o *mountOptions) check() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return 0, fmt.Errorf("--log-level %q: want debug, info, warn or error", o.logLevel)
	}
	if o.node == "" && !o.security.used() {
		name, err := os.Hostname()
		if err != nil {
			return 0, hint(fmt.Errorf("name of this host: %w", err), "Give one: --node NAME")
		}
		o.node = name
	}
	if o.node != "" {
		if err := checkName(o.node); err != nil {
			return 0, err
		}
	}
	if o.bind != "" {
		if err := checkBind(o.bind); err != nil {
			return 0, err
		}
	}
	if err := checkJoin(o.join); err != nil {
		return 0, err
	}
	if err := fencing(o.fence).check(); err != nil {
		return 0, err
	}
	switch o.transport {
	case "auto", "bazil":
		return level, nil
	case "uring":
		return 0, hint(errors.New("--transport uring: this build has no FUSE transport over io_uring"), "Use --transport auto.")
	}
	return 0, fmt.Errorf("--transport %q: want auto, bazil or uring", o.transport)
}

func (o *mountOptions) run(ctx context.Context, a []string) error {
	level, err := o.check()
	if err != nil {
		return err
	}
	device := a[0]
	if _, err := os.Stat(device); err != nil && !isRemote(device) {
		return hint(fmt.Errorf("device: %w", err), "Give a block device or an image file made by covol mkfs.")
	}
	dir, err := checkMountPoint(a[1])
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(o.err, &slog.HandlerOptions{Level: level}))
	slog.SetDefault(log)
	secure, err := o.security.open(o.node, log)
	if err != nil {
		return err
	}
	if secure.creds != nil {
		o.node = secure.creds.Member().Info.Node
	}
	s := newSession(dir, nodeConfig{
		Device: device, Name: o.node, Bind: o.bind, Join: o.join, OneHost: o.oneHost, Fence: o.fence, Watchdog: o.watchdog,
		Secure: secure, StateDir: o.stateDir, Log: log,
	})
	ln, err := listenControl(dir)
	if err != nil {
		return err
	}
	control := serveControl(ln, s)
	err = o.serve(ctx, s, fmt.Sprintf("covol: mounted %s on %s\n", shown(device), a[1]))
	s.finish(err)
	control.close()
	return err
}

// serve mounts, waits for the end and leaves. A signal while mounting gives up; one while leaving is ignored.
func (o *mountOptions) serve(ctx context.Context, s *session, ready string) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for sig := range signals {
			s.log.Info("signal", "signal", sig.String())
			s.end()
		}
	}()
	go func() {
		<-s.askedCh
		cancel(errors.New("asked to stop while mounting"))
	}()
	if err := s.startWithin(ctx); err != nil {
		return err
	}
	if _, err := io.WriteString(o.out, ready); err != nil {
		s.log.Warn("standard output", "err", err)
	}
	select {
	case <-s.askedCh:
	case <-s.mount.Done():
	}
	return s.leave()
}

// quietLog is for tools that join a cluster: only what is serious, the rest is in
// the error that they end with.
func quietLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}
