package host

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

const unknown = "not known"

// Text is what a command prints, or "not known".
func Text(args ...string) string {
	out, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		return unknown
	}
	return strings.TrimSpace(string(out))
}

// Run runs a command; its output is in the error.
func Run(args ...string) error {
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Commit is the commit of the working directory, and whether files in it differ.
func Commit() string {
	c := Text("git", "rev-parse", "--short=12", "HEAD")
	if Text("git", "status", "--porcelain", "--untracked-files=no") != "" {
		c += " (modified)"
	}
	return c
}

// LoadAverage is that of the last 1, 5 and 15 minutes.
func LoadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return unknown
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

// Kernel names the kernel and its release.
func Kernel() string { return Text("uname", "-sr") }

// Machine names processors and memory.
func Machine() string {
	cpu, mem := runtime.GOARCH, ""
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			cpu = strings.TrimSpace(value)
		}
	}
	b, _ = os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			var kib int
			_, _ = fmt.Sscan(value, &kib)
			mem = fmt.Sprintf(", %.0f GiB", float64(kib)/(1<<20))
		}
	}
	return fmt.Sprintf("%d x %s%s", runtime.NumCPU(), cpu, mem)
}
