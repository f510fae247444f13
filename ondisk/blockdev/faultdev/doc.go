// Package faultdev makes any blockdev.Device fail where a rule says so. Rules are text, so that the line a failing
// test prints is the line that repeats it.
//
//	rule   = op [ "#" N | ">" N ] [ A ".." B | "block" N ] action [ "once" | "sticky" ]
//	op     = "read" | "write" | "flush" | "discard" | "caw" | "any"
//	action = "error" | "late-error" | "fenced" | "corrupt" | "torn" | "lost" |
//	         "hang" | "hold" | "delay" TIME | "late" TIME
//
// Rules are separated by newlines or ";". Empty ones, and what follows "//" on a line, are skipped.
//
//	write #7 error               the 7th write fails
//	write 4096..8192 error       every write that touches bytes 4096 to 8191 fails
//	read block 12 corrupt        reads of 4 KiB block 12 deliver changed data
//	flush #2 error sticky        the 2nd flush and all after it fail
//	any >40 error                everything after the 40th operation fails
//	write #3 8192..12288 torn    of the third write to that range only the first half is made
//	any hang                     the path to the disk is gone until the rules are replaced
//	write #1 late 5s             the next write is acknowledged now and lands five seconds later
//
// Numbers count from 1 the operations that match op and range of the rule, since the rule was set. A flush has no
// range and never matches a rule with one. "once" stops after the first strike; "sticky" goes on from the first
// strike for every operation of the rule's op, in range or not.
//
//	error       nothing is done; blockdev.ErrMedium
//	late-error  it is done; blockdev.ErrMedium all the same
//	fenced      nothing is done; blockdev.ErrFenced
//	corrupt     read: it is done, and a byte of every sector in the range changed; write, caw: so is what is written
//	torn        write: the first half of the sectors, rounded down, is written; blockdev.ErrMedium
//	lost        write, flush, discard: nothing is done and nil returned; read: the buffer comes back as zeros
//	hang        neither begins nor ends until the rules are replaced; then nothing is done and it is blockdev.ErrMedium
//	hold        neither begins nor ends until the rules are replaced; then it is done, however late
//	delay TIME  it is done so much later, and answered then
//	late TIME   write: answered at once with nil, and done so much later, from a copy of the buffer
//
// A disk does not know contexts: an operation that hangs, is held or delayed does not end with its context.
// An action that makes no sense for an operation (a torn read, a lost caw) is an error. Changed bytes depend on
// nothing but their place. The first rule that strikes is carried out; all count.
package faultdev
