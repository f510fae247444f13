//go:build race

package journal

// raceEnabled makes crash tests, which are ten times slower with the race detector, try fewer seeds.
const raceEnabled = true
