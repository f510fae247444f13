// Bench measures covol and its peers at the same work, side by side: a covol mount with each transport, the volume API
// inside one process, kernel ext4 and xfs, ntfs-3g, fuse2fs and the raw device, each on a loop device of its own.
//
//	go run ./bench [-covol bin/covol] [-only data,meta,programs,scale] [-out bench/results]
//
// Repetitions are interleaved: every target does one work before the next work begins, so that a busy machine is busy
// for all. The report, NAME.md with its plots NAME-*.svg, has medians, extremes, ratios, percentiles of the latency, the
// processor time that the server of a filesystem used for an operation, and names machine, kernel and commit. Nothing
// is asserted.
//
//	kind.go target.go   what is measured: how it is made, opened, closed
//	work*.go            what it does
//	inside.go loop.go   targets inside this process, and the data work on them
//	scale.go            how figures grow with nodes and with the size of images
//	report.go chart.go  what came out
//
// It needs root, loop devices and fio; a peer that is not installed is left out and named.
package main
