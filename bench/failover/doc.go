// Failover measures how long the others wait when a node dies, what locks cost, and what an idle node weighs.
//
//	go run ./bench/failover
//
// It writes bench/results/DATE-failover.md and histograms beside it; nothing is asserted. It needs root and /dev/fuse,
// and nothing else: the volume is an image file, the nodes are processes of this machine.
//
// # Taking over
//
// Two nodes mount one volume. The victim writes a file and so holds its lock exclusively; it is killed by kill -9, and
// the survivor writes and fsyncs that file. What is measured is the time from the kill to the end of that. Two variants:
//
//	after   the survivor's operation begins right after the kill
//	before  it is there already: the victim is stopped, the operation begins, and a moment later the victim is killed
//
// All the while the survivor writes, fsyncs and reads a file that only it uses. The longest of these operations between
// kill and end is its stall; how long they take when nobody dies is measured right before.
//
// # Locks
//
// Two lock managers in this process, connected over loopback, in clear and with TLS 1.3, in turns: a busy machine is
// busy for both.
package main
