package sim

import "errors"

// hostLocks are the locks of one machine's kernel on bytes of the device. They are dropped when their holder dies.
type hostLocks struct {
	p *process
}

var errTaken = errors.New("taken")

type lockedByte struct {
	machine int
	n       int64
}

func (l hostLocks) key(n int64) lockedByte { return lockedByte{l.p.host.machine, n} }

func (l hostLocks) LockByte(n int64, _ bool) error {
	if l.p.w.bytes[l.key(n)] != nil {
		return errTaken
	}
	l.p.w.bytes[l.key(n)] = l.p
	return nil
}

func (l hostLocks) UnlockByte(n int64) error {
	if l.p.w.bytes[l.key(n)] != l.p {
		return errTaken
	}
	delete(l.p.w.bytes, l.key(n))
	return nil
}

func (l hostLocks) ByteLocked(n int64) (bool, error) { return l.p.w.bytes[l.key(n)] != nil, nil }

// dropLocks is what the kernel does when a process has ended.
func (w *World) dropLocks(p *process) {
	for k, q := range w.bytes {
		if q == p {
			delete(w.bytes, k)
		}
	}
}
