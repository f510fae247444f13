package dlm_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/dlm/wire"
)

var update = flag.Bool("update", false, "rewrite the generated parts of PROTOCOL.md and the stories in testdata")

// TestProtocolDoc holds PROTOCOL.md to the codecs.
func TestProtocolDoc(t *testing.T) {
	raw, err := os.ReadFile("PROTOCOL.md")
	require.NoError(t, err)
	var messages strings.Builder
	for i, table := range wire.Tables() {
		if i > 0 {
			messages.WriteString("\n")
		}
		messages.WriteString(table.Markdown())
	}
	frame := wire.FrameTable()
	doc := between(t, string(raw), "frame", frame.Markdown())
	doc = between(t, doc, "messages", messages.String())
	if *update {
		require.NoError(t, os.WriteFile("PROTOCOL.md", []byte(doc), 0o644))
		return
	}
	require.Equal(t, doc, string(raw), "run: go test ./dlm -run TestProtocolDoc -update")
}

func between(t *testing.T, doc, name, text string) string {
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	before, rest, ok := strings.Cut(doc, begin)
	require.True(t, ok, begin)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok, end)
	return before + begin + text + end + after
}

// TestProtocolDoc_Matrix reads the matrix out of PROTOCOL.md and compares it with the code.
func TestProtocolDoc_Matrix(t *testing.T) {
	raw, err := os.ReadFile("PROTOCOL.md")
	require.NoError(t, err)
	rows := 0
	for line := range strings.Lines(string(raw)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		held, err := dlm.ParseMode(strings.SplitN(strings.TrimSpace(cells[0]), " ", 2)[0])
		if err != nil || len(cells) != 7 {
			continue
		}
		rows++
		for want := dlm.NL; want <= dlm.EX; want++ {
			require.Equal(t, dlm.Compatible(held, want), strings.TrimSpace(cells[want+1]) == "+", "%v %v", held, want)
		}
	}
	require.Equal(t, 6, rows)
}
