package check

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCodesDocumented(t *testing.T) {
	doc, err := os.ReadFile("CODES.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(doc), "<!-- begin codes -->\n")
	require.True(t, ok, "CODES.md has no begin mark")
	table, _, ok := strings.Cut(rest, "<!-- end codes -->")
	require.True(t, ok, "CODES.md has no end mark")
	if os.Getenv("UPDATE_CODES") != "" && table != Markdown() {
		require.NoError(t, os.WriteFile("CODES.md", []byte(strings.Replace(string(doc), "<!-- begin codes -->\n"+table, "<!-- begin codes -->\n"+Markdown(), 1)), 0o644))
		return
	}
	assert.Equal(t, Markdown(), table, "UPDATE_CODES=1 go test -run TestCodesDocumented ./ondisk/check rewrites the table")
}

func TestCodesAscend(t *testing.T) {
	assert.True(t, slices.IsSortedFunc(Kinds, func(a, b Kind) int { return strings.Compare(string(a.Code), string(b.Code)) }))
	assert.Len(t, kinds, len(Kinds), "a code is there twice")
	for _, k := range Kinds {
		assert.Regexp(t, `^F\d{3}$`, string(k.Code))
		assert.NotEmpty(t, k.Title)
		assert.NotEmpty(t, k.Fix)
	}
}
