package journal

import (
	"context"
	"sync"

	"github.com/covol/covol/ondisk/sched"
)

// fanOut calls do for 0..n-1 on the caller and up to workers-1 procedures that spawn starts, and returns the first
// error. After an error no further call begins.
func fanOut(s sched.Scheduler, spawn func(name string, fn func()), n, workers int, do func(i int) error) error {
	var mu sync.Mutex
	next, active := 0, min(workers, n)
	var first error
	if active == 0 {
		return nil
	}
	done := s.NewEvent()
	work := func() {
		mu.Lock()
		defer mu.Unlock()
		for next < n && first == nil {
			i := next
			next++
			mu.Unlock()
			err := do(i)
			mu.Lock()
			if first == nil {
				first = err
			}
		}
		if active--; active == 0 {
			done.Set()
		}
	}
	for range active - 1 {
		spawn("journal io", work)
	}
	work()
	_ = done.Wait(context.Background())
	mu.Lock()
	defer mu.Unlock()
	return first
}
