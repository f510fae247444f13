package dlm_test

import "github.com/covol/covol/dlm"

// downgrade NODE RESOURCE MODE [value=TEXT]
func (s *story) downgrade(words []string) error {
	n, r, m, err := s.lockArgs(words)
	if err != nil {
		return err
	}
	ev := dlm.EvDowngrade{Res: r, Mode: m}
	if v, ok := option(words, "value"); ok {
		ev.Value = []byte(v)
	}
	s.step(n, ev)
	return nil
}
