// Package initiator is an iSCSI initiator in user space (RFC 7143): a logical unit by URL as a blockdev.Device, with
// COMPARE AND WRITE, persistent reservations and a deep queue on one connection.
//
// An operation is queued, sent, and finished. When the connection breaks, the next portal is tried, and the login takes
// the place of the old session: the target has then ended all that was sent before (RFC 7143 6.3.5), so nothing old can
// land behind what is sent again. Reads, writes of the same bytes, flushes and unmaps are sent again; before that
// blockdev.Op.Begin, or for the blocking methods Options.Begin, is asked, as the right to write may have gone in the
// meantime. A COMPARE AND WRITE whose answer was lost
// is looked up on the medium, and reported as ErrUncertain where that cannot tell. A PERSISTENT RESERVE OUT whose
// answer was lost is ErrUncertain: read the keys.
//
// Every operation ends within Options.OpTime of its submission. One whose ctx ends before it was sent is not sent; one
// that was sent is waited for, as the device may be using its buffer.
//
// After reconnecting, identity and size of the unit must be what they were; if not the device fails for good.
//
// Not covered: a target that loses acknowledged writes which were not flushed, when it restarts, is not noticed, as for
// the kernel's initiator.
//
// Lock order: Device.mu is the only lock; hooks and Done are called without it.
package initiator
