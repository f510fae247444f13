package scsi

import "sync"

// rangeLock keeps commands that must be alone on their blocks away from all others there.
type rangeLock struct {
	mu   sync.Mutex
	cond *sync.Cond
	// GUARDED_BY(mu)
	held []blockRange
	// GUARDED_BY(mu)
	next uint64
}

type blockRange struct {
	id, lba, blocks uint64
	alone           bool
}

func (l *rangeLock) init() { l.cond = sync.NewCond(&l.mu) }

// lock waits until nobody holds a part of the range alone, and with alone until nobody holds a part at all.
func (l *rangeLock) lock(lba, blocks uint64, alone bool) (unlock func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.taken(lba, blocks, alone) {
		l.cond.Wait()
	}
	l.next++
	id := l.next
	l.held = append(l.held, blockRange{id, lba, blocks, alone})
	return func() { l.unlock(id) }
}

func (l *rangeLock) taken(lba, blocks uint64, alone bool) bool {
	for _, h := range l.held {
		if (alone || h.alone) && lba < h.lba+h.blocks && h.lba < lba+blocks {
			return true
		}
	}
	return false
}

func (l *rangeLock) unlock(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, h := range l.held {
		if h.id == id {
			l.held[i] = l.held[len(l.held)-1]
			l.held = l.held[:len(l.held)-1]
			l.cond.Broadcast()
			return
		}
	}
}
