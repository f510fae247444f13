package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func tallyOf(t *testing.T, lines ...string) (*tally, string) {
	t.Helper()
	var out bytes.Buffer
	ty := newTally(&out)
	require.NoError(t, ty.read(strings.NewReader(strings.Join(lines, "\n"))))
	ty.summary()
	return ty, out.String()
}

func TestTally(t *testing.T) {
	const p = `"Package":"github.com/covol/covol/x"`
	cases := map[string]struct {
		lines []string
		last  string
		want  []string
	}{
		"leaves count": {[]string{
			`{"Action":"pass",` + p + `,"Test":"A/one"}`, `{"Action":"pass",` + p + `,"Test":"A/two/three"}`,
			`{"Action":"pass",` + p + `,"Test":"A/two"}`, `{"Action":"pass",` + p + `,"Test":"A"}`, `{"Action":"pass",` + p + `,"Elapsed":1.5}`,
		}, "2 passed, 0 failed, 0 skipped", []string{"ok   x (1.5 s)"}},
		"a failure counts once and is shown": {[]string{
			`{"Action":"output",` + p + `,"Test":"A/one","Output":"got 1\n"}`, `{"Action":"fail",` + p + `,"Test":"A/one"}`,
			`{"Action":"pass",` + p + `,"Test":"A/two"}`, `{"Action":"fail",` + p + `,"Test":"A"}`, `{"Action":"fail",` + p + `}`,
		}, "1 passed, 1 failed, 0 skipped", []string{"FAIL x A/one", "    got 1"}},
		"a skip has its reason": {[]string{
			`{"Action":"output",` + p + `,"Test":"A","Output":"=== RUN   A\n"}`,
			`{"Action":"output",` + p + `,"Test":"A","Output":"    a_test.go:12: needs root\n"}`,
			`{"Action":"skip",` + p + `,"Test":"A"}`, `{"Action":"pass",` + p + `}`,
		}, "0 passed, 0 failed, 1 skipped", []string{"Skipped:", "x A: needs root"}},
		"a package that does not build": {[]string{
			`{"ImportPath":"x [x.test]","Action":"build-output","Output":"x.go:1: undefined: y\n"}`, `{"ImportPath":"x [x.test]","Action":"build-fail"}`,
			`{"Action":"fail",` + p + `,"FailedBuild":"x [x.test]"}`,
		}, "0 passed, 1 failed, 0 skipped", []string{"undefined: y"}},
		"a process that is killed": {[]string{
			`{"Action":"output",` + p + `,"Test":"A","Output":"still busy\n"}`, `{"Action":"output",` + p + `,"Output":"signal: killed\n"}`,
			`{"Action":"fail",` + p + `}`,
		}, "0 passed, 1 failed, 0 skipped", []string{"signal: killed", "unfinished: A", "still busy"}},
		"a package without tests": {[]string{`{"Action":"skip",` + p + `}`}, "0 passed, 0 failed, 0 skipped", nil},
		"what is not JSON":        {[]string{"go: warning"}, "0 passed, 0 failed, 0 skipped", []string{"go: warning"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, out := tallyOf(t, c.lines...)
			lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
			assert.Equal(t, c.last, lines[len(lines)-1])
			for _, w := range c.want {
				assert.Contains(t, out, w)
			}
		})
	}
}

func TestPasses(t *testing.T) {
	p, err := parsePasses([]string{"-pass", "race: -race ./...", "-pass", "one: GOMAXPROCS=1 X=y -short ./a A=b"})
	require.NoError(t, err)
	require.Equal(t, []pass{
		{name: "race", args: []string{"-race", "./..."}},
		{name: "one", env: []string{"GOMAXPROCS=1", "X=y"}, args: []string{"-short", "./a", "A=b"}},
	}, p)
	p, err = parsePasses([]string{"-short", "./..."})
	require.NoError(t, err)
	require.Equal(t, []pass{{args: []string{"-short", "./..."}}}, p)
	for _, bad := range [][]string{{"-pass"}, {"-pass", "x"}, {"-pass", "x: y", "z"}} {
		_, err = parsePasses(bad)
		require.Error(t, err, bad)
	}
}

// TestRun runs go test on a module of its own, with one test of each outcome and a package that does not build.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOWORK", "off")
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	write("go.mod", "module example.org/m\n\ngo 1.26\n")
	write("a/a_test.go", "package a\n\nimport \"testing\"\n\nfunc TestOK(*testing.T) {}\nfunc TestBad(t *testing.T) { t.Error(\"wrong\") }\nfunc TestSkip(t *testing.T) { t.Skip(\"no moon\") }\n")
	write("b/b_test.go", "package b\n\nfunc f() { undefined() }\n")
	t.Chdir(dir)
	var out bytes.Buffer
	ty := newTally(&out)
	p := pass{args: []string{"./..."}}
	require.Error(t, p.run(t.Context(), ty))
	ty.summary()
	assert.Contains(t, out.String(), "1 passed, 2 failed, 1 skipped")
	for _, w := range []string{"wrong", "no moon", "undefined: undefined"} {
		assert.Contains(t, out.String(), w)
	}
}

// A run that is over its time is stopped, and says where it stood.
func TestLimit(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("GOWORK", "off")
	started := filepath.Join(dir, "started")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.org/m\n\ngo 1.26\n"), 0o644))
	test := fmt.Sprintf("package m\n\nimport (\n\t\"os\"\n\t\"testing\"\n\t\"time\"\n)\n\nfunc TestStuck(*testing.T) { os.WriteFile(%q, nil, 0o644); time.Sleep(time.Hour) }\n", started)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "m_test.go"), []byte(test), 0o644))
	t.Chdir(dir)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(started); err == nil {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	var out bytes.Buffer
	ty := newTally(&out)
	p := pass{args: []string{"-timeout", "0", "./..."}}
	require.Error(t, p.run(ctx, ty))
	assert.Contains(t, out.String(), "TestStuck")
	assert.Contains(t, out.String(), "SIGQUIT")
	require.Error(t, p.run(ctx, ty), "nothing starts after the limit")
}
