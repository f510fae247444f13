package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/covol/covol/bench/host"
)

// perDirectory is how many files of the metadata work are in one directory.
const perDirectory = 1000

// Metadata work goes over the same files, in this order; the last takes them away.
var metaWorks = []work{
	metaWork("create empty files", func(name string) error {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		return f.Close()
	}),
	coldWork(metaWork("stat, cold kernel caches", stat)),
	metaWork("stat again", stat),
	coldWork(work{section: "meta", name: "ls -l, cold kernel caches", unit: "files/s", fits: hasMount, run: list}),
	metaWork("rename in a directory", func(name string) error { return os.Rename(name, name+".new") }),
	metaWork("unlink", func(name string) error { return os.Remove(name + ".new") }),
}

func stat(name string) error {
	_, err := os.Lstat(name)
	return err
}

// metaWork does something with every file, and makes it durable: work that a target puts off is counted.
func metaWork(name string, each func(file string) error) work {
	return work{section: "meta", name: name, unit: "files/s", fits: hasMount, run: func(ctx context.Context, b *bench, t *target) (measure, error) {
		began := time.Now()
		for i := range b.o.files {
			dir := filepath.Join(t.mount, "meta", fmt.Sprintf("d%d", i/perDirectory))
			if i%perDirectory == 0 {
				if err := ctx.Err(); err != nil {
					return measure{}, err
				}
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return measure{}, err
				}
			}
			if err := each(filepath.Join(dir, fmt.Sprintf("a file with number %d", i))); err != nil {
				return measure{}, err
			}
		}
		if err := host.Run("sync", "-f", t.mount); err != nil {
			return measure{}, err
		}
		return rate(b.o.files, began), nil
	}}
}

// list reads the directories with the attributes of all files.
func list(_ context.Context, b *bench, t *target) (measure, error) {
	began, seen := time.Now(), 0
	for i := 0; i < b.o.files; i += perDirectory {
		entries, err := os.ReadDir(filepath.Join(t.mount, "meta", fmt.Sprintf("d%d", i/perDirectory)))
		if err != nil {
			return measure{}, err
		}
		for _, e := range entries {
			if _, err := e.Info(); err != nil {
				return measure{}, err
			}
			seen++
		}
	}
	if seen != b.o.files {
		return measure{}, fmt.Errorf("%d of %d files are there", seen, b.o.files)
	}
	return rate(seen, began), nil
}

func rate(n int, began time.Time) measure {
	return measure{value: float64(n) / time.Since(began).Seconds(), ops: n}
}

// coldWork begins with empty caches of the kernel.
func coldWork(w work) work {
	run := w.run
	w.run = func(ctx context.Context, b *bench, t *target) (measure, error) {
		if err := dropCaches(); err != nil {
			return measure{}, err
		}
		return run(ctx, b, t)
	}
	return w
}

// dropCaches empties the kernel's page cache, and its caches of names and inodes.
func dropCaches() error {
	if err := host.Run("sync"); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200)
}
