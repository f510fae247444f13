// Package serf gossips among the nodes of one volume who seems to be alive. It notices a dead host in about a second and a
// half, long before its lease is over, and is never believed: it may say that a node has failed, and the cluster then
// looks at the disk sooner. What it says grants nothing, fences nobody and changes no view.
//
// # How nodes meet
//
// The gossip has a socket of its own, UDP and TCP. Its address is not on the disk, whose format has no room for it, and is
// not computed from another port, which may be taken. Nodes tell each other over the connections of the lock manager,
// where each knows from the certificate whom it hears: Meet sends this node's address, once a second, to every member of
// the view that is not seen alive here, and joins the addresses that members send. So a partition of any length heals
// by itself, nobody needs a seed node, and an address never comes from a stranger.
//
// # Who is heard
//
// Packets are encrypted with the key of the cluster and carry the UUID of the volume as a label: of another cluster or
// another volume, also at a port that was used by this one before, nothing is taken in. One life of a node is one name
// here, so that a node that comes back is never mixed up with the one that died.
//
// Lock order: Gossip.mu is a leaf.
package serf
