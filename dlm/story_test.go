package dlm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/dlm/wire"
)

// TestStories plays the cluster stories in testdata: a command, a line of dashes, and what it prints, up to an
// empty line. -update rewrites what they print. Each command has a handler in story_<command>_test.go.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			got := play(t, string(raw))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			require.Equal(t, string(raw), got)
		})
	}
}

var handlers = map[string]func(s *story, args []string) error{
	"boot":      (*story).boot,
	"cancel":    (*story).cancel,
	"deliver":   (*story).deliver,
	"downgrade": (*story).downgrade,
	"kill":      (*story).kill,
	"leave":     (*story).leave,
	"lock":      (*story).lock,
	"locks":     (*story).locks,
	"stats":     (*story).stats,
	"tick":      (*story).tick,
	"view":      (*story).view,
}

func play(t *testing.T, text string) string {
	s := &story{nodes: map[view.Slot]*storyNode{}}
	var out strings.Builder
	skipping := false
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "----":
			skipping = true
		case trimmed == "":
			skipping = false
			out.WriteString("\n")
		case skipping:
		case strings.HasPrefix(trimmed, "#"):
			out.WriteString(line)
		default:
			out.WriteString(trimmed + "\n----\n")
			words := strings.Fields(trimmed)
			handler := handlers[words[0]]
			require.NotNil(t, handler, "no command %q", words[0])
			s.out.Reset()
			require.NoError(t, handler(s, words[1:]), trimmed)
			out.WriteString(s.out.String())
		}
	}
	return out.String()
}

// story is a cluster whose messages move only when the story says so.
type story struct {
	out   strings.Builder
	now   time.Duration
	nodes map[view.Slot]*storyNode
	wires []datagram
	ids   uint64
}

type storyNode struct {
	core    *dlm.Core
	id      view.NodeID
	timer   time.Duration
	pending map[uint64]dlm.Resource
}

type datagram struct {
	from, to view.Slot
	data     []byte
}

func (s *story) print(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *story) node(word string) (*storyNode, error) {
	n, err := strconv.Atoi(word)
	if err != nil || s.nodes[view.Slot(n)] == nil {
		return nil, fmt.Errorf("no node %q", word)
	}
	return s.nodes[view.Slot(n)], nil
}

func (s *story) step(n *storyNode, ev dlm.Event) {
	for _, e := range n.core.Step(s.now, ev, nil) {
		switch e := e.(type) {
		case dlm.EffSend:
			s.wires = append(s.wires, datagram{n.id.Slot, e.To, e.Data})
		case dlm.EffTimer:
			n.timer = e.At
		case dlm.EffGrant:
			delete(n.pending, e.ID)
			s.print("%d: granted %v %v%s, token %d:%d", n.id.Slot, e.Res, e.Grant.Mode, valueText(e.Grant.Value, e.Grant.ValueValid), e.Grant.Token>>32, e.Grant.Token&0xffffffff)
		case dlm.EffRefuse:
			delete(n.pending, e.ID)
			s.print("%d: refused %v: %v", n.id.Slot, e.Res, e.Err)
		case dlm.EffBlocking:
			s.print("%d: blocks %v on %v", n.id.Slot, e.Want, e.Res)
		case dlm.EffRebuilt:
			s.print("%d: rebuilt %d", n.id.Slot, e.Epoch)
		case dlm.EffLeft:
			s.print("%d: left", n.id.Slot)
		}
	}
}

func valueText(v []byte, valid bool) string {
	if !valid {
		return ""
	}
	return fmt.Sprintf(" value %q", v)
}

// option finds name=value among the words.
func option(words []string, name string) (string, bool) {
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

func parseResource(word string) (dlm.Resource, error) {
	kind, id, _ := strings.Cut(word, "/")
	n, err := strconv.ParseUint(id, 10, 64)
	for k := dlm.Inode; k <= dlm.VM; k++ {
		if k.String() == kind {
			return dlm.Resource{Kind: k, ID: n}, err
		}
	}
	return dlm.Resource{}, fmt.Errorf("no resource %q", word)
}

// lockArgs reads "NODE RESOURCE MODE".
func (s *story) lockArgs(words []string) (n *storyNode, r dlm.Resource, m dlm.Mode, err error) {
	if len(words) < 3 {
		return nil, r, m, fmt.Errorf("want NODE RESOURCE MODE")
	}
	if n, err = s.node(words[0]); err == nil {
		if r, err = parseResource(words[1]); err == nil {
			m, err = dlm.ParseMode(words[2])
		}
	}
	return n, r, m, err
}

func describe(m wire.Message) string {
	res := func(r wire.Resource) string { return dlm.Resource{Kind: dlm.Kind(r.Kind), ID: r.ID}.String() }
	all := func(rs []wire.Resource) (list []string) {
		for _, r := range rs {
			list = append(list, res(r))
		}
		return list
	}
	mode := func(m uint8) dlm.Mode { return dlm.Mode(m) }
	switch m := m.(type) {
	case *wire.Lookup:
		return fmt.Sprintf("Lookup %s", res(m.Res))
	case *wire.Master:
		if m.Master.Slot == view.NoSlot {
			return fmt.Sprintf("Master %s is not known now", res(m.Res))
		}
		return fmt.Sprintf("Master %s is %d", res(m.Res), m.Master.Slot)
	case *wire.Drop:
		return fmt.Sprintf("Drop %s", res(m.Res))
	case *wire.Request:
		return fmt.Sprintf("Request %s %v", res(m.Res), mode(m.Want))
	case *wire.Grant:
		return fmt.Sprintf("Grant %s %v%s", res(m.Res), mode(m.Mode), valueText(m.Value, m.Valid))
	case *wire.Deny:
		return fmt.Sprintf("Deny %s %s", res(m.Res), []string{"busy", "deadlock", "cancelled", "not the master"}[m.Reason])
	case *wire.Cancel:
		return fmt.Sprintf("Cancel %s", res(m.Res))
	case *wire.Release:
		return fmt.Sprintf("Release %s to %v%s", res(m.Res), mode(m.Mode), valueText(m.Value, m.Written))
	case *wire.Blocking:
		return fmt.Sprintf("Blocking %s wants %v", res(m.Res), mode(m.Want))
	case *wire.Register:
		return fmt.Sprintf("Register %v", all(m.Res))
	case *wire.Markers:
		return fmt.Sprintf("Markers %v", all(m.Res))
	case *wire.Claims:
		var list []string
		for _, i := range m.Items {
			list = append(list, fmt.Sprintf("%s %v%s", res(i.Res), mode(i.Mode), valueText(i.Value, i.Valid)))
		}
		return fmt.Sprintf("Claims %v", list)
	case *wire.Ready:
		return fmt.Sprintf("Ready based=%v lost=%d", m.Based, len(m.Lost))
	default:
		return m.Kind().String()
	}
}

func (s *story) sortedNodes() []*storyNode {
	var list []*storyNode
	for _, slot := range slices.Sorted(mapsKeys(s.nodes)) {
		list = append(list, s.nodes[slot])
	}
	return list
}
