package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"
)

// progressAfter is how long something may take before a terminal shows a bar.
const progressAfter = 2 * time.Second

// progress shows how far something is, on a terminal only, and only if it takes long. The zero value shows nothing.
type progress struct {
	w     io.Writer
	start time.Time

	mu sync.Mutex
	// GUARDED_BY(mu)
	bar *progressbar.ProgressBar
	// GUARDED_BY(mu)
	what string
	// GUARDED_BY(mu)
	total int64
}

func newProgress(f io.Writer) *progress {
	p := &progress{start: time.Now()}
	if isTerminal(f) {
		p.w = f
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// update says how far what is; a total of 0 is one that nobody knows.
func (p *progress) update(what string, done, total int64) {
	if p.w == nil || time.Since(p.start) < progressAfter {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil || p.what != what || p.total != total {
		p.clear()
		n := total
		if n <= 0 {
			n = -1
		}
		p.what, p.total = what, total
		p.bar = progressbar.NewOptions64(n, progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(what),
			progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	_ = p.bar.Set64(done)
}

// done takes the bar off the terminal.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// clear is called with mu held.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}
