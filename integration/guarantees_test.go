package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	testName  = regexp.MustCompile(`\bTest[A-Z]\w+`)
	testFunc  = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	loopFault = regexp.MustCompile(`\b(kill|stop|net|disk|beat|write|flush|read)-[a-z-]+\b`)
)

// TestGuaranteesDoc: every test that docs/guarantees.md names exists, and so does every fault.
func TestGuaranteesDoc(t *testing.T) {
	doc, err := os.ReadFile("../docs/guarantees.md")
	require.NoError(t, err)
	there := map[string]bool{}
	require.NoError(t, filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(b), -1) {
			there[m[1]] = true
		}
		return err
	}))
	names := testName.FindAllString(string(doc), -1)
	assert.NotEmpty(t, names)
	for _, name := range names {
		assert.True(t, there[name], "no test %s", name)
	}
	faults := map[string]bool{}
	for _, k := range faultKinds {
		faults[k.name] = true
	}
	for line := range strings.Lines(string(doc)) {
		_, shown, _ := strings.Cut(line, "TestFaultLoop")
		for _, name := range loopFault.FindAllString(strings.SplitN(shown, ";", 2)[0], -1) {
			assert.True(t, faults[name], "TestFaultLoop has no fault %s", name)
		}
	}
}
