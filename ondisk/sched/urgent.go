package sched

// Threader is implemented by schedulers that can give a procedure a thread of the system of its own, with the highest
// priority that the process may take.
type Threader interface {
	GoThread(name string, fn func())
}

// GoUrgent runs fn as a procedure that must not wait for others: on a thread of its own where s has such.
func GoUrgent(s Scheduler, name string, fn func()) {
	if t, ok := s.(Threader); ok {
		t.GoThread(name, fn)
		return
	}
	s.Go(name, fn)
}
