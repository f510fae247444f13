package dlm_test

import (
	"fmt"
	"strings"
)

// locks NODE: what the node holds, wants, masters and keeps back.
func (s *story) locks(words []string) error {
	n, err := s.node(words[0])
	if err != nil {
		return err
	}
	for _, l := range n.core.Locks() {
		line := fmt.Sprintf("%v: holds %v", l.Resource, l.Mode)
		if l.Waiting {
			line += fmt.Sprintf(", wants %v", l.Want)
		}
		if l.Known {
			line += fmt.Sprintf(", master %d", l.Master.Slot)
		}
		if l.Recovering {
			line += fmt.Sprintf(", waits for the recovery of %v", l.Unrecovered)
		}
		var parts []string
		for _, h := range l.Holders {
			text := fmt.Sprintf("%d %v", h.Node.Slot, h.Mode)
			if h.Dead {
				text += " dead"
			}
			parts = append(parts, text)
		}
		for _, w := range l.Waiters {
			text := fmt.Sprintf("%d wants %v", w.Node.Slot, w.Want)
			if w.Convert {
				text += " (conversion)"
			}
			parts = append(parts, text)
		}
		if len(parts) > 0 {
			line += " [" + strings.Join(parts, "; ") + "]"
		}
		s.print("%s", line)
	}
	return nil
}
