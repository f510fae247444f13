package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// round is one fault and its consequences.
type round struct {
	*faultLoop
	hit     map[*node]bool // something was done to it
	lost    map[*node]bool // it withdrew or died, and was started again
	problem []error        // what failed on nodes that were restarted
}

// round lets all nodes work, lets the fault happen and end, brings back who is out, and judges.
func (l *faultLoop) round(number int, kind faultKind) result {
	t := l.t
	began := time.Now()
	r := &round{faultLoop: l, hit: map[*node]bool{}, lost: map[*node]bool{}}
	for i := range l.nodes {
		l.meters[i].reset()
		l.begin(i)
	}
	for i := range l.nodes {
		l.progress(i, 20+l.rng.IntN(60))
	}
	kind.strike(r)
	res := result{fault: kind.name, victims: r.victims()}
	r.settle()
	for i := range l.nodes {
		l.progress(i, 20)
	}
	for i, n := range l.nodes {
		errs := l.end(i)
		assert.Empty(t, errs, "round %d, %s: work on %s failed, which had no fault, or none any more", number, kind.name, n.name)
		if !r.hit[n] && !r.lost[n] {
			res.stall = max(res.stall, l.meters[i].stall())
			res.survivors++
		}
		if r.lost[n] {
			res.withdrawn = append(res.withdrawn, n.name)
			if !r.hit[n] {
				res.innocent++
			}
		}
	}
	// D3: bounded, with room for a machine that is busy with other things.
	assert.Less(t, res.stall, l.times.Wait()+30*time.Second, "round %d, %s: an operation of a node without fault waited too long", number, kind.name)
	l.judge()
	res.took = time.Since(began)
	if t.Failed() {
		t.Errorf("round %d failed: %s of %s", number, kind.name, res.victims)
	}
	return res
}

func (r *round) victims() string {
	var names []string
	for _, n := range r.nodes {
		if r.hit[n] {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, " ")
}

// judge looks at the volume from all nodes. Nobody works.
func (l *faultLoop) judge() {
	for _, b := range l.books {
		for _, n := range l.nodes {
			b.judge(n)
		}
	}
	var wg sync.WaitGroup
	for i, f := range l.images {
		wg.Go(func() { f.verify(l, l.nodes[(i+1)%len(l.nodes)]) })
	}
	wg.Wait()
	l.regs.judge(l.nodes)
}

// settle waits until it is clear who is in, starts those that are out, and lets all work whose work had failed.
func (r *round) settle() {
	var out []*node
	r.eventually("the nodes agree on who is in", func() (agreed bool) {
		out, agreed = r.agreed()
		return agreed
	})
	for _, n := range out {
		r.lost[n] = true
		if n.cmd != nil {
			r.stop(n)
		}
		r.drop(n)
	}
	// What the dead had done is there for the others before the dead come back.
	for _, n := range r.nodes {
		if r.lost[n] {
			continue
		}
		for _, dead := range out {
			r.books[dead.number()-1].judge(n)
		}
	}
	for _, n := range out {
		n.start()
	}
	for _, n := range out {
		n.ready()
		r.begin(n.number() - 1)
	}
	for i, n := range r.nodes {
		if r.hit[n] && r.failed(i) {
			r.drop(n)
			r.begin(i)
		}
	}
}

// agreed looks at all nodes. They agree if each is out, or active in the one view that has all the active ones and no
// other.
func (r *round) agreed() (out []*node, ok bool) {
	var active []string
	views := map[string]bool{}
	for _, n := range r.nodes {
		if n.ended() {
			out = append(out, n)
			continue
		}
		s, err := n.ask()
		switch {
		case err != nil:
			return nil, false
		case s.out():
			out = append(out, n)
			continue
		case s.State != "active":
			return nil, false
		}
		active = append(active, n.name)
		v := []string{}
		for _, m := range s.Cluster.Members {
			if m.Member {
				v = append(v, m.Name)
			}
		}
		slices.Sort(v)
		views[fmt.Sprintf("epoch %d: %s", s.Cluster.Epoch, strings.Join(v, " "))] = true
	}
	if len(active) == 0 {
		return out, true
	}
	if len(views) != 1 {
		return nil, false
	}
	for v := range views {
		_, members, _ := strings.Cut(v, ": ")
		return out, members == strings.Join(active, " ")
	}
	return nil, false
}

// ended reports whether the process of the node has ended.
func (n *node) ended() bool { return n.cmd == nil || stopped(n.gone) }

// stop ends the process of a node that is out: by asking, which it must obey, or by force.
func (r *round) stop(n *node) {
	n.state = false
	if r.rng.IntN(2) == 0 {
		n.signal(unix.SIGTERM)
		select {
		case <-n.gone:
		case <-time.After(20 * time.Second):
			assert.Failf(r.t, "a withdrawn node does not end", "%s\n%s", n.name, n.tail())
			n.signal(unix.SIGABRT)
			n.lastWords()
		}
	}
	n.kill()
}

// drop waits for the end of the work of a node that is out.
func (r *round) drop(n *node) { r.problem = append(r.problem, r.end(n.number()-1)...) }

// ask is status, with an error instead of a failure.
func (n *node) ask() (s nodeStatus, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, covolBin(n.lab.t), "status", n.dir, "--json").Output()
	if err != nil {
		return s, fmt.Errorf("status of %s: %w", n.name, err)
	}
	return s, json.Unmarshal(out, &s)
}

// out reports whether the node can use the volume no more: by its own decision, or that of others.
func (s nodeStatus) out() bool { return s.State == "withdrawn" || s.State == "fenced" }

// pick chooses k nodes that something is done to.
func (r *round) pick(k int) []*node {
	var picked []*node
	for _, i := range r.rng.Perm(len(r.nodes))[:k] {
		picked = append(picked, r.nodes[i])
		r.hit[r.nodes[i]] = true
	}
	return picked
}

func (r *round) one() *node { return r.pick(1)[0] }

// others are the nodes that nothing is done to.
func (r *round) others() []*node {
	return slices.DeleteFunc(slices.Clone(r.nodes), func(n *node) bool { return r.hit[n] })
}

func (r *round) kill(nodes ...*node) {
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(n.kill)
	}
	wg.Wait()
}

// between is a time drawn from a range.
func (r *round) between(low, high time.Duration) time.Duration {
	return low + time.Duration(r.rng.Int64N(int64(high-low)+1))
}

// last lets the fault last.
func (r *round) last(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.late:
		require.Fail(r.t, "the time of the loop is up")
	}
}

// takenOver waits until the others can use what the dead held.
func (r *round) takenOver(dead ...*node) {
	r.t.Helper()
	limit := time.After(r.times.Wait() + 30*time.Second)
	for _, n := range r.others() {
		for _, d := range dead {
			done := make(chan error, 1)
			go func() {
				_, err := os.ReadDir(n.path(r.books[d.number()-1].dir))
				done <- err
			}()
			select {
			case err := <-done:
				require.NoError(r.t, err, "what %s held, on %s", d.name, n.name)
			case <-limit:
				require.Failf(r.t, "what the dead held is not taken over", "%s, on %s", d.name, n.name)
			}
		}
	}
}

// evicted waits until another node has taken the node for dead.
func (r *round) evicted(n *node) {
	r.t.Helper()
	by := r.others()[0]
	limit := time.After(r.times.Wait() + 30*time.Second)
	r.eventually(n.name+" is taken for dead", func() bool {
		select {
		case <-limit:
			require.Failf(r.t, "a node that cannot renew is not taken for dead", "%s, as seen by %s", n.name, by.name)
		default:
		}
		s, err := by.ask()
		if err != nil {
			return false
		}
		for _, m := range s.Cluster.Members {
			if m.Name == n.name && m.Member {
				return false
			}
		}
		return true
	})
}

// withdrawn waits until the node knows that it is out.
func (r *round) withdrawn(n *node) {
	r.t.Helper()
	r.eventually(n.name+" withdraws", func() bool {
		s, err := n.ask()
		return err == nil && s.out()
	})
}
