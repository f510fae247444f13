package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
)

// workload is what fio does. All of it is O_DIRECT.
type workload struct {
	name string
	unit string
	args []string
}

var workloads = []workload{
	{"4 KiB random read, qd 1", "IOPS", []string{"--rw=randread", "--bs=4k", "--iodepth=1"}},
	{"4 KiB random write, qd 1", "IOPS", []string{"--rw=randwrite", "--bs=4k", "--iodepth=1"}},
	{"4 KiB random read, qd 32", "IOPS", []string{"--rw=randread", "--bs=4k", "--iodepth=32"}},
	{"4 KiB random write, qd 32", "IOPS", []string{"--rw=randwrite", "--bs=4k", "--iodepth=32"}},
	{"1 MiB sequential read", "MiB/s", []string{"--rw=read", "--bs=1M", "--iodepth=4"}},
	{"1 MiB sequential write", "MiB/s", []string{"--rw=write", "--bs=1M", "--iodepth=4"}},
}

func fio(args ...string) ([]byte, error) {
	out, err := exec.Command("fio", append([]string{"--name=bench", "--ioengine=libaio", "--direct=1", "--output-format=json"}, args...)...).Output()
	if err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			err = fmt.Errorf("%w: %s", err, e.Stderr)
		}
		return nil, fmt.Errorf("fio: %w", err)
	}
	return out, nil
}

// measure runs a workload once, in its unit.
func measure(o options, t *target, w workload) (float64, error) {
	seconds := strconv.Itoa(max(1, int(o.runtime.Seconds())))
	out, err := fio(append([]string{"--filename=" + t.file, "--size=" + strconv.Itoa(o.size) + "M", "--time_based", "--runtime=" + seconds, "--ramp_time=300ms"}, w.args...)...)
	if err != nil {
		return 0, err
	}
	var r struct {
		Jobs []struct {
			Read, Write struct {
				IOPS    float64 `json:"iops"`
				BWBytes float64 `json:"bw_bytes"`
			}
		}
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return 0, fmt.Errorf("output of fio: %w", err)
	}
	if len(r.Jobs) != 1 {
		return 0, fmt.Errorf("fio reports %d jobs", len(r.Jobs))
	}
	j := r.Jobs[0]
	if w.unit == "IOPS" {
		return j.Read.IOPS + j.Write.IOPS, nil
	}
	return (j.Read.BWBytes + j.Write.BWBytes) / (1 << 20), nil
}
