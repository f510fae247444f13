package volumetest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/check/checktest"
	"github.com/covol/covol/ondisk/volume/volumetest"
)

func TestSampleIsCleanAndAlwaysTheSame(t *testing.T) {
	a, b := volumetest.Sample(t), volumetest.Sample(t)
	require.Equal(t, a.Dev.Hash(), b.Dev.Hash())
	checktest.MustBeClean(t, a.Dev)
}
