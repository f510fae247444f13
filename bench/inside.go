package main

import (
	"context"
	"io"
	"log/slog"
	"syscall"

	"github.com/covol/covol/bench/host"
	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/fs"
	"github.com/covol/covol/member"
	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/volume"
)

// rawDisk is the device, as covol reaches it.
type rawDisk struct{ *filedev.Device }

func (d rawDisk) WriteAt(ctx context.Context, p []byte, off int64) error {
	return d.Device.WriteAt(ctx, p, off, false)
}
func (d rawDisk) Sync(ctx context.Context) error { return d.Flush(ctx) }

func openRaw(_ context.Context, _ options, t *target) error {
	dev, err := filedev.Open(t.loop, filedev.Options{OneHost: true})
	if err != nil {
		return err
	}
	t.disk, t.closer = rawDisk{dev}, func() { _ = dev.Close() }
	return nil
}

// fileDisk is a file of a volume that this process has mounted: the road of a VM's disk, with lease and locks but
// without FUSE.
type fileDisk struct{ fs.File }

func (d fileDisk) ReadAt(ctx context.Context, p []byte, off int64) error {
	short := false
	err := d.Read(ctx, p, off, false, func(n int) { short = n < len(p) })
	if err == nil && short {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (d fileDisk) WriteAt(ctx context.Context, p []byte, off int64) error {
	_, err := d.Write(ctx, p, off)
	return err
}

func (d fileDisk) Sync(ctx context.Context) error { return d.File.Sync(ctx, true) }

// openVolume makes this process the only node of a volume.
func openVolume(ctx context.Context, o options, t *target) error {
	if err := host.Run(o.covol, "mkfs", "--force", t.loop); err != nil {
		return err
	}
	var devs [2]*filedev.Device
	t.closer = func() {}
	for i := range devs {
		dev, err := filedev.Open(t.loop, filedev.Options{OneHost: true})
		if err != nil {
			return err
		}
		devs[i], t.closer = dev, before(func() { _ = dev.Close() }, t.closer)
	}
	super, _, err := volume.Open(ctx, devs[0])
	if err != nil {
		return err
	}
	machine, err := cluster.LocalMachine()
	if err != nil {
		return err
	}
	node, err := member.Start(ctx, member.Config{
		Data: devs[0], Beat: devs[1], Super: super, Name: "bench", Addr: "127.0.0.1:0", Host: devs[1], Machine: machine,
		Sched: sched.Real{}, Log: slog.New(slog.DiscardHandler),
		Network: func(view.NodeID, func()) (dlm.Transport, dlm.Transport, error) { return nobody{}, nobody{}, nil },
	})
	if err != nil {
		return err
	}
	t.closer = before(func() { _ = node.Leave(context.Background()) }, t.closer)
	v := node.Volume()
	return v.Create(ctx, fs.Caller{}, v.Root(), fileName, syscall.S_IFREG|0o600, syscall.O_RDWR, func(_ fs.Attr, f fs.File) {
		t.disk, t.closer = fileDisk{f}, before(func() { _ = f.Release(context.Background()) }, t.closer)
	})
}

// before does first, then what was to be done already.
func before(first, then func()) func() {
	return func() {
		first()
		then()
	}
}

// nobody is the network of a node that is alone.
type nobody struct{}

func (nobody) Send(view.Slot, []byte)         {}
func (nobody) Handle(func(view.Slot, []byte)) {}
func (nobody) SetMembers([]view.Member)       {}
func (nobody) Close() error                   { return nil }
