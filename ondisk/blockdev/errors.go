package blockdev

import "fmt"

// MaxCompare is the longest compare-and-write, in bytes.
const MaxCompare = 4096

// CheckCompare returns ErrRange unless old and new may be given to CompareAndWrite at off.
func CheckCompare(g Geometry, off int64, old, new []byte) error {
	if len(old) != len(new) || len(old) == 0 || len(old) > MaxCompare {
		return fmt.Errorf("compare and write of %d and %d bytes at %d: %w", len(old), len(new), off, ErrRange)
	}
	if err := CheckRange(g, off, int64(len(old))); err != nil {
		return fmt.Errorf("compare and write %d bytes at %d: %w", len(old), off, err)
	}
	return nil
}

// OpError says which operation failed and where. It unwraps to its class (ErrMedium, ErrFenced, ErrRange, may be
// nil) and to its cause (an errno, may be nil).
type OpError struct {
	Op       string // "read", "write", "flush", "discard", "compare and write"
	Off, Len int64  // bytes; both 0 for a flush
	Class    error
	Err      error
}

func (e *OpError) Error() string {
	s := e.Op
	if e.Off != 0 || e.Len != 0 {
		s = fmt.Sprintf("%s %d bytes at %d", e.Op, e.Len, e.Off)
	}
	if e.Class != nil {
		s += ": " + e.Class.Error()
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns class and cause.
func (e *OpError) Unwrap() []error {
	var all []error
	for _, err := range []error{e.Class, e.Err} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}
