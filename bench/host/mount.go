package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Mount is a process `covol mount`.
type Mount struct {
	Dir  string // mount point
	cmd  *exec.Cmd
	gone chan error // how it ended
}

// Start mounts device on dir as a node and returns when programs may use it. Messages are appended to the file log.
func Start(covol, device, dir, node, log string, args ...string) (*Mount, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(covol, append([]string{"mount", device, dir, "--node", node, "--bind", "127.0.0.1:0"}, args...)...)
	cmd.Stderr = f
	// An interrupt from the terminal is for the benchmark, which lets the nodes leave.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m := &Mount{Dir: dir, cmd: cmd, gone: make(chan error, 1)}
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	go func() {
		_, _ = io.Copy(io.Discard, r)
		m.gone <- cmd.Wait()
	}()
	if err != nil || !strings.HasPrefix(line, "covol: mounted") {
		m.Kill()
		b, _ := os.ReadFile(log)
		return nil, fmt.Errorf("covol mount: %q: %s", line, b[max(0, len(b)-2000):])
	}
	return m, nil
}

// PID is the number of the process.
func (m *Mount) PID() int { return m.cmd.Process.Pid }

// Signal sends s to the process.
func (m *Mount) Signal(s syscall.Signal) error { return m.cmd.Process.Signal(s) }

// Stop freezes the process, as SIGSTOP does, and returns when none of its threads runs any more. The signal alone is not
// enough: until the thread that takes it gets a processor, the others go on.
func (m *Mount) Stop() error {
	if err := m.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(stopTime); ; time.Sleep(time.Millisecond) {
		running, err := m.running()
		if err != nil || !running {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not stop", m.PID())
		}
	}
}

// stopTime bounds how long a process may take to stop: one in the middle of I/O ends that first.
const stopTime = 10 * time.Second

// running reports whether a thread of the process is not stopped.
func (m *Mount) running() (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", m.PID()))
	if err != nil {
		return false, err
	}
	for _, t := range threads {
		b, err := os.ReadFile(t)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // that thread has ended
		}
		if err != nil {
			return false, err
		}
		// The name before the state may have any characters, brackets too.
		if _, state, ok := strings.Cut(string(b[max(0, strings.LastIndexByte(string(b), ')')):]), " "); !ok || state[0] != 'T' {
			return true, nil
		}
	}
	return false, nil
}

// Wait waits for the end of the process. It is for one call.
func (m *Mount) Wait() error { return <-m.gone }

// Kill ends the process as kill -9 does, and waits for that. The mount stays, dead, until somebody mounts there again.
func (m *Mount) Kill() {
	_ = m.Signal(syscall.SIGKILL)
	_ = m.Wait()
}

// Leave lets the node leave, and takes away what is left of the mount. Processes that use it are waited for a while.
func (m *Mount) Leave() error {
	_ = m.Signal(syscall.SIGTERM)
	err := m.Wait()
	Unmount(m.Dir)
	return err
}

// Unmount takes a mount away if one is there. What still uses it is waited for a while.
func Unmount(dir string) {
	for try := 0; try < 50 && errors.Is(syscall.Unmount(dir, 0), syscall.EBUSY); try++ {
		time.Sleep(100 * time.Millisecond)
	}
}
