//go:build race

package check_test

// raced: the detector makes everything several times slower, and there is nothing for it to find in a package without
// goroutines (K1). Long tests try a part only.
const raced = true
