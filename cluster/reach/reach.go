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

// Keep returns which of members, ascending and different slots, stay, if cut reports whether two of them, i < j, cannot
// talk to each other. The result is ascending, and empty only if members is.
func Keep(members []uint16, cut func(i, j uint16) bool) []uint16 {
	left := append([]uint16(nil), members...)
	for {
		broken := make([]int, len(left))
		for a, i := range left {
			for b := a + 1; b < len(left); b++ {
				if cut(i, left[b]) {
					broken[a]++
					broken[b]++
				}
			}
		}
		worst := -1
		for a, n := range broken {
			if n > 0 && (worst < 0 || n >= broken[worst]) {
				worst = a
			}
		}
		if worst < 0 {
			return left
		}
		left = append(left[:worst], left[worst+1:]...)
	}
}
