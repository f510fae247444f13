// Package tcp carries the datagrams of lock managers, and small control messages beside them, over one TCP
// connection per pair of nodes.
//
// The node in the lower slot dials, the other accepts; both show a [hello] first, and a node that is not the
// expected life of a member of the same volume is refused with a reason that both log. With TLS both sides show a
// certificate before the hello, and Config.CheckPeer holds it to the name that the view has for the slot: who has a
// certificate of the cluster is still nobody but itself. After the hello the connection carries frames both ways:
//
//	0  le32  length of what follows the checksum, 1 to maxFrame
//	4  le32  CRC32C of what follows
//	8  u8    channel: 0 lock manager, 1 cluster control, 2 addresses of gossip, 255 keepalive
//	9  ...   message
//
// A frame that does not fit this, a silence of three keepalives, or any error ends the connection; the dialer makes
// a new one. What was queued or on its way may then be lost or, if the break hid a success, not lost: the users of
// the channels number and repeat their messages by themselves.
//
// This is the only package of the lock manager that uses goroutines, sockets and the clock. Lock order:
//
//	Transport.mu → peer.mu
package tcp
