// Package member is one node of one volume: membership, lock manager, journal and filesystem, wired together. The
// command runs one over a device and sockets, the simulator many over a simulated disk and network.
//
//	cluster ──OnView──► dlm ──OnBlocking──► fs ──► gate ──► Data
//	   │  └──OnState: withdrawn──────────────►┘
//	   ├─── Poke, Refresh: control messages over Network ───┘
//	   └───────────────────────────────────────────────────► Beat
//
// # Life
//
//	Start: cluster.Join (journals are replayed) ► locks rebuilt ► fs.Mount ► demands that came early
//	Leave: fs.Unmount ► locks given up ► cluster.Leave ► network closed
//	Kill, or a withdrawal of either the cluster or the filesystem: both withdraw, the lock manager falls silent
//
// The lock manager starts with the first view, inside Join: from then on the others wait for what it has to say.
//
// # Rules
//
//	W1 No blocking callback is lost: the lock manager does not repeat it.
//	W2 Once the filesystem has been given the journal it may be dirty. Then a slot is given back only by a Leave that
//	   brought everything home; every other end is as a death, and somebody replays.
//	W3 A filesystem that has withdrawn keeps nobody waiting: its node stops renewing, so that others may take over.
//
// # Lock order
//
// Node.mu is a leaf: nothing of cluster, dlm and fs is called with it held.
package member
