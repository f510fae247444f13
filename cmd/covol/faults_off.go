//go:build !faults

package main

import "log/slog"

// faultPaths are the two ways of a node to its device. Only a build with the tag faults puts something between.
func faultPaths(data, beat device, _ *slog.Logger) (disk, disk, error) {
	return data, beat, nil
}
