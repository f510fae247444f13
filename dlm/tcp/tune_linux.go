package tcp

import (
	"net"

	"golang.org/x/sys/unix"
)

// tune fits a connection to small messages that must not wait. Nothing rests on it, so errors are of no interest.
//
// What was lost is sent again at even pauses for a while (Documentation/networking/tcp-thin.rst): with the usual ones,
// each twice as long as the one before, a network that was cut for a moment would seem to be cut for twice as long, and
// a node could be put out of the cluster after all is well again.
func tune(c *net.TCPConn) {
	_ = c.SetNoDelay(true)
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_THIN_LINEAR_TIMEOUTS, 1)
		})
	}
}
