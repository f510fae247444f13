package main

import (
	"os"
	"sync"
	"time"
)

// meter works on a file that no other node uses, until it is stopped, and knows how long that takes.
type meter struct {
	file *os.File
	stop chan struct{}
	done sync.WaitGroup

	mu sync.Mutex
	// GUARDED_BY(mu): when the operation in hand began
	began time.Time
	// GUARDED_BY(mu): since reset
	longest time.Duration
	// GUARDED_BY(mu)
	err error
}

func startMeter(path string) (*meter, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	m := &meter{file: f, stop: make(chan struct{})}
	m.done.Go(m.run)
	return m, nil
}

func (m *meter) run() {
	for {
		select {
		case <-m.stop:
			return
		default:
		}
		m.mu.Lock()
		m.began = time.Now()
		m.mu.Unlock()
		err := touch(m.file)
		m.mu.Lock()
		m.longest = max(m.longest, time.Since(m.began))
		m.err = err
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// touch writes a block durably and reads it.
func touch(f *os.File) error {
	var block [4096]byte
	if _, err := f.WriteAt(block[:], 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	_, err := f.ReadAt(block[:], 0)
	return err
}

// reset forgets what was, but for the operation in hand, which counts from now.
func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.longest, m.began = 0, time.Now()
}

// stall is the longest that an operation took since reset, the one in hand included.
func (m *meter) stall() (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, m.err
	}
	return max(m.longest, time.Since(m.began)), nil
}

func (m *meter) close() {
	close(m.stop)
	m.done.Wait()
	_ = m.file.Close()
}
