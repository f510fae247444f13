// Package posixtest checks that a directory behaves as one of a local Linux filesystem does.
//
// All runs on one mount. AllPair runs on two directories that show the same volume through two mounts, on two nodes or
// one, and checks that what one side has finished the other sees at once; where both are the same directory it
// checks the tests themselves. Every test gets an empty directory and may leave things behind in it. Tests that
// need root (device files, chown) say so and skip without it.
package posixtest

import "testing"

// All are the tests of one mount, by name.
var All = merge(createTests, dataTests, nameTests, attrTests, dirTests, mappingTests)

// AllPair are the tests of two mounts of one volume, by name.
var AllPair = pairTests

type tests = map[string]func(t testing.TB, dir string)

func merge(sets ...tests) tests {
	all := tests{}
	for _, s := range sets {
		for name, fn := range s {
			all[name] = fn
		}
	}
	return all
}
