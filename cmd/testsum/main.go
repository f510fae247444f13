// Command testsum runs go test and says at the end what did not run: it prints every skip with its reason and a last
// line "N passed, N failed, N skipped". It exits with 1 if anything failed.
//
//	testsum ./...                                  one pass, with these arguments of go test
//	testsum -pass "NAME: [VAR=VALUE ...] ARGS" ...  several passes, counted together
//
// With "-limit DURATION" first, what still runs after that time is stopped, with the stacks of its goroutines, and counts
// as a failure: whoever waits for the result gets one, and what was printed until then.
//
// A test counts if it has no subtests of the same outcome, so that a failure is counted once, where it happened. A
// package that fails without a failing test (it does not build, or ends too early) counts as one failure.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// pass is one run of go test.
type pass struct {
	name string
	env  []string
	args []string
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(args) > 1 && args[0] == "-limit" {
		limit, err := time.ParseDuration(args[1])
		if err != nil {
			fmt.Fprintln(os.Stderr, "testsum: -limit:", err)
			return 2
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
		args = args[2:]
	}
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
		start := time.Now()
		if err := p.run(ctx, t); err != nil {
			ok = false
		}
		fmt.Printf("-- %s took %.0f s\n", p.name, time.Since(start).Seconds())
	}
	if err := ctx.Err(); err != nil {
		fmt.Println("FAIL: stopped:", err)
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

// grace is what a stopped run gets to print its stacks.
const grace = 20 * time.Second

// run runs go test and feeds the tally. An error says that go test was not content, or was stopped.
func (p *pass) run(ctx context.Context, t *tally) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, p.args...)...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stderr = os.Stderr
	// A group of its own: the tests must get the signal, go test does not hand it on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var kill *time.Timer
	defer func() {
		if kill != nil {
			kill.Stop()
		}
	}()
	cmd.Cancel = func() error {
		kill = time.AfterFunc(grace, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT)
	}
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
