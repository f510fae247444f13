// Package checktest makes every test of other packages a test of corruption too: it holds the volume that a test
// leaves to package check.
package checktest

import (
	"context"
	"strings"
	"testing"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/check"
)

// MustBeClean fails t, printing the findings, unless the volume on dev is clean. Dirty journals are read, not
// replayed: the volume is judged as it will be after replay.
func MustBeClean(t testing.TB, dev blockdev.Device) *check.Report {
	t.Helper()
	r, err := check.Check(context.Background(), dev, check.Options{MaxFindings: 200})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	if !r.Clean() {
		var b strings.Builder
		_ = r.WriteText(&b, check.Warning)
		t.Fatalf("volume is not clean:\n%s", b.String())
	}
	return r
}

// CleanAtEnd is MustBeClean when t ends.
func CleanAtEnd(t testing.TB, dev blockdev.Device) {
	t.Helper()
	t.Cleanup(func() { MustBeClean(t, dev) })
}
