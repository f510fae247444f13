package fence

import (
	"context"
	"fmt"
)

// Locks looks at the locks of this host's kernel.
type Locks interface {
	// ByteLocked reports whether anyone on this host holds byte n of the device.
	ByteLocked(n int64) (bool, error)
}

// HostLock is the method of the lock that a node holds, for life, on the byte of its slot: the kernel drops it when the
// process has ended and its writes are over.
type HostLock struct {
	Locks Locks
	// Host and Boot are those of this node. Equal machine-ids alone prove nothing, machines get cloned.
	Host, Boot [16]byte
}

var _ Method = HostLock{}

// Name is "host".
func (HostLock) Name() string { return "host" }

// Forces is false.
func (HostLock) Forces() bool { return false }

// Neighbour reports whether the lock of a node of that host and boot can be looked at from here.
func (m HostLock) Neighbour(host, boot [16]byte) bool {
	return host != [16]byte{} && host == m.Host && boot == m.Boot
}

// Prove looks at the lock, if the victim runs under the same boot of the same kernel.
func (m HostLock) Prove(_ context.Context, v Victim) (Proof, error) {
	if !m.Neighbour(v.Host, v.Boot) {
		return Proof{}, fmt.Errorf("%w: another host", ErrNoProof)
	}
	held, err := m.Locks.ByteLocked(int64(v.Slot))
	if err != nil {
		return Proof{}, fmt.Errorf("look at the lock of slot %d: %w", v.Slot, err)
	}
	if held {
		return Proof{}, fmt.Errorf("%w: its process holds the lock of slot %d", ErrNoProof, v.Slot)
	}
	return Proof{Method: m.Name(), Text: "the kernel has dropped its lock"}, nil
}
