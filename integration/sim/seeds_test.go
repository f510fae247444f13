//go:build !race

package sim

// quickSeeds are run by every make test, in a pass without the race detector, as the tests of the judges are.
const quickSeeds = 250
