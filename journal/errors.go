package journal

import (
	"errors"
	"fmt"
)

// Error classes; test with errors.Is. Findings about bytes on disk are ondisk.ErrCorrupt.
var (
	// ErrDirty says that the journal holds transactions that must be replayed before anyone may open it.
	ErrDirty = errors.New("journal is dirty: replay it first")
	// ErrStale says that this life of the node is not newer than the one that last wrote the journal (J4).
	ErrStale = errors.New("journal belongs to a later life of the node")
	// ErrStopped says that the journal was closed, killed, or stopped itself after an uncertain I/O error, which
	// is then wrapped too. Nothing is written any more.
	ErrStopped = errors.New("journal stopped")
	// ErrTooLarge says that a transaction has more than MaxTxnBlocks blocks. Nothing of it is visible.
	ErrTooLarge = errors.New("transaction too large for the journal")
	// ErrFreed says that the block was freed by a transaction that is not durable yet and holds nothing.
	ErrFreed = errors.New("block is free")
	// ErrMisuse says that the caller broke a rule of this package; what was asked for was not done.
	ErrMisuse = errors.New("misuse of the journal")
)

var (
	errClosed = fmt.Errorf("%w: closed", ErrStopped)
	errKilled = fmt.Errorf("%w: killed", ErrStopped)
)

func misuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMisuse, fmt.Sprintf(format, args...))
}
