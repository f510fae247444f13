// Package reach decides which members stay when the network between them is cut but all of them still reach the disk.
//
// Each member publishes in its slot block whom it has heard lately; so every member sees the same graph, on the disk,
// whatever the network does. Two members are joined if each hears the other: a link that works one way only is cut.
// Those who stay are all joined to each other, because the lock manager needs every member to talk to every other.
//
// # Keep
//
// As long as two of those left are not joined, the one with the most cut links goes; of several, the one in the highest
// slot. So a node that is cut off goes alone, the smaller side of a partition goes, and of two nodes the one in the
// higher slot. The same graph gives the same answer on every node; the answer never is empty.
package reach

import "math/bits"

// Set is a set of slots.
type Set [4]uint64

// Add puts slot i in.
func (s *Set) Add(i int) { s[i/64] |= 1 << (i % 64) }

// Remove takes slot i out.
func (s *Set) Remove(i int) { s[i/64] &^= 1 << (i % 64) }

// Has reports whether slot i is in.
func (s *Set) Has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// Len is how many slots are in.
func (s *Set) Len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// Slots are the members in ascending order.
func (s *Set) Slots() []int {
	list := make([]int, 0, s.Len())
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			list = append(list, 64*i+bits.TrailingZeros64(w))
		}
	}
	return list
}

// Keep returns which of members stay, if cut reports whether two of them, i < j, cannot talk to each other.
func Keep(members Set, cut func(i, j int) bool) Set {
	for {
		var broken [256]int
		list := members.Slots()
		worst := -1
		for a, i := range list {
			for _, j := range list[a+1:] {
				if cut(i, j) {
					broken[i]++
					broken[j]++
				}
			}
		}
		for _, i := range list {
			if broken[i] > 0 && (worst < 0 || broken[i] >= broken[worst]) {
				worst = i
			}
		}
		if worst < 0 {
			return members
		}
		members.Remove(worst)
	}
}
