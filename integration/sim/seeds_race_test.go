//go:build race

package sim

// quickSeeds are run under the race detector. Procedures run one at a time here, so it hardly finds anything that the
// seeds of the other pass do not.
const quickSeeds = 8
