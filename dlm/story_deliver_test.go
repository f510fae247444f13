package dlm_test

import (
	"fmt"
	"strings"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/dlm/wire"
)

// deliver [only=A→B] [drop=A→B] [quiet]: moves datagrams in the order they were sent until none is left. only leaves
// the others on their way; drop loses those of one direction; quiet does not print the messages.
func (s *story) deliver(words []string) error {
	only, _ := option(words, "only")
	drop, _ := option(words, "drop")
	quiet := len(words) > 0 && words[len(words)-1] == "quiet"
	var kept []datagram
	for range 100000 {
		if len(s.wires) == 0 {
			s.wires = kept
			return nil
		}
		d := s.wires[0]
		s.wires = s.wires[1:]
		way := fmt.Sprintf("%d→%d", d.from, d.to)
		if only != "" && way != only {
			kept = append(kept, d)
			continue
		}
		s.carry(d, way, way == drop, quiet)
	}
	return fmt.Errorf("messages without end")
}

func (s *story) carry(d datagram, way string, drop, quiet bool) {
	f, rest, err := wire.DecodeFrame(d.data)
	if err == nil && f.Seq != 0 && !quiet {
		text := fmt.Sprintf("%s e%d %s", way, f.Epoch, "undecodable")
		if m, err := wire.Decode(rest); err == nil {
			text = fmt.Sprintf("%s e%d %s", way, f.Epoch, describe(m))
		}
		if drop {
			text += "   (lost)"
		}
		s.print("%s", strings.TrimSpace(text))
	}
	if n := s.nodes[view.Slot(d.to)]; n != nil && !drop {
		s.step(n, dlm.EvFrame{From: d.from, Data: d.data})
	}
}
