package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteSize is a flag for sizes: a number with K, M, G or T, which are binary, as in tools for disks. KiB, MiB and so on
// are the same; KB and MB, which mean one thing to some and another to others, are refused.
type byteSize int64

func (b *byteSize) Type() string { return "size" }

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	units := "KMGTP"
	n, unit := int64(*b), ""
	for i := 0; i < len(units) && n%1024 == 0; i++ {
		n, unit = n/1024, units[i:i+1]
	}
	return strconv.FormatInt(n, 10) + unit
}

func (b *byteSize) Set(s string) error {
	n, err := parseSize(s)
	if err == nil {
		*b = byteSize(n)
	}
	return err
}

var errSize = errors.New("not a size: want a number of bytes, or one with K, M, G, T (1024-based), such as 64K or 4G")

func parseSize(s string) (int64, error) {
	t := strings.ToUpper(strings.TrimSpace(s))
	t = strings.TrimSuffix(t, "IB")
	shift := 0
	if i := strings.IndexAny(t, "KMGTP"); i >= 0 && i == len(t)-1 {
		shift = 10 * (strings.IndexByte("KMGTP", t[i]) + 1)
		t = t[:i]
	}
	n, err := strconv.ParseFloat(t, 64)
	if err != nil || n < 0 || math.IsNaN(n) {
		return 0, fmt.Errorf("%q is %w", s, errSize)
	}
	n *= float64(int64(1) << shift)
	if n >= math.MaxInt64 || n != math.Trunc(n) {
		return 0, fmt.Errorf("%q is %w", s, errSize)
	}
	return int64(n), nil
}
