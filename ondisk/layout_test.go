package ondisk

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLayoutsHaveNoGaps(t *testing.T) {
	require.NoError(t, Layouts.Check())
	for typ := TypeSuper; typ <= TypeJournalCommit; typ++ {
		l, ok := Layouts.Get(typ.String())
		require.True(t, ok, "%v has no layout", typ)
		require.Equal(t, BlockSize, l.Size)
	}
	_ = fmt.Sprint()
}
