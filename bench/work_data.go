package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"time"
)

// data is a work on one file, as fio or as loop.go does it.
type data struct {
	name     string
	unit     string // IOPS or MiB/s
	block    int    // bytes
	write    bool
	random   bool
	depth    int
	jobs     int
	sync     bool // fdatasync after every write
	buffered bool // through the page cache, with an fsync at the end
}

var dataWorks = func() (all []work) {
	for _, d := range []data{
		{name: "4 KiB random read, qd 1", unit: "IOPS", block: 4096, random: true, depth: 1, jobs: 1},
		{name: "4 KiB random read, qd 32", unit: "IOPS", block: 4096, random: true, depth: 32, jobs: 1},
		{name: "4 KiB random read, qd 32, 4 jobs", unit: "IOPS", block: 4096, random: true, depth: 32, jobs: 4},
		{name: "4 KiB random write, qd 1", unit: "IOPS", block: 4096, random: true, write: true, depth: 1, jobs: 1},
		{name: "4 KiB random write, qd 32", unit: "IOPS", block: 4096, random: true, write: true, depth: 32, jobs: 1},
		{name: "4 KiB random write, qd 32, 4 jobs", unit: "IOPS", block: 4096, random: true, write: true, depth: 32, jobs: 4},
		{name: "4 KiB write + fdatasync", unit: "IOPS", block: 4096, random: true, write: true, depth: 1, jobs: 1, sync: true},
		{name: "1 MiB sequential read, qd 4", unit: "MiB/s", block: 1 << 20, depth: 4, jobs: 1},
		{name: "1 MiB sequential write, qd 4", unit: "MiB/s", block: 1 << 20, write: true, depth: 4, jobs: 1},
		{name: "buffered sequential read", unit: "MiB/s", block: 128 << 10, depth: 1, jobs: 1, buffered: true},
		{name: "buffered sequential write", unit: "MiB/s", block: 128 << 10, write: true, depth: 1, jobs: 1, buffered: true},
	} {
		all = append(all, work{section: "data", name: d.name, unit: d.unit, run: d.run, fits: func(t *target) bool {
			return t.file != "" && !(d.buffered && t.mount == "") || t.disk != nil && !d.buffered
		}})
	}
	return all
}()

func (d data) run(ctx context.Context, b *bench, t *target) (measure, error) {
	if t.file == "" {
		return d.loop(ctx, b.o, t.disk)
	}
	if d.buffered {
		if err := dropCaches(); err != nil {
			return measure{}, err
		}
	}
	return d.fio(ctx, t.file, b.o.size, b.o.runtime)
}

// fio works on a file, or the first size MiB of it.
func (d data) fio(ctx context.Context, file string, size int, runtime time.Duration) (measure, error) {
	rw := "read"
	if d.write {
		rw = "write"
	}
	if d.random {
		rw = "rand" + rw
	}
	args := []string{"--filename=" + file, "--size=" + strconv.Itoa(size) + "M", "--rw=" + rw, "--bs=" + strconv.Itoa(d.block),
		"--iodepth=" + strconv.Itoa(d.depth), "--numjobs=" + strconv.Itoa(d.jobs), "--group_reporting"}
	switch {
	case d.buffered:
		args = append(args, "--ioengine=psync", "--end_fsync=1")
	default:
		args = append(args, "--direct=1", "--time_based", fmt.Sprintf("--runtime=%dms", runtime.Milliseconds()), "--ramp_time=300ms")
	}
	if d.sync {
		args = append(args, "--fdatasync=1")
	}
	out, err := fio(ctx, args...)
	if err != nil {
		return measure{}, err
	}
	m, err := parseFio(out)
	if d.unit == "MiB/s" {
		m.value *= float64(d.block) / (1 << 20)
	}
	return m, err
}

func fio(ctx context.Context, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "fio", append([]string{"--name=bench", "--ioengine=libaio", "--output-format=json", "--randrepeat=0"}, args...)...).Output()
	if e, ok := err.(*exec.ExitError); ok {
		err = fmt.Errorf("%w: %s", err, e.Stderr)
	}
	if err != nil {
		return nil, fmt.Errorf("fio: %w", err)
	}
	return out, nil
}

// parseFio takes operations a second and percentiles from what fio printed. With fdatasync after each write an
// operation is both, so that its latency is not fio's.
func parseFio(out []byte) (measure, error) {
	type side struct {
		IOPS  float64 `json:"iops"`
		Total int     `json:"total_ios"`
		Clat  struct {
			Percentile map[string]float64 `json:"percentile"`
		} `json:"clat_ns"`
	}
	var r struct{ Jobs []struct{ Read, Write side } }
	if err := json.Unmarshal(out, &r); err != nil {
		return measure{}, fmt.Errorf("output of fio: %w", err)
	}
	if len(r.Jobs) != 1 {
		return measure{}, fmt.Errorf("output of fio: %d jobs", len(r.Jobs))
	}
	s := r.Jobs[0].Read
	if s.Total == 0 {
		s = r.Jobs[0].Write
	}
	at := func(p string) time.Duration { return time.Duration(s.Clat.Percentile[p]) }
	return measure{value: s.IOPS, ops: s.Total, p50: at("50.000000"), p99: at("99.000000")}, nil
}
