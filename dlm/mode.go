package dlm

import "fmt"

// Mode is how a node may use a resource. The zero value NL gives nothing and stands in no one's way.
type Mode uint8

// The modes, in an order in which no mode covers a later one (CW and PR do not cover each other).
const (
	NL Mode = iota // null: nothing
	CR             // concurrent read: look, while others may change it
	CW             // concurrent write: change, while others may too
	PR             // protected read: look, nobody changes it
	PW             // protected write: change, nobody else does; others may only look without protection
	EX             // exclusive: nobody else does anything
	modes
)

var modeNames = [modes]string{"NL", "CR", "CW", "PR", "PW", "EX"}

// String is the two-letter name.
func (m Mode) String() string {
	if m < modes {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// ParseMode is the reverse of String.
func ParseMode(s string) (Mode, error) {
	for m, n := range modeNames {
		if n == s {
			return Mode(m), nil
		}
	}
	return NL, fmt.Errorf("no lock mode %q", s)
}

// compatible[a] has bit b set when a and b may be held at once.
var compatible = [modes]uint8{
	NL: 1<<NL | 1<<CR | 1<<CW | 1<<PR | 1<<PW | 1<<EX,
	CR: 1<<NL | 1<<CR | 1<<CW | 1<<PR | 1<<PW,
	CW: 1<<NL | 1<<CR | 1<<CW,
	PR: 1<<NL | 1<<CR | 1<<PR,
	PW: 1<<NL | 1<<CR,
	EX: 1 << NL,
}

// Compatible reports whether two nodes may hold a and b on one resource at the same instant. It is symmetric.
func Compatible(a, b Mode) bool { return a < modes && b < modes && compatible[a]>>b&1 == 1 }

// Covers reports whether a holder of m has every right that want gives, so that nothing need be asked for.
func (m Mode) Covers(want Mode) bool {
	return m < modes && want < modes && compatible[m]&^compatible[want] == 0
}

// Union is the weakest mode that covers both. It is one of the two except for CW and PR, whose union is PW.
func (m Mode) Union(o Mode) Mode {
	switch {
	case m.Covers(o):
		return m
	case o.Covers(m):
		return o
	default:
		return PW
	}
}

// Writes reports whether the holder may change the value block: PW and EX.
func (m Mode) Writes() bool { return m == PW || m == EX }
