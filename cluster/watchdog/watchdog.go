// Package watchdog resets this host when its node can no longer be sure of its lease: the last resort against a process
// that hangs between the look at the clock and its write.
//
// A Dog is armed when the first lease begins, fed with every renewal that counts, and disarmed when the last I/O of the
// node is over. Whoever stops feeding it without that, by a crash, a hang or a lease that is lost, is reset.
//
// # Time
//
// A renewal that started at s is fed at s+D at the latest, since later it does not count, and the others wait until s+W
// at least, W = L + D + g. A dog that fires T after the last meal therefore fires in time if D + T < L + D + g. The node
// arms it with the limit L + g/2: half the guard is left for the hardware.
package watchdog

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Device is a watchdog timer that is running.
type Device interface {
	// SetTimeout asks for a time in seconds and returns the one that the hardware took.
	SetTimeout(seconds int) (granted int, err error)
	// Keepalive starts the time anew.
	Keepalive() error
	// Disarm announces that the next Close is meant, so that it stops the timer (the magic close).
	Disarm() error
	// Close closes the device. Without Disarm the timer runs on.
	Close() error
}

// Dog is the watchdog of one node. Its methods may be called by anyone.
type Dog struct {
	open func() (Device, error)
	name string

	mu sync.Mutex
	// GUARDED_BY(mu): nil unless armed
	dev Device
	// GUARDED_BY(mu)
	timeout time.Duration
}

// New makes a dog that is not armed. open starts the timer; name is for people.
func New(name string, open func() (Device, error)) *Dog { return &Dog{open: open, name: name} }

// Arm starts the timer with the longest time of whole seconds that is not above limit. On an error it is not running, or
// could not be stopped and will reset the host, which the error says.
func (d *Dog) Arm(limit time.Duration) error {
	seconds := int(limit / time.Second)
	if seconds < 1 {
		return fmt.Errorf("watchdog %s: it counts in seconds, and the lease allows %v only: use another profile", d.name, limit)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dev != nil {
		return fmt.Errorf("watchdog %s: armed already", d.name)
	}
	dev, err := d.open()
	if err != nil {
		return fmt.Errorf("watchdog %s: %w", d.name, err)
	}
	granted, err := dev.SetTimeout(seconds)
	if err == nil && granted > seconds {
		err = fmt.Errorf("it fires after %d s at the earliest, the lease allows %d s", granted, seconds)
	}
	if err == nil {
		err = dev.Keepalive()
	}
	if err != nil {
		return fmt.Errorf("watchdog %s: %w", d.name, errors.Join(err, stop(dev)))
	}
	d.dev, d.timeout = dev, time.Duration(granted)*time.Second
	return nil
}

// Feed starts the time anew. A dog that is not armed eats nothing.
func (d *Dog) Feed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dev == nil {
		return nil
	}
	if err := d.dev.Keepalive(); err != nil {
		return fmt.Errorf("feed watchdog %s: %w", d.name, err)
	}
	return nil
}

// Disarm stops the timer. A dog that is not armed stays so.
func (d *Dog) Disarm() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dev == nil {
		return nil
	}
	dev := d.dev
	d.dev = nil
	if err := stop(dev); err != nil {
		return fmt.Errorf("watchdog %s: %w", d.name, err)
	}
	return nil
}

// String says what it is and when it fires.
func (d *Dog) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dev == nil {
		return d.name + ", not armed"
	}
	return fmt.Sprintf("%s, fires after %v", d.name, d.timeout)
}

func stop(dev Device) error {
	err := dev.Disarm()
	if err != nil {
		err = fmt.Errorf("it cannot be stopped and will reset this host: %w", err)
	}
	return errors.Join(err, dev.Close())
}
