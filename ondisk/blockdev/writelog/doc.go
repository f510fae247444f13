// Package writelog records what a program writes to a disk, and makes from it every disk that a power failure
// could have left behind.
//
// The log is a sequence of events: a write begins, a write is done, a flush begins, a flush is done, a mark. A
// power failure after an event leaves
//
//	the base image,
//	every write that is stable: done with fua, or done before a flush began that is done,
//	and of the other writes that have begun, the pending ones, any subset,
//
// all applied in the order in which they began. With Options.Torn one pending write of several sectors is there in
// part. A discard is logged as a write of zeros; a compare-and-write that swapped, as a write with fua. A write
// that failed stays pending for ever.
//
// Log.Crashes goes through these states. After a write has begun it tries the subsets that contain it (those
// without it were tried before), and after a mark all of them again, since a mark changes what must be there.
// While at most Options.Exhaustive writes are pending, every subset is tried; beyond that, a seeded sample that
// always has "all" and "none of the others". Every disk is a copy-on-write fork: making one costs what the
// pending writes cost.
//
// Not tried: two writes that overlap in time and place landing in the other order, more than one torn write, and
// sectors that are neither old nor new. simdisk does these at random.
package writelog
