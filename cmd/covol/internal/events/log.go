package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Log takes the events of a mount process, keeps the latest in memory and hands all to the store.
type Log struct {
	log  *slog.Logger
	now  func() time.Time
	wake chan struct{} // something is pending, or somebody waits for it to be written
	stop chan struct{}
	over chan struct{} // the writer has ended

	mu sync.Mutex
	// GUARDED_BY(mu): nil: events stay in memory
	disk *Disk
	// GUARDED_BY(mu): the latest, in order of time
	recent []Event
	// GUARDED_BY(mu): not on disk
	pending []Event
	// GUARDED_BY(mu): did not fit into pending
	dropped int
	// GUARDED_BY(mu): of the last batch
	err error
	// GUARDED_BY(mu): closed and replaced with every event
	more chan struct{}

	// writing is held while a helper is at work for this Log.
	writing sync.Mutex
}

const (
	maxRecent  = 1000
	maxPending = 1000
	// batchDelay collects what happens at about the same time.
	batchDelay = time.Second
	// retryDelay follows a batch that could not be written.
	retryDelay = time.Minute
)

// NewLog makes a Log that keeps events in memory until Store is called.
func NewLog(log *slog.Logger) *Log {
	l := &Log{log: log, now: time.Now, wake: make(chan struct{}, 1), stop: make(chan struct{}), over: make(chan struct{}),
		more: make(chan struct{})}
	go l.write()
	return l
}

// Store says where events go from now on, those that have happened included.
func (l *Log) Store(d *Disk) {
	l.mu.Lock()
	l.disk = d
	l.mu.Unlock()
	l.nudge()
}

// Add takes an event; its time is set here (E1, E2).
func (l *Log) Add(e Event) {
	e.cut()
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Time = l.now().Round(0)
	if n := len(l.recent); n > 0 && !e.Time.After(l.recent[n-1].Time) {
		e.Time = l.recent[n-1].Time.Add(1)
	}
	if len(l.recent) == maxRecent {
		l.recent = append(l.recent[:0:0], l.recent[maxRecent/2:]...)
	}
	l.recent = append(l.recent, e)
	l.pending = append(l.pending, e)
	l.dropOldLocked()
	close(l.more)
	l.more = make(chan struct{})
	l.nudge()
}

// dropOldLocked bounds pending.
func (l *Log) dropOldLocked() {
	if over := len(l.pending) - maxPending; over > 0 {
		l.pending, l.dropped = l.pending[over:], l.dropped+over
	}
}

func (l *Log) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write hands batches to the store.
func (l *Log) write() {
	defer close(l.over)
	for {
		select {
		case <-l.wake:
		case <-l.stop:
			return
		}
		delay := batchDelay
		for {
			select {
			case <-time.After(delay):
			case <-l.stop:
				return
			}
			if err := l.Flush(context.Background()); err == nil {
				break
			}
			delay = retryDelay
		}
	}
}

// Flush writes what is pending.
func (l *Log) Flush(ctx context.Context) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	disk, batch, dropped := l.disk, l.pending, l.dropped
	if disk == nil || len(batch) == 0 {
		l.mu.Unlock()
		return nil
	}
	l.pending, l.dropped = nil, 0
	l.mu.Unlock()
	if dropped > 0 {
		lost := fault(fmt.Sprintf("%d events before this one were too many to be kept", dropped))
		lost.Time = batch[0].Time.Add(-1)
		batch = append([]Event{lost}, batch...)
	}
	err := disk.append(ctx, batch)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && (l.err == nil || l.err.Error() != err.Error()) {
		l.log.Warn("events are not stored", "dir", disk.Dir, "err", err)
	}
	l.err = err
	if err != nil {
		l.pending = append(batch, l.pending...)
		l.dropOldLocked()
	}
	return err
}

// Close writes what is pending and ends the Log, within the time of ctx.
func (l *Log) Close(ctx context.Context) error {
	close(l.stop)
	select {
	case <-l.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() { done <- l.Flush(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Read returns events in order of time, those that are not yet stored included. If the store cannot be read the error
// says why, and the events are those in memory.
func (l *Log) Read(ctx context.Context, q Query) ([]Event, Damage, error) {
	err := l.Flush(ctx)
	l.mu.Lock()
	disk := l.disk
	recent := append([]Event{}, l.recent...)
	l.mu.Unlock()
	var old []Event
	var damage Damage
	if disk != nil && err == nil {
		l.writing.Lock()
		old, damage, err = disk.Read(ctx, q)
		l.writing.Unlock()
		if errors.Is(err, errNoStore) {
			err = nil
		}
	}
	return q.cut(merge(old, recent, &q)), damage, err
}

// merge adds to those of the store what came after them.
func merge(old, recent []Event, q *Query) []Event {
	for _, e := range recent {
		if q.matches(&e) && (len(old) == 0 || e.Time.After(old[len(old)-1].Time)) {
			old = append(old, e)
		}
	}
	return old
}

// After returns the events in memory later than t, and a channel that is closed when there are more.
func (l *Log) After(t time.Time) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Event
	for _, e := range l.recent {
		if e.Time.After(t) {
			found = append(found, e)
		}
	}
	return found, l.more
}
