package mkfs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/covol/covol/ondisk"
)

// Error classes of Format; test with errors.Is.
var (
	ErrTooSmall = errors.New("too small for a covol volume")
	ErrTooLarge = errors.New("too large for a covol volume")
	ErrOccupied = errors.New("the device holds something else; force to overwrite it")
	ErrInUse    = errors.New("the volume is in use")
	ErrOption   = errors.New("bad option")
)

// MaxReady is how many groups Format formats at most.
const MaxReady = 64

// Options of Format. The zero value makes a volume with defaults that suit the size of the device.
type Options struct {
	Label        string // at most 64 bytes
	ClusterSize  uint32 // bytes; 0: 64 KiB, or 4 KiB below 2 GiB
	Slots        uint32 // nodes at a time; 0: 16, 8 below 64 GiB, 4 below 2 GiB
	JournalBytes int64  // per slot; 0: 1/512 of the volume, at least 4 MiB, at most 256 MiB
	GroupBlocks  uint32 // 0: 1000 MiB from 64 GiB on, else about 1/16 of the volume
	Profile      string // name in ondisk.Profiles; "": "default"
	// Force overwrites what is on the device. It does not override an answer of InUse.
	Force bool
	// InUse returns an error, which should say who, if a node of this host has the volume mounted. Without it even
	// Force does not overwrite a volume whose slots say that a node is active.
	InUse func() error
	// NoDiscard leaves out step 2.
	NoDiscard bool
	// Progress is called after each write with how many steps of how many are done. May be nil.
	Progress func(done, total int64)

	// For tests that want the same volume each time.
	UUID     ondisk.UUID      // zero: random
	HashSeed [16]byte         // zero: random
	Rand     io.Reader        // nil: the random source of the system
	Now      func() time.Time // nil: time.Now
}

// complete fills in what was left to default, for a volume of so many bytes, and refuses what the format cannot hold.
func (o *Options) complete(size int64) error {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Profile == "" {
		o.Profile = ondisk.Profiles[0].Name
	}
	o.sizes(size)
	if err := o.check(); err != nil {
		return err
	}
	if o.UUID == (ondisk.UUID{}) {
		if _, err := io.ReadFull(o.Rand, o.UUID[:]); err != nil {
			return fmt.Errorf("draw volume uuid: %w", err)
		}
		o.UUID[6], o.UUID[8] = o.UUID[6]&0x0f|0x40, o.UUID[8]&0x3f|0x80 // RFC 9562, version 4
	}
	if o.HashSeed == ([16]byte{}) {
		if _, err := io.ReadFull(o.Rand, o.HashSeed[:]); err != nil {
			return fmt.Errorf("draw hash seed: %w", err)
		}
	}
	return nil
}

func (o *Options) sizes(size int64) {
	small, medium := size < 2<<30, size < 64<<30
	if o.ClusterSize == 0 {
		o.ClusterSize = 64 << 10
		if small {
			o.ClusterSize = 4 << 10
		}
	}
	if o.Slots == 0 {
		switch {
		case small:
			o.Slots = 4
		case medium:
			o.Slots = 8
		default:
			o.Slots = 16
		}
	}
	if o.JournalBytes == 0 {
		o.JournalBytes = min(max(size/512, 4<<20), 256<<20)
	}
	if o.GroupBlocks == 0 {
		o.GroupBlocks = ondisk.MaxGroupBlocks
		if medium {
			b := size / ondisk.BlockSize / 16 / 256 * 256
			o.GroupBlocks = uint32(min(max(b, ondisk.MinGroupBlocks), ondisk.MaxGroupBlocks))
		}
	}
}

func (o *Options) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf(format+": %w", append(args, ErrOption)...)
	}
	if len(o.Label) > ondisk.LabelSize || !utf8.ValidString(o.Label) || strings.ContainsFunc(o.Label, isControl) {
		return bad("label %q: want at most %d bytes of UTF-8 without control characters", o.Label, ondisk.LabelSize)
	}
	if c := o.ClusterSize; c < ondisk.MinCluster || c > ondisk.MaxCluster || c&(c-1) != 0 {
		return bad("cluster size %d: want a power of two from %d to %d bytes", c, ondisk.MinCluster, ondisk.MaxCluster)
	}
	if o.Slots > ondisk.MaxSlots {
		return bad("%d slots: want 1 to %d", o.Slots, ondisk.MaxSlots)
	}
	if j := o.JournalBytes / ondisk.BlockSize; j < ondisk.MinJournal || j > ondisk.MaxJournal {
		return bad("journal of %d bytes: want %d to %d", o.JournalBytes, ondisk.MinJournal*ondisk.BlockSize, ondisk.MaxJournal*ondisk.BlockSize)
	}
	k := o.ClusterSize / ondisk.BlockSize
	if g := o.GroupBlocks; g < ondisk.MinGroupBlocks || g > ondisk.MaxGroupBlocks || g%k != 0 {
		return bad("groups of %d blocks: want %d to %d, whole clusters", g, ondisk.MinGroupBlocks, ondisk.MaxGroupBlocks)
	}
	if _, err := o.profile(); err != nil {
		return err
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func (o *Options) profile() (ondisk.Profile, error) {
	var names []string
	for _, p := range ondisk.Profiles {
		if p.Name == o.Profile {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return ondisk.Profile{}, fmt.Errorf("profile %q: want one of %s: %w", o.Profile, strings.Join(names, ", "), ErrOption)
}
