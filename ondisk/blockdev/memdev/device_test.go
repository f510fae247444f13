package memdev_test

import (
	"testing"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/devtest"
	"github.com/covol/covol/ondisk/blockdev/memdev"
)

func TestConformance(t *testing.T) {
	for _, ss := range []int{512, 4096} {
		devtest.Run(t, func(*testing.T) blockdev.Device {
			return memdev.New(blockdev.Geometry{SectorSize: ss, Size: devtest.Size}, nil)
		})
	}
}
