package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNamesTwo and TestNamesThree let nodes work in one directory at once and account for every name afterwards.
func TestNamesTwo(t *testing.T)   { testNames(t, 2) }
func TestNamesThree(t *testing.T) { testNames(t, 3) }

func testNames(t *testing.T, nodes int) {
	l := newLab(t, labOptions{nodes: nodes})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %#x", seed)
	require.NoError(t, os.Mkdir(l.nodes[0].path("shared"), 0o755))
	r := &rivals{t: t, end: time.Now().Add(time.Duration(scaled(t, 8)) * time.Second), prize: make([]atomic.Int64, 16)}
	require.NoError(t, os.WriteFile(l.nodes[0].path("shared", "token"), []byte("token"), 0o644))
	own := make([]map[string]bool, nodes)
	var wg sync.WaitGroup
	for i, n := range l.nodes {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() { own[i] = r.churn(n.path("shared"), n.name, rng) })
		wg.Go(func() { r.records(n.path("shared", "log"), uint32(i)) })
		draw := rand.New(rand.NewPCG(seed, uint64(100+i)))
		wg.Go(func() { r.compete(n.path("shared"), n.name, draw.IntN) })
		wg.Go(func() { r.pass(n.path("shared"), n.name) })
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	r.account(l, own)
}

// rivals are workers of several nodes in one directory, and what they say they did.
type rivals struct {
	t     *testing.T
	end   time.Time
	wrote [8]atomic.Uint32 // records appended, by node
	prize []atomic.Int64   // 1 while a contested name exists, as its owner sees it
	wins  atomic.Int64
	moves atomic.Int64
	ops   atomic.Int64
}

func (r *rivals) going() bool { return time.Now().Before(r.end) && !r.t.Failed() }

// churn creates, renames, replaces and unlinks names of this node only, and returns those that must exist.
func (r *rivals) churn(dir, node string, rng *rand.Rand) map[string]bool {
	have := map[string]bool{}
	pick := func() string {
		for name := range have {
			return name
		}
		return ""
	}
	for k := 0; r.going(); k++ {
		r.ops.Add(1)
		name := fmt.Sprintf("%s-%06d", node, k)
		path := filepath.Join(dir, name)
		switch old := pick(); {
		case old == "" || rng.IntN(2) == 0:
			f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if !assert.NoError(r.t, err) {
				return have
			}
			_, err = f.WriteString(name)
			assert.NoError(r.t, err)
			assert.NoError(r.t, f.Close())
			have[name] = true
		case rng.IntN(3) == 0:
			assert.NoError(r.t, os.Remove(filepath.Join(dir, old)))
			delete(have, old)
		default:
			// Sometimes onto another name of ours.
			if other := pick(); rng.IntN(3) == 0 && other != old {
				name, path = other, filepath.Join(dir, other)
			}
			assert.NoError(r.t, os.Rename(filepath.Join(dir, old), path))
			delete(have, old)
			have[name] = true
		}
	}
	return have
}

// recordSize is odd, so that records lie across blocks and pages.
const recordSize = 97

// record is one whole record: node, number, filling, checksum.
func record(node, seq uint32) []byte {
	b := make([]byte, recordSize)
	binary.LittleEndian.PutUint32(b, node)
	binary.LittleEndian.PutUint32(b[4:], seq)
	for i := 8; i < recordSize-4; i++ {
		b[i] = byte(seq) + byte(i)
	}
	binary.LittleEndian.PutUint32(b[recordSize-4:], crc32.ChecksumIEEE(b[:recordSize-4]))
	return b
}

// records appends records to a file that all nodes append to.
func (r *rivals) records(path string, node uint32) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if !assert.NoError(r.t, err) {
		return
	}
	defer f.Close()
	for r.going() {
		n, err := f.Write(record(node, r.wrote[node].Load()))
		if !assert.NoError(r.t, err) || !assert.Equal(r.t, recordSize, n) {
			return
		}
		r.wrote[node].Add(1)
	}
}

// compete creates names that others want too. Who wins removes the name; nobody else may win meanwhile.
func (r *rivals) compete(dir, node string, intn func(int) int) {
	for r.going() {
		k := intn(len(r.prize))
		path := filepath.Join(dir, fmt.Sprintf("prize-%02d", k))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if !assert.NoError(r.t, err) {
			return
		}
		if !assert.EqualValues(r.t, 1, r.prize[k].Add(1), "%s has two owners", path) {
			return
		}
		_, err = f.WriteString(node)
		assert.NoError(r.t, err)
		assert.NoError(r.t, f.Close())
		b, err := os.ReadFile(path)
		assert.NoError(r.t, err)
		assert.Equal(r.t, node, string(b), "%s", path)
		r.prize[k].Add(-1)
		if !assert.NoError(r.t, os.Remove(path)) {
			return
		}
		r.wins.Add(1)
	}
}

// pass renames one file that all nodes want: only one rename of each name can succeed.
func (r *rivals) pass(dir, node string) {
	free, mine := filepath.Join(dir, "token"), filepath.Join(dir, "token-"+node)
	for r.going() {
		if err := os.Rename(free, mine); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if !assert.NoError(r.t, err) {
			return
		}
		r.moves.Add(1)
		if !assert.NoError(r.t, os.Rename(mine, free), "the token was ours") {
			return
		}
	}
}

// account requires that every node lists exactly what all say they left behind.
func (r *rivals) account(l *lab, own []map[string]bool) {
	t := r.t
	t.Logf("%d changes of own names, %d contested names won, %d renames of the token", r.ops.Load(), r.wins.Load(), r.moves.Load())
	want := map[string]bool{"log": true, "token": true}
	for _, set := range own {
		for name := range set {
			want[name] = true
		}
	}
	for _, n := range l.nodes {
		got := map[string]bool{}
		for _, name := range names(t, n.path("shared")) {
			got[name] = true
		}
		require.Empty(t, missing(want, got), "names lost on %s", n.name)
		require.Empty(t, missing(got, want), "names on %s that should not be", n.name)
		r.readRecords(n, len(l.nodes))
	}
	for _, n := range l.nodes {
		for name := range want {
			st, err := os.Lstat(n.path("shared", name))
			require.NoError(t, err)
			require.True(t, st.Mode().IsRegular())
		}
	}
	require.NotZero(t, r.wins.Load())
	require.NotZero(t, r.moves.Load())
}

// missing are the members of want that got has not.
func missing(want, got map[string]bool) (list []string) {
	for name := range want {
		if !got[name] {
			list = append(list, name)
		}
	}
	return list
}

// readRecords requires every record exactly once, whole, and those of one node in order.
func (r *rivals) readRecords(n *node, nodes int) {
	t := r.t
	b, err := os.ReadFile(n.path("shared", "log"))
	require.NoError(t, err)
	require.Zero(t, len(b)%recordSize, "part of a record on %s", n.name)
	next := make([]uint32, nodes)
	for ; len(b) > 0; b = b[recordSize:] {
		rec := b[:recordSize]
		require.Equal(t, crc32.ChecksumIEEE(rec[:recordSize-4]), binary.LittleEndian.Uint32(rec[recordSize-4:]), "a torn record on %s", n.name)
		node, seq := binary.LittleEndian.Uint32(rec), binary.LittleEndian.Uint32(rec[4:])
		require.Equal(t, next[node], seq, "records of node %d, as %s has them", node+1, n.name)
		next[node]++
	}
	for i, count := range next {
		require.Equal(t, r.wrote[i].Load(), count, "records of node %d, as %s has them", i+1, n.name)
	}
}
