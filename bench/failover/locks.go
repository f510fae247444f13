package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/covol/covol/cluster/pki"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/dlm/tcp"
	"github.com/covol/covol/ondisk/sched"

	"github.com/covol/covol/bench/host"
)

// Resources: one that moves between the nodes, and one that node 0 is the master of.
var (
	movedRes = dlm.Resource{Kind: dlm.Inode, ID: 1}
	homeRes  = dlm.Resource{Kind: dlm.Inode, ID: 2}
)

// road is two lock managers and how they are connected, with what was measured.
type road struct {
	name  string
	ts    [2]*tcp.Transport
	users [2]*user

	cached, grant, handOver host.Sample
}

// cachedBatch is how many cached locks are timed at a time: one takes about as long as to look at the clock.
const cachedBatch = 100

// user is a node that gives a lock up as soon as another node wants it.
type user struct {
	*dlm.Node
	mu   sync.Mutex
	busy bool // GUARDED_BY(mu): between Lock and the end of the work
	want bool // GUARDED_BY(mu): asked for while busy
}

func newUser(tr *tcp.Transport, self view.NodeID) *user {
	u := &user{}
	u.Node = dlm.NewNode(dlm.Config{ID: self, Sched: sched.Real{}, Transport: tr.Channel(tcp.ChannelLocks), OnBlocking: func(r dlm.Resource, _ dlm.Mode) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.busy {
			u.want = true
			return
		}
		_ = u.Downgrade(r, dlm.NL, nil) // not held: the callback was for what is given up already
	}})
	return u
}

// take acquires r exclusively; it stays cached until another node wants it.
func (u *user) take(ctx context.Context, r dlm.Resource) (time.Duration, error) {
	u.mu.Lock()
	u.busy = true
	u.mu.Unlock()
	began := time.Now()
	_, err := u.Lock(ctx, r, dlm.EX, dlm.Options{})
	d := time.Since(began)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.busy = false; u.want {
		u.want = false
		_ = u.Downgrade(r, dlm.NL, nil)
	}
	return d, err
}

// newRoad connects two nodes over loopback. With a directory they have certificates there and talk TLS.
func newRoad(ctx context.Context, name, dir string) (r *road, err error) {
	r = &road{name: name}
	creds := [2]*pki.Credentials{}
	if dir != "" {
		if creds, err = certify(dir); err != nil {
			return r, err
		}
	}
	var members []view.Member
	for i := range r.ts {
		cfg := tcp.Config{Self: view.NodeID{Slot: view.Slot(i), Incarnation: 1}, Volume: [16]byte{1}, Listen: "127.0.0.1:0"}
		if c := creds[i]; c != nil {
			cfg.TLS, cfg.CheckPeer = c.TLS(), c.CheckPeer
		}
		if r.ts[i], err = tcp.New(cfg); err != nil {
			return r, err
		}
		r.users[i] = newUser(r.ts[i], cfg.Self)
		members = append(members, view.Member{NodeID: cfg.Self, Name: nodeName(i), Addr: r.ts[i].Addr().String()})
	}
	for _, u := range r.users {
		u.SetView(view.View{Epoch: 1, Members: members})
	}
	for _, u := range r.users {
		if err := u.WaitRebuilt(ctx, 1); err != nil {
			return r, err
		}
	}
	// Held for good, and first: so node 0 is the master and stays so.
	_, err = r.users[0].Lock(ctx, homeRes, dlm.CR, dlm.Options{})
	return r, err
}

func nodeName(i int) string { return fmt.Sprintf("n%d", i) }

// certify makes a cluster of two nodes.
func certify(dir string) (creds [2]*pki.Credentials, err error) {
	first, err := pki.Init(pki.Dir(filepath.Join(dir, nodeName(0))), "bench", nodeName(0), time.Now(), false)
	if err != nil {
		return creds, err
	}
	second, err := first.Enrol(pki.Dir(filepath.Join(dir, nodeName(1))), nodeName(1), time.Now(), false)
	if err != nil {
		return creds, err
	}
	for i, m := range []*pki.Member{first, second} {
		if creds[i], err = pki.Open(m.Dir, time.Now, slog.New(slog.DiscardHandler)); err != nil {
			return creds, err
		}
	}
	return creds, nil
}

// turn measures each kind of lock n times.
func (r *road) turn(ctx context.Context, n int) error {
	for i := range n {
		d, err := r.users[i%2].take(ctx, movedRes)
		if err != nil {
			return err
		}
		r.handOver = append(r.handOver, d)
	}
	for range n {
		began := time.Now()
		_, err := r.users[1].Lock(ctx, homeRes, dlm.PR, dlm.Options{})
		r.grant = append(r.grant, time.Since(began))
		if err := errors.Join(err, r.users[1].Downgrade(homeRes, dlm.NL, nil)); err != nil {
			return err
		}
	}
	for range n {
		began := time.Now()
		for range cachedBatch {
			if _, err := r.users[0].Lock(ctx, homeRes, dlm.CR, dlm.Options{}); err != nil {
				return err
			}
		}
		r.cached = append(r.cached, time.Since(began)/cachedBatch)
	}
	return nil
}

func (r *road) close() {
	for i := range r.ts {
		if r.users[i] != nil {
			r.users[i].Stop()
		}
		if r.ts[i] != nil {
			_ = r.ts[i].Close()
		}
	}
}

// warmUp is how many turns are thrown away: connections are made in the first.
const warmUp = 1

// measureLocks lets both roads take turns.
func measureLocks(ctx context.Context, o options, dir string) (roads []*road, err error) {
	for _, x := range []struct{ name, dir string }{{"plain", ""}, {"TLS", filepath.Join(dir, "pki")}} {
		r, err := newRoad(ctx, x.name, x.dir)
		defer r.close()
		if err != nil {
			return nil, fmt.Errorf("locks, %s: %w", x.name, err)
		}
		roads = append(roads, r)
	}
	for turn := range o.lockTurns + warmUp {
		for _, r := range roads {
			if turn == warmUp {
				r.cached, r.grant, r.handOver = nil, nil, nil
			}
			if err := r.turn(ctx, o.locks); err != nil {
				return nil, fmt.Errorf("locks, %s: %w", r.name, err)
			}
		}
	}
	return roads, nil
}
