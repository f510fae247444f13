package writelog

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// Crash is one power failure: when it came and what it left. Its String is what Parse reads, so that a failing
// state can be made again by Log.At from an equal log.
type Crash struct {
	Event int   // comes after this many events of the log
	Kept  []int // numbers of the pending writes that are there whole, ascending; writes count from 1
	Torn  *Tear // nil: none
	Marks []any // that lie before the crash; not part of String
}

// Tear is a write that is there in part.
type Tear struct {
	Write   int
	Sectors []int // of the write, ascending, from 0, neither none nor all
}

// String is like "event 45 kept 12,14,17" or "event 45 kept 12 torn 17:0,3".
func (c Crash) String() string {
	s := fmt.Sprintf("event %d", c.Event)
	if len(c.Kept) > 0 {
		s += " kept " + join(c.Kept)
	}
	if c.Torn != nil {
		s += fmt.Sprintf(" torn %d:%s", c.Torn.Write, join(c.Torn.Sectors))
	}
	return s
}

func join(n []int) string {
	s := make([]string, len(n))
	for i, v := range n {
		s[i] = strconv.Itoa(v)
	}
	return strings.Join(s, ",")
}

// Parse reads what Crash.String wrote.
func Parse(text string) (Crash, error) {
	c, err := parse(strings.Fields(text))
	if err != nil {
		return Crash{}, fmt.Errorf("crash %q: %w", text, err)
	}
	return c, nil
}

func parse(words []string) (c Crash, err error) {
	if len(words) < 2 || words[0] != "event" {
		return c, errors.New("must begin with event N")
	}
	if c.Event, err = strconv.Atoi(words[1]); err != nil {
		return c, err
	}
	words = words[2:]
	if len(words) >= 2 && words[0] == "kept" {
		if c.Kept, err = split(words[1]); err != nil {
			return c, err
		}
		words = words[2:]
	}
	if len(words) >= 2 && words[0] == "torn" {
		id, sectors, _ := strings.Cut(words[1], ":")
		c.Torn = &Tear{}
		if c.Torn.Write, err = strconv.Atoi(id); err != nil {
			return c, err
		}
		if c.Torn.Sectors, err = split(sectors); err != nil {
			return c, err
		}
		words = words[2:]
	}
	if len(words) > 0 {
		return c, fmt.Errorf("unexpected %q", words[0])
	}
	return c, nil
}

func split(s string) ([]int, error) {
	var all []int
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// At makes the disk of one crash. It fails if the log cannot have left it.
func (l *Log) At(c Crash) (*memdev.Device, error) {
	events := l.snapshot()
	if c.Event < 0 || c.Event > len(events) {
		return nil, fmt.Errorf("%v: the log has %d events", c, len(events))
	}
	s := newState(l.base)
	for i, e := range events[:c.Event] {
		s.step(e, i+1)
	}
	free := s.free()
	find := func(id int) *record {
		if i := slices.IndexFunc(free, func(w *record) bool { return w.id == id }); i >= 0 {
			return free[i]
		}
		return nil
	}
	for _, id := range c.Kept {
		if find(id) == nil {
			return nil, fmt.Errorf("%v: write %d is not pending", c, id)
		}
	}
	sector := l.Geometry().SectorSize
	if c.Torn != nil {
		w := find(c.Torn.Write)
		if w == nil || w.data == nil {
			return nil, fmt.Errorf("%v: write %d is not pending, or no write", c, c.Torn.Write)
		}
		for _, i := range c.Torn.Sectors {
			if i < 0 || i >= len(w.data)/sector {
				return nil, fmt.Errorf("%v: write %d has no sector %d", c, w.id, i)
			}
		}
	}
	return memdev.New(l.Geometry(), s.image(c.Kept, c.Torn, sector)), nil
}

func (l *Log) snapshot() []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[:len(l.events):len(l.events)]
}
