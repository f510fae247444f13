package dlm_test

import (
	"slices"

	"github.com/covol/covol/dlm"
)

// kill NODE: the node stops without a word; what it sent and was not delivered is lost.
func (s *story) kill(words []string) error {
	n, err := s.node(words[0])
	if err != nil {
		return err
	}
	n.core.Step(s.now, dlm.EvStop{}, nil)
	s.wires = slices.DeleteFunc(s.wires, func(d datagram) bool { return d.from == n.id.Slot })
	return nil
}
