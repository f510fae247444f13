package dlm

import "errors"

// The answers to a lock request other than a grant. They are compared with errors.Is.
var (
	// ErrBusy answers a NoQueue request that cannot be granted at once, for whatever reason: held by others,
	// wanted by others before, paused by a view change, or unknown while a dead node is recovered.
	ErrBusy = errors.New("lock is busy")
	// ErrDeadlock answers a conversion that waits for a holder who waits, by a conversion of the same resource,
	// for the caller. What the caller holds stays; it must convert down before it asks again.
	ErrDeadlock = errors.New("lock conversions would wait for each other")
	// ErrStopped answers everything after Stop, after Leave has begun, and once a view without this node came.
	ErrStopped = errors.New("lock manager has stopped")
	// ErrNotHeld is returned when a lock is converted down that is not held, or not in a covering mode.
	ErrNotHeld = errors.New("lock is not held in that mode")
	// ErrValueSize is returned for a value block above MaxValue bytes.
	ErrValueSize = errors.New("lock value block is too large")
)
