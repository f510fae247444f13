// Command covol makes, mounts, checks and shows cluster volumes: one binary, one file per subcommand.
//
// # Parts
//
//	root.go exit.go output.go size.go progress.go   what all commands share
//	mkfs.go fsck.go dump.go                         tools for a volume that need not be mounted
//	device.go                                       opening a device, with hints for people
//	mount.go mountpoint.go session.go               the process behind a mount
//	node.go peers.go counted.go                     a member of the volume with its device and sockets
//	control.go rundir.go client.go                  the socket that status, locks and umount talk to
//	umount.go status.go locks.go                    its users
//	lab*.go                                         a whole cluster on one machine
//
// # Exit codes
//
// 0 for success, 1 for any failure; fsck has its own: 0 clean, 1 repaired, 4 errors left, 8 could not run.
package main
