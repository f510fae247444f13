// Package target is an iSCSI target (RFC 7143) in front of a scsi.Server: discovery, login with CHAP both ways,
// digests, many sessions of one connection each, commands run in parallel, R2T, task management, NOPs, residuals.
// Error recovery level 0: what breaks a connection ends its session, and the initiator logs in again.
//
// Each connection has a goroutine that reads, one that writes (sender), and one for each command that runs (task). The
// reader never waits for a device, for memory or for the peer's reading. A watch on the given clock ends connections that
// do not log in, do not take what is sent, do not send the data they were asked for, or are silent.
//
// What a stranger can make us hold is bounded: connections, sessions, login requests, text, commands of a session, and
// bytes of data over all sessions (Options.Memory).
//
// Invariants:
//   - When a session has taken the place of another of the same initiator port, or a task management function is
//     answered, no older command that it concerns is running, and none will.
//   - StatSN is given out by the sender, in the order of the wire.
//   - Memory is taken before the gate of a unit, never under it.
//
// Lock order: Target.mu, then conn.mu; the sender's lock is a leaf.
package target
