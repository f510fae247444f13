// Package simnet is a simulated network of lock managers and the virtual time it runs in.
//
// [World] is a sched.Scheduler whose clock jumps from event to event: procedures run one at a time and are switched
// only where they wait, and what is due at the same instant runs in an order drawn from the seed. [Net] joins the
// nodes of one volume and loses, repeats, delays and reorders what they send, one way or both. Equal seeds and equal
// calls give equal runs.
//
// Nothing here may be used by goroutines of its own: everything happens inside World.Run or before it.
package simnet
