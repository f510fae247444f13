package integration

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// replayed are the directories whose code a simulator replays from a seed: time, procedures, waiting and chance must
// come from the scheduler and from arguments. Directories below them count too, but for those in shells.
var replayed = []string{"ondisk", "journal", "dlm", "cluster", "fs", "member"}

// shells talk to the real world, or are the schedulers and devices of tests.
var shells = []string{
	"ondisk/sched", "ondisk/blockdev", "ondisk/check/checktest", "dlm/tcp", "dlm/simnet", "cluster/pki", "cluster/serf", "fs/fusefs", "fs/posixtest",
}

// mayUse lists single uses in replayed code that are right, with the reason.
var mayUse = map[string]string{
	"ondisk/mkfs time.Now":   "the default of Options.Now, and how long a discard takes; nothing that is written depends on it",
	"ondisk/mkfs time.Since": "how long a discard takes",
}

// forbidden are functions by package and name.
var forbidden = map[string][]string{
	"time":         {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
	"math/rand":    {"*"},
	"math/rand/v2": {"*"},
}

// seeded are the names of math/rand that make a generator from a seed; all others use the global one.
var seeded = map[string]bool{"New": true, "NewSource": true, "NewPCG": true, "NewChaCha8": true, "Rand": true, "Source": true, "NewZipf": true, "Zipf": true}

// TestReplayable looks for time.Now, the global math/rand, go and select in code that must replay.
func TestReplayable(t *testing.T) {
	for _, dir := range replayed {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel := filepath.ToSlash(strings.TrimPrefix(path, "../"))
			for _, s := range shells {
				if d.IsDir() && rel == s {
					return filepath.SkipDir
				}
			}
			if d.IsDir() || !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
				return nil
			}
			for _, finding := range lintFile(t, path, filepath.ToSlash(filepath.Dir(rel))) {
				t.Error(rel + finding)
			}
			return nil
		})
		require.NoError(t, err)
	}
}

// lintFile returns ":line: what" for each finding.
func lintFile(t *testing.T, path, pkg string) []string {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	return lint(set, f, pkg)
}

func lint(set *token.FileSet, f *ast.File, pkg string) (findings []string) {
	imports := map[string]string{} // by name in the file
	for _, i := range f.Imports {
		p := strings.Trim(i.Path.Value, `"`)
		name := p[strings.LastIndexByte(p, '/')+1:]
		if p == "math/rand/v2" {
			name = "rand"
		}
		if i.Name != nil {
			name = i.Name.Name
		}
		imports[name] = p
	}
	report := func(n ast.Node, what string) {
		if _, ok := mayUse[pkg+" "+what]; !ok {
			findings = append(findings, fmt.Sprintf(":%d: %s in code that a simulator replays", set.Position(n.Pos()).Line, what))
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report(n, "go")
		case *ast.SelectStmt:
			report(n, "select")
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			p := imports[x.Name]
			for _, name := range forbidden[p] {
				if name == n.Sel.Name || name == "*" && !seeded[n.Sel.Name] {
					report(n, p+"."+n.Sel.Name)
				}
			}
		}
		return true
	})
	return findings
}

// TestLint: the linter finds what it is for, and nothing else.
func TestLint(t *testing.T) {
	const src = `package x
import ("time"; "math/rand"; r2 "math/rand/v2")
func f(c chan int, rng *rand.Rand) {
	go f(c, rng)
	select { case <-c: }
	_ = time.Now()
	_ = rand.Intn(3)
	_ = r2.IntN(3)
	_ = rng.Intn(3) + int(time.Second)
	_ = rand.New(rand.NewSource(1))
}`
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "x.go", src, 0)
	require.NoError(t, err)
	var lines []string
	for _, l := range lint(set, f, "x") {
		line, _, _ := strings.Cut(l[1:], ":")
		lines = append(lines, line)
	}
	require.Equal(t, []string{"4", "5", "6", "7", "8"}, lines)
}
