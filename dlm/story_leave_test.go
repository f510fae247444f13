package dlm_test

import "github.com/covol/covol/dlm"

// leave NODE
func (s *story) leave(words []string) error {
	n, err := s.node(words[0])
	if err == nil {
		s.step(n, dlm.EvLeave{})
	}
	return err
}
