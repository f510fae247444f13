// Bench measures a covol mount against its peers with fio, side by side: kernel ext4, ntfs-3g, fuse2fs and the raw
// device, each on a loop device of its own kind. Repetitions are interleaved, so that a busy machine is busy for all;
// the report has medians, ratios to the peers, and the machine, kernel and commit. Nothing is asserted.
//
//	go run ./bench -covol bin/covol > bench/results/NAME.md
//
// It needs root, loop devices and fio; a peer that is not installed is left out and named.
package main
