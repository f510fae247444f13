package main

import (
	"context"
	"slices"
	"time"
)

// measure is what a work gave once.
type measure struct {
	value    float64       // in the unit of the work
	ops      int           // how many operations it were; 0: not counted
	p50, p99 time.Duration // of one operation; 0: not measured
	cpu      time.Duration // that the server of the filesystem used for one operation; 0: there is no server
}

// work is something that targets do.
type work struct {
	section string
	name    string
	unit    string
	less    bool // the smaller the better
	fits    func(*target) bool
	run     func(context.Context, *bench, *target) (measure, error)
}

// worksOf are those of the sections that were asked for, in the order of the report.
func worksOf(o options) []work {
	var all []work
	for _, w := range slices.Concat(dataWorks, metaWorks, programWorks) {
		if slices.Contains(o.only, w.section) {
			all = append(all, w)
		}
	}
	return all
}

func hasMount(t *target) bool { return t.mount != "" }
