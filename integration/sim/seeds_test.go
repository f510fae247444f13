//go:build !race

package sim

// quickSeeds are run by every make test, in a pass without the race detector.
const quickSeeds = 300
