package ondisk

import (
	"errors"
	"fmt"
)

// ErrCorrupt is the class of every finding that bytes of the volume are not what they must be. Test with
// errors.Is; the *Corrupt inside tells what and where.
var ErrCorrupt = errors.New("corrupt")

// ErrVersion says that the volume is of a format or has an incompatible feature that this build does not know.
var ErrVersion = errors.New("unsupported format")

// Corrupt tells which structure in which block failed which check.
type Corrupt struct {
	Struct string // "inode", "bitmap", ...
	Block  uint64 // block number where it was expected
	Field  string // what was checked
	Got    any
	Want   any // nil when no single value was expected
}

// Error names the structure, the block and the check.
func (c *Corrupt) Error() string {
	if c.Want == nil {
		return fmt.Sprintf("corrupt %s in block %d: bad %s: %v", c.Struct, c.Block, c.Field, c.Got)
	}
	return fmt.Sprintf("corrupt %s in block %d: %s is %v, want %v", c.Struct, c.Block, c.Field, c.Got, c.Want)
}

// Is makes every *Corrupt an ErrCorrupt.
func (c *Corrupt) Is(target error) bool { return target == ErrCorrupt }
