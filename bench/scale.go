package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/covol/covol/bench/host"
)

// point is one figure of a curve.
type point struct{ x, y float64 }

// curve is how a figure grows.
type curve struct {
	name   string
	points []point
}

// growth is a family of curves with a plot of its own.
type growth struct {
	title, x, y string
	curves      []curve
}

func (b *bench) scale(ctx context.Context) error {
	nodes, err := b.scaleNodes(ctx)
	if err != nil {
		return err
	}
	b.r.growths = append(b.r.growths, nodes)
	images, err := b.scaleImages(ctx)
	if err != nil {
		return err
	}
	b.r.growths = append(b.r.growths, images)
	return nil
}

// volume makes a volume of so many MiB and mounts it on so many nodes; b.close takes it away.
func (b *bench) volume(name string, mib, nodes int) (*target, error) {
	t := &target{dir: filepath.Join(b.dir, name)}
	b.targets = append(b.targets, t)
	if err := os.MkdirAll(t.mnt(1), 0o755); err != nil {
		return t, err
	}
	if err := t.attach(mib); err != nil {
		return t, err
	}
	return t, t.openCovol(b.o, nodes)
}

// scaled are the works that every node does at once on a file of its own.
var scaled = []data{
	{name: "4 KiB random read, qd 8 a node", block: 4096, random: true, depth: 8, jobs: 1},
	{name: "4 KiB random write, qd 8 a node", block: 4096, random: true, write: true, depth: 8, jobs: 1},
	{name: "4 KiB write + fdatasync", block: 4096, random: true, write: true, depth: 1, jobs: 1, sync: true},
}

// scaleNodes lets 1, 2, ... nodes of one volume work at once.
func (b *bench) scaleNodes(ctx context.Context) (g growth, err error) {
	g = growth{title: "All nodes of one volume at work, each on its own file", x: "nodes", y: "IOPS of all together"}
	defer b.close()
	t, err := b.volume("nodes", b.o.disk, b.o.nodes)
	if err != nil {
		return g, err
	}
	size := min(b.o.size, 256)
	for i := range b.o.nodes {
		if _, err := fio(ctx, "--filename="+t.own(i), fmt.Sprintf("--size=%dM", size), "--rw=write", "--bs=1M", "--direct=1", "--end_fsync=1"); err != nil {
			return g, err
		}
	}
	got := make([][][]float64, len(scaled)) // by work and number of nodes
	for w := range got {
		got[w] = make([][]float64, b.o.nodes)
	}
	for range b.o.reps {
		for w, d := range scaled {
			for n := range b.o.nodes {
				sum, err := b.together(ctx, t, d, size, n+1)
				if err != nil {
					return g, err
				}
				fmt.Fprintf(os.Stderr, "%-34s %d nodes %12.0f IOPS\n", d.name, n+1, sum)
				got[w][n] = append(got[w][n], sum)
			}
		}
	}
	for w, d := range scaled {
		c := curve{name: d.name}
		for n, v := range got[w] {
			c.points = append(c.points, point{float64(n + 1), median(v)})
		}
		g.curves = append(g.curves, c)
	}
	return g, nil
}

func (t *target) own(node int) string {
	return filepath.Join(t.mnt(node+1), fmt.Sprintf("own%d", node))
}

// together is the sum of what n nodes do at once.
func (b *bench) together(ctx context.Context, t *target, d data, size, n int) (sum float64, err error) {
	got, errs := make([]measure, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { got[i], errs[i] = d.fio(ctx, t.own(i), size, b.o.runtime) })
	}
	all.Wait()
	for i := range n {
		if errs[i] != nil {
			return 0, errs[i]
		}
		sum += got[i].value
	}
	return sum, nil
}

// scaleImages writes and reads in ever larger images that were preallocated and are written for the first time.
func (b *bench) scaleImages(ctx context.Context) (g growth, err error) {
	g = growth{title: "One preallocated image, 4 KiB at random places, queue depth 32", x: "GiB of the image", y: "IOPS"}
	defer b.close()
	t, err := b.volume("images", (b.o.images+b.o.images/8+2)<<10, 1)
	if err != nil {
		return g, err
	}
	works := []data{
		{name: "first writes", block: 4096, random: true, write: true, depth: 32, jobs: 1},
		{name: "writes again, and between", block: 4096, random: true, write: true, depth: 32, jobs: 1},
		{name: "reads", block: 4096, random: true, depth: 32, jobs: 1},
	}
	g.curves = make([]curve, len(works))
	for gib := 1; gib <= b.o.images; gib *= 10 {
		got := make([][]float64, len(works))
		for range b.o.reps {
			image := filepath.Join(t.mount, fmt.Sprintf("image%d", gib))
			if err := host.Run("fallocate", "-l", fmt.Sprintf("%dG", gib), image); err != nil {
				return g, err
			}
			for i, d := range works {
				m, err := d.fio(ctx, image, gib<<10, b.o.runtime)
				if err != nil {
					return g, err
				}
				fmt.Fprintf(os.Stderr, "%-34s %4d GiB %12.0f IOPS\n", d.name, gib, m.value)
				got[i] = append(got[i], m.value)
			}
			if err := os.Remove(image); err != nil {
				return g, err
			}
		}
		for i, d := range works {
			g.curves[i].name = d.name
			g.curves[i].points = append(g.curves[i].points, point{float64(gib), median(got[i])})
		}
	}
	return g, nil
}
