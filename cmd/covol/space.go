package main

import (
	"context"
	"sync"
	"time"
)

// freeSpace knows the free space of a volume as it was lately: to ask for it takes locks and may read the disk, which
// who asks for the state of a mount must not wait for.
type freeSpace struct {
	mu sync.Mutex
	// GUARDED_BY(mu): nil if it was never told
	bytes *int64
	// GUARDED_BY(mu): closed when the question that is under way has been answered
	asking chan struct{}
}

const (
	// freePatience is how long a question is waited for before the answer to an earlier one has to do.
	freePatience = 100 * time.Millisecond
	// freeTime bounds one question.
	freeTime = 10 * time.Second
)

// look is the free space in bytes, nil if it is not known. It asks only if ask is set.
func (f *freeSpace) look(files *openFiles, ask bool) *int64 {
	if ask {
		select {
		case <-f.ask(files):
		case <-time.After(freePatience):
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes
}

// ask begins a question unless one is under way.
func (f *freeSpace) ask(files *openFiles) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asking != nil {
		return f.asking
	}
	done := make(chan struct{})
	f.asking = done
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), freeTime)
		defer cancel()
		st, err := files.Statfs(ctx)
		f.mu.Lock()
		defer f.mu.Unlock()
		if err == nil {
			n := int64(st.Free) * int64(st.BlockSize)
			f.bytes = &n
		}
		f.asking = nil
		close(done)
	}()
	return done
}
