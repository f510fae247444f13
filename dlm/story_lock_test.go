package dlm_test

import "github.com/covol/covol/dlm"

// lock NODE RESOURCE MODE [noqueue]
func (s *story) lock(words []string) error {
	n, r, m, err := s.lockArgs(words)
	if err != nil {
		return err
	}
	s.ids++
	n.pending[s.ids] = r
	s.step(n, dlm.EvLock{ID: s.ids, Res: r, Mode: m, NoQueue: words[len(words)-1] == "noqueue"})
	return nil
}
