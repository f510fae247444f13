// Package devtest holds what every blockdev.Device must do, as one suite that each implementation runs.
//
// The suite asks only for what package blockdev promises. What a disk loses in a power failure is not judged
// here: simdisk and writelog have tests of their own.
package devtest

import (
	"testing"

	"github.com/covol/covol/ondisk/blockdev"
)

// Size is how large devices of the suite must be, in bytes.
const Size = 1 << 20

// Make returns an open device of Size bytes that reads as zeros. It closes it, if it must be closed, by t.Cleanup.
type Make func(t *testing.T) blockdev.Device

// Run runs the suite. Parts that need CompareAndWriter or Submitter run where the device has them; Submit is
// also tried through blockdev.NewPool.
func Run(t *testing.T, mk Make) {
	for _, c := range []struct {
		name string
		fn   func(*testing.T, blockdev.Device)
	}{
		{"geometry", testGeometry},
		{"range errors", testRange},
		{"round trip", testRoundTrip},
		{"random against a model", testModel},
		{"unaligned buffers", testUnaligned},
		{"flush", testFlush},
		{"discard", testDiscard},
		{"ended context", testContext},
		{"concurrent", testConcurrent},
		{"submit", func(t *testing.T, d blockdev.Device) { testSubmit(t, d, blockdev.NewSubmitter(d)) }},
		{"submit by pool", func(t *testing.T, d blockdev.Device) { testSubmit(t, d, blockdev.NewPool(d, 3, nil)) }},
		{"submit errors", testSubmitErrors},
		{"compare and write", testCompare},
		{"compare and write counts", testCompareCounts},
	} {
		t.Run(c.name, func(t *testing.T) { c.fn(t, mk(t)) })
	}
}
