// Package host is what the benchmarks share: the machine that a report names, how it is written, and covol
// processes to measure.
package host
