package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/covol/covol/bench/host"
)

// programWorks are what people do with a filesystem.
var programWorks = []work{
	programWork("tar x of a source tree", []string{"tar"}, func(b *bench, t *target) []string {
		return []string{"tar", "-xf", filepath.Join(b.dir, "tree.tar"), "-C", t.mount}
	}, "tree"),
	programWork("rsync -aH of a source tree", []string{"rsync"}, func(b *bench, t *target) []string {
		return []string{"rsync", "-aH", filepath.Join(b.dir, "tree"), t.mount + "/copy"}
	}, "copy"),
	programWork("qemu-img convert, 512 MiB qcow2 to raw", []string{"qemu-img"}, func(b *bench, t *target) []string {
		return []string{"qemu-img", "convert", "-t", "none", "-O", "raw", filepath.Join(b.dir, "image.qcow2"), filepath.Join(t.mount, "image.raw")}
	}, "image.raw"),
}

// programWork runs a command until what it wrote is durable. What it left behind is taken away before it runs again.
func programWork(name string, needs []string, command func(*bench, *target) []string, leaves string) work {
	fits := func(t *target) bool {
		for _, p := range needs {
			if _, err := exec.LookPath(p); err != nil {
				return false
			}
		}
		return hasMount(t)
	}
	return work{section: "programs", name: name, unit: "s", less: true, fits: fits, run: func(ctx context.Context, b *bench, t *target) (measure, error) {
		if err := b.prepare(); err != nil {
			return measure{}, err
		}
		if err := os.RemoveAll(filepath.Join(t.mount, leaves)); err != nil {
			return measure{}, err
		}
		if err := host.Run("sync", "-f", t.mount); err != nil {
			return measure{}, err
		}
		began := time.Now()
		args := command(b, t)
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return measure{}, fmt.Errorf("%s: %w: %s", args[0], err, out)
		}
		if err := host.Run("sync", "-f", t.mount); err != nil {
			return measure{}, err
		}
		return measure{value: time.Since(began).Seconds(), ops: 1}, nil
	}}
}

// prepare makes what the programs read: the sources of Go's own library, and an image of which half is data.
func (b *bench) prepare() error {
	tree, image := filepath.Join(b.dir, "tree"), filepath.Join(b.dir, "image.qcow2")
	if _, err := os.Stat(image); err == nil {
		return nil
	}
	goroot := host.Text("go", "env", "GOROOT")
	raw := filepath.Join(b.dir, "image.tmp")
	for _, c := range [][]string{
		{"cp", "-r", filepath.Join(goroot, "src"), tree},
		{"tar", "-cf", tree + ".tar", "-C", b.dir, "tree"},
		{"dd", "if=/dev/urandom", "of=" + raw, "bs=1M", "count=256", "status=none"},
		{"truncate", "-s", "512M", raw},
		{"qemu-img", "convert", "-O", "qcow2", raw, image},
	} {
		if err := host.Run(c...); err != nil {
			return err
		}
	}
	return os.Remove(raw)
}
