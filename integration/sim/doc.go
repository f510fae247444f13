// Package sim runs whole clusters in one process: 2 to 8 nodes, each a full member with the real cluster, lock manager,
// journal and filesystem code, on a simulated disk, network and clock, while faults happen and judges look on. A run is a
// function of its seed.
//
// # Parts
//
//	world.go options.go        one run: what is drawn from the seed, start, work, calm, end
//	host.go process.go         a host and the lives of its node; crash, freeze, suspend, leave, restart
//	clock.go path.go net.go hostlock.go   what a process sees of the world: clock and scheduler, disk, network, locks
//	fault*.go                  those who break things; they know nothing of judges
//	client*.go                 those who use the volume, each with a model of its own files
//	judge*.go                  those who judge; they know nothing of faults
//	report.go                  what was run
//
// # Judges
//
//	locks      never two incompatible holders at one instant, seen between filesystem and lock manager (D1)
//	tokens     tokens, epochs and incarnations grow, one life belongs to one process (D2, C3)
//	fence      no write of a life lands once the view has neither it nor its journal (C2)
//	volume     after any crash check finds nothing, before and after replay (F4)
//	files      what was made durable is there, the rest is old or new, never foreign or mixed (F4, C4); a withdrawn node
//	           answers ErrWithdrawn
//	shared     operations on shared files and names are linearizable
//	liveness   when faults stop everything ends and everybody is a member again (D3)
//
// # Time
//
// Everything waits through one seeded scheduler. A process has its own clock, which may run at its own pace and jump,
// and may be frozen: then whatever it waits for does not come back before it is thawed. Its requests to the disk go on
// meanwhile, as those of a stopped process do in the kernel.
package sim
