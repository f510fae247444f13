// Package simdisk is a simulated disk that several hosts share and that keeps only the promises of package
// blockdev. Tests and the simulator run covol on it and ask afterwards what a power failure, a dead host or a
// fence would have left.
//
// A write goes through three places:
//
//	in flight   issued, not answered. Nothing, or a part, has reached the disk. Becomes a ghost when its host dies
//	            (KillHost), and may then land at any later time (DeliverGhosts) unless the host is fenced (Fence).
//	cached      landed: every host reads it, but it is in the disk's volatile cache. A power failure (CrashClone)
//	            may lose it. It can never be a ghost.
//	stable      flushed, or written with fua.
//
// What may go wrong is chosen by Traits; the zero Traits are a disk with a battery-backed cache and no faults.
//
//	Traits                   withdraws
//	LoseUnflushed            finished writes survive a power failure without Flush
//	TearSectors              a write of several sectors is all there or not at all, for readers and after a crash
//	GarbageOnTear            a sector that was being written at a power failure holds its old or its new content
//	Ordered (restores)       writes survive a power failure in any combination; with it, only as a prefix
//	MisdirectWrites, -Reads  a transfer goes where it was addressed
//	ReadErrors, WriteErrors  transfers succeed; after a failed write its range holds old or new sectors
//
// Everything random comes from Config.Seed, in the order of the calls: under a deterministic scheduler the same
// seed gives the same run. Time comes from Config.Wait alone; without it every call ends at once.
//
// A context that ends while a write waits decides it: it lands at once, or never.
package simdisk
