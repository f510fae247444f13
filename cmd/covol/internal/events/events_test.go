package events

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asHelper makes the test binary be the helper.
const asHelper = "COVOL_EVENTS_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(asHelper) {
	case "1":
		os.Exit(Help(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "hang":
		select {}
	}
	os.Exit(m.Run())
}

var ctx = context.Background()

func newDisk(t *testing.T) *Disk {
	t.Helper()
	return &Disk{Command: helperAs("1"), Dir: filepath.Join(t.TempDir(), "events")}
}

func helperAs(what string) []string { return []string{"env", asHelper + "=" + what, os.Args[0]} }

func numbered(from, n int) []Event {
	all := make([]Event, n)
	for i := range all {
		slot := (from + i) % 8
		all[i] = Event{Time: time.Unix(1_700_000_000, int64(from+i)), Kind: Dead, Node: fmt.Sprint("n", from+i), Slot: &slot,
			Incarnation: 7, Epoch: uint64(from + i), Text: strings.Repeat("x", i%500)}
	}
	return all
}

func same(t *testing.T, want, got []Event) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.True(t, want[i].Time.Equal(got[i].Time))
		got[i].Time = want[i].Time
		require.Equal(t, want[i], got[i])
	}
}

func TestStore(t *testing.T) {
	dir := t.TempDir()
	want := numbered(0, 500)
	for i := 0; i < len(want); i += 100 {
		s, err := OpenStore(dir, time.Hour)
		require.NoError(t, err)
		require.NoError(t, s.Append(want[i:i+100]))
		_, err = OpenStore(dir, time.Hour)
		require.ErrorIs(t, err, errInUse)
		require.NoError(t, s.Close())
	}
	s, err := OpenStore(dir, time.Hour)
	require.NoError(t, err)
	defer s.Close()
	for _, c := range []struct {
		q    Query
		want []Event
	}{
		{Query{}, want}, {Query{Last: 3}, want[497:]}, {Query{Since: want[400].Time}, want[400:]},
		{Query{Since: want[400].Time, Last: 50}, want[450:]}, {Query{Since: time.Unix(4_000_000_000, 0)}, nil},
	} {
		got, damage, err := s.Read(c.q)
		require.NoError(t, err)
		require.False(t, damage.Any(), damage)
		same(t, c.want, got)
	}
}

// TestExpiry: what has expired is gone, and not taken for damage.
func TestExpiry(t *testing.T) {
	s, err := OpenStore(t.TempDir(), time.Hour)
	require.NoError(t, err)
	defer s.Close()
	past := uint64(time.Now().Add(-time.Minute).Unix())
	var old []stored
	for _, e := range numbered(0, 20) {
		old = append(old, stored{Event: e, expires: past})
	}
	require.NoError(t, s.append(old))
	got, damage, err := s.Read(Query{})
	require.NoError(t, err)
	require.Empty(t, got)
	require.False(t, damage.Any(), damage)
	want := numbered(20, 5)
	require.NoError(t, s.Append(want))
	got, damage, err = s.Read(Query{})
	require.NoError(t, err)
	require.False(t, damage.Any(), damage)
	same(t, want, got)
}

func TestTrim(t *testing.T) {
	s, err := OpenStore(t.TempDir(), time.Hour)
	require.NoError(t, err)
	defer s.Close()
	s.max = 100
	want := numbered(0, 330)
	for i := 0; i < len(want); i += 30 {
		require.NoError(t, s.Append(want[i:i+30]))
	}
	got, damage, err := s.Read(Query{})
	require.NoError(t, err)
	require.False(t, damage.Any(), damage)
	same(t, want[230:], got)
}

// TestMissing: events that badger has lost without a word are noticed.
func TestMissing(t *testing.T) {
	for _, lose := range []int{1, 5, 9} {
		s, err := OpenStore(t.TempDir(), time.Hour)
		require.NoError(t, err)
		want := numbered(0, 10)
		require.NoError(t, s.Append(want))
		txn := s.db.NewTransaction(true)
		require.NoError(t, txn.Delete(eventKey(want[lose].Time, uint64(lose+1))))
		require.NoError(t, txn.Commit())
		_, damage, err := s.Read(Query{})
		require.NoError(t, err)
		require.Equal(t, Damage{Missing: 1}, damage)
		fixed, err := repair(s)
		require.NoError(t, err)
		got, damage, err := fixed.Read(Query{})
		require.NoError(t, err)
		require.False(t, damage.Any(), damage)
		require.Len(t, got, 10, "nine, and one that tells")
		require.Equal(t, StoreFault, got[9].Kind)
		require.Contains(t, got[9].Text, "1 events are missing")
		require.NoError(t, fixed.Close())
	}
}

// TestCorruption: whatever happens to the files, what is read is right or known not to be, and the next batch of a new
// process gets a store that works. COVOL_TEST_SCALE says how many places of each file are spoilt.
func TestCorruption(t *testing.T) {
	places := 1
	if s := os.Getenv("COVOL_TEST_SCALE"); s != "" {
		var err error
		places, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	d := newDisk(t)
	want := numbered(0, 200)
	require.NoError(t, d.append(ctx, want))
	outcomes := map[string]int{}
	for _, kind := range []string{"*.sst", "MANIFEST", "KEYREGISTRY"} {
		files, err := filepath.Glob(filepath.Join(d.Dir, kind))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		path := files[0]
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		damages := map[string][]byte{"short": whole[:len(whole)-3]}
		for i := range places {
			b, at := slices.Clone(whole), len(whole)*(2*i+1)/(2*places)
			for k := at; k < min(at+16, len(b)); k++ {
				b[k] ^= 0x5a
			}
			damages[fmt.Sprint("flipped at ", at)] = b
		}
		for what, b := range damages {
			t.Run(filepath.Base(path)+" "+what, func(t *testing.T) {
				outcomes[spoil(t, d, filepath.Base(path), b, want)]++
			})
		}
	}
	t.Log(outcomes)
	require.Positive(t, outcomes["refused"])
}

// spoil puts b in the place of a file and returns what came of it.
func spoil(t *testing.T, d *Disk, file string, b []byte, want []Event) (outcome string) {
	broken := newDisk(t)
	require.NoError(t, os.CopyFS(broken.Dir, os.DirFS(d.Dir)))
	require.NoError(t, os.WriteFile(filepath.Join(broken.Dir, file), b, 0o600))
	got, damage, err := broken.Read(ctx, Query{})
	switch {
	case err != nil:
		outcome = "refused"
	case damage.Any():
		outcome = "noticed"
	default:
		outcome = "harmless"
		same(t, want, got)
	}
	require.NoError(t, broken.append(ctx, []Event{{Time: time.Unix(1_900_000_000, 0), Kind: Joined}}))
	got, damage, err = broken.Read(ctx, Query{})
	require.NoError(t, err)
	require.False(t, damage.Any(), damage)
	require.Equal(t, Joined, got[len(got)-1].Kind)
	return outcome
}

func TestLog(t *testing.T) {
	d := newDisk(t)
	l := NewLog(slog.New(slog.DiscardHandler))
	l.Add(Event{Kind: Mounted, Node: "a"})
	l.Store(d)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				l.Add(Event{Kind: Joined})
			}
		})
	}
	seen := 0
	var last time.Time
	for seen < 161 {
		found, more := l.After(last)
		for _, e := range found {
			require.True(t, e.Time.After(last))
			last = e.Time
			seen++
		}
		if seen < 161 {
			<-more
		}
	}
	wg.Wait()
	got, damage, err := l.Read(ctx, Query{})
	require.NoError(t, err)
	require.False(t, damage.Any())
	require.Len(t, got, 161)
	l.Add(Event{Kind: Unmounted})
	require.NoError(t, l.Close(ctx))
	got, damage, err = d.Read(ctx, Query{Last: 2})
	require.NoError(t, err)
	require.False(t, damage.Any())
	require.Len(t, got, 2)
	require.Equal(t, Unmounted, got[1].Kind)
}

// TestLogWithoutStore: a store that hangs or cannot be made hinders nobody.
func TestLogWithoutStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, d := range map[string]*Disk{
		"hangs":       {Command: helperAs("hang"), Dir: t.TempDir()},
		"not a store": {Command: helperAs("1"), Dir: filepath.Join(file, "x")},
		"no helper":   {Command: []string{"/nonexistent"}, Dir: t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLog(slog.New(slog.DiscardHandler))
			l.Store(d)
			for range 3 * maxPending {
				l.Add(Event{Kind: Paused})
			}
			soon, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			got, _, err := l.Read(soon, Query{Last: 10})
			require.Error(t, err)
			require.Len(t, got, 10, "those in memory")
			ended, cancel := context.WithCancel(ctx)
			cancel()
			require.Error(t, l.Close(ended))
		})
	}
}

// TestSystemErrorsKeepStore: a store that cannot be used for now is not thrown away.
func TestSystemErrorsKeepStore(t *testing.T) {
	d := newDisk(t)
	want := numbered(0, 3)
	require.NoError(t, d.append(ctx, want))
	s, err := OpenStore(d.Dir, time.Hour)
	require.NoError(t, err)
	require.ErrorIs(t, d.append(ctx, numbered(3, 1)), errInUse)
	require.NoError(t, s.Close())
	got, _, err := d.Read(ctx, Query{})
	require.NoError(t, err)
	same(t, want, got)
	_, _, err = (&Disk{Command: d.Command, Dir: t.TempDir()}).Read(ctx, Query{})
	assert.ErrorIs(t, err, errNoStore)
	assert.Equal(t, exitUsage, Help(nil, nil, nil, new(strings.Builder)))
}

func FuzzDecode(f *testing.F) {
	e := numbered(0, 1)[0]
	key := eventKey(e.Time, 1)
	b, err := e.encode(key)
	require.NoError(f, err)
	f.Add(key, b)
	f.Add([]byte{}, []byte{1})
	f.Fuzz(func(t *testing.T, key, b []byte) {
		_, _ = seqOf(key)
		if e, err := decode(key, b); err == nil {
			_, err := e.encode(key)
			require.NoError(t, err)
		}
	})
}
