package fs

import "math/bits"

// bitset is a bitmap in memory. Bits are numbered as on disk.
type bitset []uint64

// bitsFrom makes a bitset of n bits from the bytes of bitmap blocks, laid end to end. Bits from n on are set.
func bitsFrom(n int, blocks [][]byte, perBlock int) bitset {
	s := make(bitset, (n+63)/64)
	for i := range s {
		s[i] = ^uint64(0)
	}
	for i, b := range blocks {
		for j, v := range b {
			if v == 0xff {
				continue
			}
			for at := i*perBlock + 8*j; v != 0xff; {
				k := bits.TrailingZeros8(^v)
				v |= 1 << k
				if at+k < n {
					s[(at+k)/64] &^= 1 << ((at + k) % 64)
				}
			}
		}
	}
	return s
}

func (s bitset) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// fill sets or clears n bits from i on.
func (s bitset) fill(i, n int, set bool) {
	for n > 0 {
		k := min(n, 64-i%64)
		mask := (^uint64(0) >> (64 - k)) << (i % 64)
		if set {
			s[i/64] |= mask
		} else {
			s[i/64] &^= mask
		}
		i, n = i+k, n-k
	}
}

// clear counts the clear bits.
func (s bitset) clear() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(^w)
	}
	return n
}

// nextClear is the first clear bit from i on, -1 if there is none.
func (s bitset) nextClear(i int) int {
	if i >= 64*len(s) {
		return -1
	}
	w := ^s[i/64] & (^uint64(0) << (i % 64))
	for k := i / 64; ; w = ^s[k] {
		if w != 0 {
			return 64*k + bits.TrailingZeros64(w)
		}
		if k++; k == len(s) {
			return -1
		}
	}
}

// run is how many clear bits follow each other from i on, at most limit.
func (s bitset) run(i, limit int) int {
	end := min(i+limit, 64*len(s))
	for at := i; at < end; {
		w := s[at/64] >> (at % 64)
		if w != 0 {
			return min(at+bits.TrailingZeros64(w), end) - i
		}
		at += 64 - at%64
	}
	return max(end-i, 0)
}

// find looks for want clear bits in a row, from from on and then from the start: the first such run, else the longest.
// n is the length found, at most want; 0 if no bit is clear.
func (s bitset) find(from, want int) (at, n int) {
	for _, part := range [2][2]int{{from, 64 * len(s)}, {0, from}} {
		for i := s.nextClear(part[0]); i >= 0 && i < part[1]; {
			l := s.run(i, want)
			if l > n {
				at, n = i, l
			}
			if n >= want {
				return at, n
			}
			i = s.nextClear(i + l)
		}
	}
	return at, n
}
