package integration

import (
	"fmt"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// fioCase is a way to write.
type fioCase struct {
	name string
	args []string
}

var fioCases = []fioCase{
	{"direct", []string{"--direct=1", "--ioengine=libaio", "--iodepth=16", "--rw=randwrite", "--bs=4k"}},
	{"buffered", []string{"--direct=0", "--ioengine=psync", "--rw=randwrite", "--bs=4k", "--fsync=512"}},
	{"sizes", []string{"--direct=0", "--ioengine=psync", "--rw=randwrite", "--bsrange=512-96k", "--bs_unaligned=1"}},
	{"sequential", []string{"--direct=1", "--ioengine=libaio", "--iodepth=8", "--rw=write", "--bs=1M"}},
}

// TestFio writes on three nodes at once, each its own image, and lets every node verify what another has written.
func TestFio(t *testing.T) {
	fio := tool(t, "fio", "fio")
	l := newLab(t, labOptions{nodes: 3, size: "2G"})
	size := fmt.Sprintf("--size=%dM", scaled(t, 16))
	for _, c := range fioCases {
		t.Run(c.name, func(t *testing.T) {
			// job runs fio on all nodes at once; node i uses the image of node i+shift.
			job := func(what string, shift int, args ...string) {
				var wg sync.WaitGroup
				for i, n := range l.nodes {
					owner := (i + shift) % len(l.nodes)
					all := append([]string{"--name=" + c.name, "--filename=" + n.path(fmt.Sprintf("%s-%d.img", c.name, owner+1)), size,
						fmt.Sprintf("--randseed=%d", 1000+owner), "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0"}, c.args...)
					wg.Go(func() {
						cmd := exec.Command(fio, append(all, args...)...)
						cmd.Dir = l.dir
						out, err := cmd.CombinedOutput()
						assert.NoError(t, err, "%s: %s on %s\n%s", c.name, what, n.name, out)
					})
				}
				wg.Wait()
			}
			job("write and verify", 0, "--do_verify=1")
			job("verify of the next node's", 1, "--verify_only=1")
			job("write over the next node's", 1, "--do_verify=0")
			job("verify of that", 2, "--verify_only=1")
		})
	}
}
