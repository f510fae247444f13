package dlm_test

import (
	"fmt"
	"slices"

	"github.com/covol/covol/dlm"
)

// cancel NODE RESOURCE: takes the node's oldest request for the resource back.
func (s *story) cancel(words []string) error {
	n, err := s.node(words[0])
	if err != nil {
		return err
	}
	r, err := parseResource(words[1])
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(mapsKeys(n.pending)) {
		if n.pending[id] == r {
			s.step(n, dlm.EvCancel{ID: id, Res: r})
			return nil
		}
	}
	return fmt.Errorf("no request for %v", r)
}
