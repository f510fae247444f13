// Package host is what the benchmarks share: the machine that a report names, and covol processes to measure.
package host
