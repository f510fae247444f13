package fusefs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// interruptEvery is how often a process whose request was interrupted is looked at again.
const interruptEvery = 50 * time.Millisecond

// interruptOp answers INTERRUPT: a signal has come for the process that waits for a request.
//
// Only a signal that ends the process cancels its request. Local filesystems do not return EINTR from operations on
// names and files, programs do not expect it, and some runtimes signal themselves all the time. It would be wrong, too:
// the kernel follows CREATE with a GETATTR of its own before open(2) returns, and if that one were interrupted, open
// would fail with the file made. The kernel tells of the first signal only, so a process that goes on waiting is
// looked at again now and then.
//
// EAGAIN makes the kernel repeat the INTERRUPT: the request may have been read by another worker that has not come to
// register it; if it is finished instead, the kernel drops the answer.
func (s *Server) interruptOp(req *Request, reply Reply) {
	c := s.calls.get(req.Interrupted)
	if c == nil {
		reply.Error(syscall.EAGAIN)
		return
	}
	s.cancelIfKilled(c)
	reply.None()
}

// cancelIfKilled cancels a request whose process is being killed, and otherwise looks again later, as long as the
// request is in flight.
func (s *Server) cancelIfKilled(c *call) {
	if s.cfg.Killed(c.req.Caller.PID) {
		c.cancel()
		return
	}
	id := c.req.ID
	time.AfterFunc(interruptEvery, func() {
		if s.calls.get(id) == c {
			s.cancelIfKilled(c)
		}
	})
}

// killed reports whether the thread has SIGKILL pending. The kernel gives SIGKILL to every thread of a process that any
// deadly signal ends.
func killed(tid uint32) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return os.IsNotExist(err) && tid != 0 // gone; 0 is a process of another PID namespace
	}
	for _, field := range []string{"\nSigPnd:", "\nShdPnd:"} {
		_, rest, ok := bytes.Cut(b, []byte(field))
		if !ok {
			continue
		}
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		set, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 64)
		if err == nil && set&(1<<(syscall.SIGKILL-1)) != 0 {
			return true
		}
	}
	return false
}
