package integration

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk/blockdev"
)

const (
	sectors    = 6    // registers in the shared file
	sectorSize = 4096 // of each
	latches    = 3    // names that are renamed from value to value
)

// regInput is one operation of the history. The key says which object: sectors, then latches.
type regInput struct {
	key      int
	write    bool
	old, new uint64 // a write of a sector: new; of a latch: from old to new
}

// regOutput is its answer. An operation whose answer never came has unknown set and is taken to be under way for ever.
type regOutput struct {
	unknown bool
	value   uint64 // that was read
	ok      bool   // the latch was old
}

// registers are shared objects that all nodes use at once, with the history of what each saw.
//
// A sector is read and written by O_DIRECT: what the kernel has answered is on the disk. A latch is a file whose name is
// its value; a rename is a compare-and-swap. What a node sees of names may not be durable yet, and what a kernel
// remembers may be old once its node is frozen; so an answer counts when the directory has been synced after it. A name
// is never used again: the kernel takes a rename to another name of the same file for done without asking anybody, and it
// looks up the two names one after the other.
type registers struct {
	start time.Time

	mu sync.Mutex
	// GUARDED_BY(mu)
	history []porcupine.Operation
	// GUARDED_BY(mu): values before the history
	initial [sectors + latches]uint64
	// GUARDED_BY(mu)
	values uint64
}

const (
	sectorFile = "registers"
	latchDir   = "latches"
)

func latchPath(dir string, k int, value uint64) string { return fmt.Sprintf("%s/%d.%d", dir, k, value) }

// newRegisters makes the objects, durably.
func newRegisters(n *node) *registers {
	t := n.lab.t
	require.NoError(t, writeSync(n.path(sectorFile), make([]byte, sectors*sectorSize), os.O_CREATE))
	require.NoError(t, os.Mkdir(n.path(latchDir), 0o755))
	for k := range latches {
		require.NoError(t, writeSync(latchPath(n.path(latchDir), k, 0), nil, os.O_CREATE))
	}
	require.NoError(t, syncDir(n.path(latchDir)))
	require.NoError(t, syncDir(n.dir))
	return &registers{start: time.Now()}
}

// sectorClient reads and writes sectors from node n until stop or the first error.
func (r *registers) sectorClient(n *node, rng *rand.Rand, m *meter, stop <-chan struct{}) error {
	f, err := os.OpenFile(n.path(sectorFile), os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := blockdev.Alloc(sectorSize)
	for !stopped(stop) {
		in := regInput{key: rng.IntN(sectors), write: rng.IntN(2) == 0}
		var out regOutput
		if in.write {
			in.new = r.fresh()
			fill(buf, in.new)
		}
		err := r.record(n, in, &out, m, func() (err error) {
			if in.write {
				_, err = f.WriteAt(buf, int64(in.key)*sectorSize)
				return err
			}
			if _, err = f.ReadAt(buf, int64(in.key)*sectorSize); err == nil {
				out.value, err = whole(buf)
			}
			return err
		})
		if err != nil {
			return err
		}
		time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
	}
	return nil
}

// latchClient moves and looks at latches from node n until stop or the first error.
func (r *registers) latchClient(n *node, rng *rand.Rand, m *meter, stop <-chan struct{}) error {
	dir := n.path(latchDir)
	var known [latches]uint64
	for !stopped(stop) {
		k := rng.IntN(latches)
		in := regInput{key: sectors + k}
		var out regOutput
		err := r.record(n, in, &out, m, func() error {
			all, err := readLatches(dir)
			out.value = all[k]
			return errors.Join(err, syncDir(dir))
		})
		if err != nil {
			return err
		}
		known[k] = out.value
		time.Sleep(time.Duration(rng.IntN(6)) * time.Millisecond)
		k = rng.IntN(latches)
		in = regInput{key: sectors + k, write: true, old: known[k], new: r.fresh()}
		err = r.record(n, in, &out, m, func() error {
			err := os.Rename(latchPath(dir, k, in.old), latchPath(dir, k, in.new))
			if out.ok = err == nil; errors.Is(err, syscall.ENOENT) {
				err = nil
			}
			return errors.Join(err, syncDir(dir))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readLatches looks at all latches at once. A directory that changes while it is read may show the old and the new name:
// then it is read again.
func readLatches(dir string) (v [latches]uint64, err error) {
	for {
		names, err := os.ReadDir(dir)
		if err != nil {
			return v, err
		}
		found := [latches]int{}
		for _, e := range names {
			var k int
			var value uint64
			if _, err := fmt.Sscanf(e.Name(), "%d.%d", &k, &value); err != nil || k < 0 || k >= latches {
				return v, fmt.Errorf("latches: foreign name %q", e.Name())
			}
			v[k] = value
			found[k]++
		}
		if slices.Contains(found[:], 0) {
			return v, fmt.Errorf("a latch has no name: %v", found)
		}
		if slices.Max(found[:]) == 1 {
			return v, nil
		}
	}
}

// record runs one operation and writes it down. One that failed may have been done, may be done later, or never.
func (r *registers) record(n *node, in regInput, out *regOutput, m *meter, op func() error) error {
	begin := time.Since(r.start)
	err := m.time(op)
	end := int64(time.Since(r.start))
	if err != nil {
		if !in.write {
			return err
		}
		*out, end = regOutput{unknown: true}, math.MaxInt64
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, porcupine.Operation{ClientId: n.number(), Input: in, Call: int64(begin), Output: *out, Return: end})
	return err
}

func (r *registers) fresh() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values++
	return r.values
}

func fill(buf []byte, v uint64) {
	for i := 0; i < len(buf); i += 8 {
		binary.LittleEndian.PutUint64(buf[i:], v)
	}
}

var errTorn = errors.New("a sector has parts of two writes")

func whole(buf []byte) (uint64, error) {
	v := binary.LittleEndian.Uint64(buf)
	for i := 8; i < len(buf); i += 8 {
		if w := binary.LittleEndian.Uint64(buf[i:]); w != v {
			return v, fmt.Errorf("%w: %d and, at %d, %d", errTorn, v, i, w)
		}
	}
	return v, nil
}

func stopped(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// model is what the objects must look like: registers, one for each key.
func (r *registers) model() porcupine.Model {
	initial := r.initial
	return porcupine.Model{
		Partition: func(h []porcupine.Operation) [][]porcupine.Operation {
			parts := make([][]porcupine.Operation, sectors+latches)
			for _, op := range h {
				k := op.Input.(regInput).key
				parts[k] = append(parts[k], op)
			}
			return parts
		},
		Init: func() any { return regState{} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(regState), input.(regInput), output.(regOutput)
			if !s.known {
				s = regState{true, initial[in.key]}
			}
			ok, next := in.step(s.value, out)
			return ok, regState{true, next}
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
	}
}

// regState is the state of one key; not known: what it was before the history.
type regState struct {
	known bool
	value uint64
}

func (in regInput) step(v uint64, out regOutput) (legal bool, next uint64) {
	switch {
	case !in.write:
		return out.value == v, v
	case in.key < sectors:
		return true, in.new
	case out.unknown && v == in.old, out.ok:
		return v == in.old, in.new
	case out.unknown:
		return true, v
	}
	return v != in.old, v
}

// judge requires that the history has an order in which it makes sense, that all nodes see the same now, and that this is
// the history's end. Nobody may be using the objects. The next history begins here.
func (r *registers) judge(nodes []*node) {
	t := nodes[0].lab.t
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := int64(time.Since(r.start))
	var last [sectors + latches]uint64
	for i, n := range nodes {
		values, err := look(n)
		if !assert.NoError(t, err, "registers on %s", n.name) {
			return
		}
		if i > 0 && !assert.Equal(t, last, values, "registers on %s and on %s", nodes[i-1].name, n.name) {
			return
		}
		last = values
	}
	for k, v := range last {
		in, out := regInput{key: k}, regOutput{value: v}
		r.history = append(r.history, porcupine.Operation{ClientId: 0, Input: in, Call: now, Output: out, Return: now + 1})
	}
	model := r.model()
	result, info := porcupine.CheckOperationsVerbose(model, r.history, 30*time.Second)
	if result == porcupine.Unknown {
		t.Logf("no verdict on %d operations in 30 s", len(r.history))
	}
	if result == porcupine.Illegal {
		assert.Fail(t, "no order of these operations makes sense", "%s", r.illegal(model))
		nodes[0].lab.keepWith("history.html", func(path string) error { return porcupine.VisualizePath(model, info, path) })
	}
	r.history, r.initial = nil, last
}

// illegal names the objects whose operations make no sense, with the last of them.
func (r *registers) illegal(model porcupine.Model) string {
	var b strings.Builder
	for k, part := range model.Partition(r.history) {
		if !porcupine.CheckOperations(model, part) {
			slices.SortFunc(part, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
			// The shortest beginning that makes no sense ends where it went wrong.
			n := sort.Search(len(part), func(n int) bool { return !porcupine.CheckOperations(model, part[:n+1]) }) + 1
			fmt.Fprintf(&b, "object %d, %d operations, wrong from operation %d on\n", k, len(part), n)
			for _, op := range part[max(0, n-12):min(n+3, len(part))] {
				fmt.Fprintf(&b, "  n%d %9.3f ms .. %9.3f ms %s\n", op.ClientId, float64(op.Call)/1e6, float64(op.Return)/1e6, model.DescribeOperation(op.Input, op.Output))
			}
		}
	}
	return b.String()
}

// look reads all objects as node n has them.
func look(n *node) (v [sectors + latches]uint64, err error) {
	f, err := os.OpenFile(n.path(sectorFile), os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return v, err
	}
	defer f.Close()
	buf := blockdev.Alloc(sectorSize)
	for k := range sectors {
		if _, err := f.ReadAt(buf, int64(k)*sectorSize); err != nil {
			return v, err
		}
		if v[k], err = whole(buf); err != nil {
			return v, fmt.Errorf("sector %d: %w", k, err)
		}
	}
	names, err := readLatches(n.path(latchDir))
	copy(v[sectors:], names[:])
	return v, err
}
