// Package mkfs makes a covol volume on a device.
//
// # Order
//
// The superblock decides whether there is a volume, so it goes first and comes last:
//
//  1. the superblock and the copies of whatever covol volume was there are zeroed; flush
//  2. the device is discarded, where that is quick
//  3. everything but the superblocks is written; flush
//  4. the two copies; flush
//  5. the superblock; flush
//
// A crash in 1 leaves the old volume (as long as one of its copies is left, nothing else of it has changed) or none; in
// 2 and 3 it leaves no volume; from 4 on, the complete new one, if need be by a copy.
//
// # Size
//
// Only the first MaxReady groups are formatted; the grow block says how many. Nodes format the others as space runs
// out, so that a volume of 64 TiB takes seconds and stays sparse. Free space of unformatted groups counts from the
// start: Super.FreeClusters is the free space of all groups as if all were formatted.
package mkfs
