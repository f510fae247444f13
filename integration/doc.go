// Package integration has no code: its tests drive the covol binary as people do, with real processes, real FUSE
// mounts, real tools and a real guest.
//
// Every test has a lab of its own: a volume in a file and one `covol mount` process per node. When a test is over all
// nodes leave, and `covol fsck -n` must find nothing: every test is a corruption test. A lab that is not done in
// its time gets SIGABRT, so that the log of each node ends with what its goroutines waited for.
//
// Tests need root and /dev/fuse. What else is missing skips a test with the name of the Debian package that has it.
//
// # Knobs, all in the environment
//
//	COVOL_BIN          the binary to test; without it the tests build one
//	COVOL_TEST_RACE    build it with the race detector
//	COVOL_TEST_DIR     where volumes are put (default: the temporary directory)
//	COVOL_TEST_KEEP    a directory that gets the logs of labs whose test failed
//	COVOL_TEST_SCALE   multiplies rounds and seconds of the tests that go on for a while (default 1)
//	COVOL_TEST_IMAGE   MiB of files in the disk image of the main job (default 512, 64 with -short)
//	COVOL_KERNEL_DIR   an unpacked linux-image-*-cloud-amd64 package (default /var/cache/covol/kernel)
//
// # Faults for hours
//
//	go test ./integration -run TestFaultLoop -v -timeout 0 -args -rounds 200
//
// lets one fault after the other happen to nodes that work, each node on a host (a network namespace) of its own, with
// a disk that fails on command. -faults, -seed, -season, -fence and -profile say which, how chosen, how often the whole
// volume is checked, how deaths are proven and with which times; a failing run prints the command that repeats it.
package integration
