package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is a line of go test -json, see go doc test2json.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build events
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// tally counts tests and prints what people must read.
type tally struct {
	w    io.Writer
	pass string // name of the pass that is running

	passed, failed, skipped int
	skips                   []string
	slow                    []timed // tests without subtests, the slowest first

	output map[string]*bytes.Buffer // by package and test, until its outcome is known
	parent map[string]bool          // package, test and outcome of tests that have subtests of that outcome
	broken map[string]bool          // packages with a failing test
}

// timed is how long a test took.
type timed struct {
	name    string
	seconds float64
}

// slowest is how many tests the summary names with their time, of those that took a second or more.
const slowest = 20

func newTally(w io.Writer) *tally {
	return &tally{w: w, output: map[string]*bytes.Buffer{}, parent: map[string]bool{}, broken: map[string]bool{}}
}

// read takes in the output of one go test.
func (t *tally) read(r io.Reader) error {
	t.output, t.parent, t.broken = map[string]*bytes.Buffer{}, map[string]bool{}, map[string]bool{}
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadBytes('\n')
		if len(line) > 0 {
			t.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tally) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil || e.Action == "" {
		fmt.Fprintf(t.w, "%s\n", bytes.TrimRight(line, "\n"))
		return
	}
	switch e.Action {
	case "output":
		t.keep(e.Package, e.Test, e.Output)
	case "build-output":
		t.keep(e.ImportPath, "", e.Output)
	case "pass", "fail", "skip":
		if e.Test != "" {
			t.test(&e)
		} else {
			t.pkg(&e)
		}
	}
}

func key(pkg, test string) string { return pkg + "\x00" + test }

func (t *tally) keep(pkg, test, text string) {
	b := t.output[key(pkg, test)]
	if b == nil {
		b = &bytes.Buffer{}
		t.output[key(pkg, test)] = b
	}
	b.WriteString(text)
}

// take returns what was printed by a test, and forgets it.
func (t *tally) take(pkg, test string) string {
	b := t.output[key(pkg, test)]
	delete(t.output, key(pkg, test))
	if b == nil {
		return ""
	}
	return b.String()
}

func (t *tally) test(e *event) {
	out := t.take(e.Package, e.Test)
	inner := t.parent[key(e.Package, e.Test)+e.Action]
	for name := e.Test; ; {
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			break
		}
		name = name[:i]
		t.parent[key(e.Package, name)+e.Action] = true
	}
	switch e.Action {
	case "fail":
		t.broken[e.Package] = true
		fmt.Fprintf(t.w, "FAIL %s %s (%.1f s)\n%s", short(e.Package), e.Test, e.Elapsed, indent(out))
		if !inner {
			t.failed++
		}
	case "skip":
		if !inner {
			t.skipped++
			t.skips = append(t.skips, t.where(e)+": "+reason(out))
		}
	case "pass":
		if !inner {
			t.passed++
		}
	}
	if !inner && e.Elapsed >= 1 {
		t.slow = append(t.slow, timed{t.where(e), e.Elapsed})
	}
}

func (t *tally) where(e *event) string {
	w := short(e.Package) + " " + e.Test
	if t.pass != "" {
		w = t.pass + ": " + w
	}
	return w
}

func (t *tally) pkg(e *event) {
	out := t.take(e.Package, "")
	switch e.Action {
	case "pass":
		fmt.Fprintf(t.w, "ok   %s (%.1f s)\n", short(e.Package), e.Elapsed)
	case "fail":
		if !t.broken[e.Package] {
			t.failed++
			fmt.Fprint(t.w, indent(t.take(e.FailedBuild, "")), indent(out), t.unfinished(e.Package))
		}
		fmt.Fprintf(t.w, "FAIL %s (%.1f s)\n", short(e.Package), e.Elapsed)
	}
}

// unfinished is what tests printed whose outcome never came, as when the process was killed.
func (t *tally) unfinished(pkg string) string {
	var text strings.Builder
	for k := range t.output {
		if p, test, _ := strings.Cut(k, "\x00"); p == pkg {
			fmt.Fprintf(&text, "unfinished: %s\n%s", test, indent(t.take(pkg, test)))
		}
	}
	return text.String()
}

// skipLine is how testing prints the argument of Skip.
var skipLine = regexp.MustCompile(`^\s*[\w.-]+\.go:\d+: (.*)$`)

// reason finds why a test was skipped in what it printed: the last message.
func reason(out string) string {
	why := "no reason given"
	for line := range strings.Lines(out) {
		if m := skipLine.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			why = m[1]
		}
	}
	return why
}

func short(pkg string) string { return strings.TrimPrefix(pkg, "github.com/covol/covol/") }

func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("    " + line)
	}
	if s != "" && !strings.HasSuffix(s, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}

// summary prints all skips and the last line.
func (t *tally) summary() {
	slices.SortStableFunc(t.slow, func(a, b timed) int { return cmp.Compare(b.seconds, a.seconds) })
	if len(t.slow) > 0 {
		fmt.Fprintln(t.w, "Slowest:")
	}
	for _, s := range t.slow[:min(slowest, len(t.slow))] {
		fmt.Fprintf(t.w, "  %6.1f s  %s\n", s.seconds, s.name)
	}
	if len(t.skips) > 0 {
		fmt.Fprintln(t.w, "Skipped:")
		for _, s := range t.skips {
			fmt.Fprintln(t.w, "  "+s)
		}
	}
	fmt.Fprintf(t.w, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
}
