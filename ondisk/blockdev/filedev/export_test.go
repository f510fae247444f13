package filedev

import "runtime"

// Classify is classify.
var Classify = classify

// Poison makes d behave as after an fdatasync that failed.
func (d *Device) Poison(err error) { d.poison(err) }

// RefuseDSync makes d behave as on a kernel without RWF_DSYNC.
func (d *Device) RefuseDSync() { d.noDSync.Store(true) }

// LockThread locks the goroutine to its thread.
var LockThread = runtime.LockOSThread
