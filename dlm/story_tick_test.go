package dlm_test

import (
	"time"

	"github.com/covol/covol/dlm"
)

// tick DURATION: time passes; timers that come due fire, in the order of slots.
func (s *story) tick(words []string) error {
	d, err := time.ParseDuration(words[0])
	if err != nil {
		return err
	}
	s.now += d
	for _, n := range s.sortedNodes() {
		if n.timer != 0 && n.timer <= s.now {
			n.timer = 0
			s.step(n, dlm.EvTimer{})
		}
	}
	return nil
}
