package fence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Defaults of Command.
const (
	DefaultTimeout = 60 * time.Second
	DefaultRetries = 1
)

// outputKept is how many bytes of what a program prints get into an error.
const outputKept = 512

// Command is the method of a program that switches the victim off. See the package comment for its conventions.
type Command struct {
	Path    string
	Options []string      // key=value, after those that are always given
	Timeout time.Duration // of one run; 0: DefaultTimeout
	Retries int           // further runs after one that failed; negative: none; 0: DefaultRetries
}

var _ Method = Command{}

// Name is "command " and the name of the program.
func (c Command) Name() string { return "command " + filepath.Base(c.Path) }

// Forces is true.
func (Command) Forces() bool { return true }

// Prove runs the program until it succeeds.
func (c Command) Prove(ctx context.Context, v Victim) (Proof, error) {
	if v.Name == "" || strings.ContainsAny(v.Name, "\n\x00") {
		return Proof{}, fmt.Errorf("%w: the victim has no usable name", ErrNoProof)
	}
	retries := c.Retries
	if retries == 0 {
		retries = DefaultRetries
	}
	for {
		err := c.run(ctx, v.Name)
		switch {
		case err == nil:
			return Proof{Method: c.Name(), Text: "it has switched " + v.Name + " off", Settle: true}, nil
		case ctx.Err() != nil:
			return Proof{}, ctx.Err()
		case retries <= 0:
			return Proof{}, fmt.Errorf("%w: %w", ErrNoProof, err)
		}
		retries--
	}
}

func (c Command) run(ctx context.Context, name string) error {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var out tail
	cmd := exec.CommandContext(limited, c.Path)
	cmd.Stdin = strings.NewReader(c.input(name))
	cmd.Stdout, cmd.Stderr = &out, &out
	// The program may have started others, which would keep its output open.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case limited.Err() != nil && ctx.Err() == nil:
		err = fmt.Errorf("not done within %v", timeout)
	case errors.Is(err, exec.ErrWaitDelay):
		// It ended with status 0 and left something running that holds its output: it has answered all the same.
		return nil
	}
	return fmt.Errorf("run %s: %w%s", c.Path, err, out.text())
}

func (c Command) input(name string) string {
	lines := append([]string{"action=off", "nodename=" + name, "port=" + name}, c.Options...)
	return strings.Join(lines, "\n") + "\n"
}

// tail keeps the end of what is written.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - outputKept; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	s := strings.ToValidUTF8(string(bytes.TrimSpace(t.b)), "?")
	if s == "" {
		return ""
	}
	return ": " + strings.Join(strings.Fields(s), " ")
}
