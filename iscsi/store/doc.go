// Package store is what a target serves: a file, sparse or not, or a block device, as a device that gives space back, and
// a place beside it for what a unit must not forget.
package store
