package dlm_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
)

// view EPOCH members=A,B [recovering=C.1,D.2] [to=A,B]: members are the present lives of the slots; the dead are
// slot.incarnation. Without to every member learns of it.
func (s *story) view(words []string) error {
	epoch, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	v := view.View{Epoch: view.Epoch(epoch)}
	members, _ := option(words, "members")
	to, some := option(words, "to")
	if !some {
		to = members
	}
	for _, w := range strings.Split(members, ",") {
		n, err := s.node(w)
		if err != nil {
			return err
		}
		v.Members = append(v.Members, view.Member{NodeID: n.id})
	}
	if dead, ok := option(words, "recovering"); ok {
		for _, w := range strings.Split(dead, ",") {
			var id view.NodeID
			if _, err := fmt.Sscanf(w, "%d.%d", &id.Slot, &id.Incarnation); err != nil {
				return fmt.Errorf("dead %q: %w", w, err)
			}
			v.Recovering = append(v.Recovering, id)
		}
	}
	for _, w := range strings.Split(to, ",") {
		n, err := s.node(w)
		if err != nil {
			return err
		}
		s.step(n, dlm.EvView{View: v})
	}
	return nil
}
