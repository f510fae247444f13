// Package simsched is the deterministic sched.Scheduler: virtual time, one procedure at a time, and a seed that
// decides which of the runnable ones goes next.
//
// Procedures are goroutines that hand one baton around. A procedure keeps it until it waits: in Event.Wait, in
// Sleep, or by ending. Nothing else switches, so code between two waits is atomic, and a run is a pure function
// of the seed and of the procedures' code, provided they
//
//	1 start others only by Go and AfterFunc, never by "go",
//	2 wait only through the Scheduler: a procedure that blocks on a channel or a sync.Mutex someone else holds
//	  stops the world, and Run reports who had the baton when it has stood still for StallAfter of real time,
//	3 take no decision from maps' order, the clock or another source of chance.
//
// Contexts made by WithCancel and WithTimeout of this package wake a waiting procedure when they end, also when it
// waits with a context derived from them by the standard library. Contexts from elsewhere wake nobody by
// their own end; they are looked at when the procedure wakes for another reason.
//
// The goroutine that calls Run is outside: it may call Set, Go, AfterFunc and cancel functions between two Runs,
// but must not wait. Time stands still outside Run.
package simsched
