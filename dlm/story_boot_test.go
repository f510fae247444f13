package dlm_test

import (
	"fmt"
	"strconv"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
)

// boot SLOT...: new lives, each with the incarnation after the last one of its slot.
func (s *story) boot(words []string) error {
	for _, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil {
			return fmt.Errorf("slot %q: %w", w, err)
		}
		id := view.NodeID{Slot: view.Slot(n), Incarnation: 1}
		if old := s.nodes[id.Slot]; old != nil {
			id.Incarnation = old.id.Incarnation + 1
		}
		s.nodes[id.Slot] = &storyNode{core: dlm.NewCore(id), id: id, pending: map[uint64]dlm.Resource{}}
	}
	return nil
}
