// Command testsum runs go test and says at the end what did not run: it prints every skip with its reason and a last
// line "N passed, N failed, N skipped". It exits with 1 if anything failed.
//
//	testsum ./...                                  one pass, with these arguments of go test
//	testsum -pass "NAME: [VAR=VALUE ...] ARGS" ...  several passes, counted together
//
// A test counts if it has no subtests of the same outcome, so that a failure is counted once, where it happened. A
// package that fails without a failing test (it does not build, or ends too early) counts as one failure.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// pass is one run of go test.
type pass struct {
	name string
	env  []string
	args []string
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	passes, err := parsePasses(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		return 2
	}
	t := newTally(os.Stdout)
	ok := true
	for _, p := range passes {
		if p.name != "" {
			fmt.Printf("-- %s: go test %s\n", p.name, strings.Join(p.args, " "))
		}
		if err := p.run(t); err != nil {
			ok = false
		}
	}
	t.summary()
	if !ok || t.failed > 0 {
		return 1
	}
	return 0
}

func parsePasses(args []string) ([]pass, error) {
	var passes []pass
	for i := 0; i < len(args) && args[i] == "-pass"; i += 2 {
		if i+1 == len(args) {
			return nil, fmt.Errorf("-pass wants NAME: ARGS")
		}
		name, rest, ok := strings.Cut(args[i+1], ":")
		if !ok {
			return nil, fmt.Errorf("-pass %q: want NAME: ARGS", args[i+1])
		}
		p := pass{name: name}
		for _, f := range strings.Fields(rest) {
			if len(p.args) == 0 && isVariable(f) {
				p.env = append(p.env, f)
			} else {
				p.args = append(p.args, f)
			}
		}
		passes = append(passes, p)
	}
	switch {
	case len(passes) == 0:
		return []pass{{args: args}}, nil
	case len(args) != 2*len(passes):
		return nil, fmt.Errorf("arguments %q beside -pass", args[2*len(passes):])
	}
	return passes, nil
}

func isVariable(s string) bool {
	name, _, ok := strings.Cut(s, "=")
	return ok && name != "" && strings.ToUpper(name) == name && !strings.HasPrefix(name, "-")
}

// run runs go test and feeds the tally. An error says that go test was not content.
func (p *pass) run(t *tally) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, p.args...)...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		return err
	}
	t.pass = p.name
	readErr := t.read(out)
	if err := cmd.Wait(); err != nil {
		return err
	}
	return readErr
}
