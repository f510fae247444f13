package dump

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// Error classes; test with errors.Is.
var (
	// ErrUsage says that what to dump was not understood.
	ErrUsage = errors.New("want superblock, slots, group N, inode N, journal N, block N or path P")
	// ErrNotFound says that a path leads nowhere.
	ErrNotFound = errors.New("no such file or directory")
)

// Dump writes the structures that what names to w, as text or as one JSON object: nothing or "superblock", "slots",
// "group" N, "inode" N, "journal" N, "block" N, "path" P.
func Dump(ctx context.Context, w io.Writer, dev blockdev.Device, super *ondisk.Super, what []string, asJSON bool) error {
	d := &dumper{ctx: ctx, dev: dev, s: super}
	all, err := d.what(what)
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	out := bufio.NewWriter(w)
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(object(all))
	} else {
		err = writeText(out, all, 0)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("dump: write: %w", err)
	}
	return nil
}

func (d *dumper) what(what []string) ([]item, error) {
	if len(what) == 0 {
		what = []string{"superblock"}
	}
	numbered := map[string]struct {
		dump  func(uint64) ([]item, error)
		limit uint64
	}{
		"group":   {d.group, uint64(d.s.Groups)},
		"inode":   {d.inodeItems, d.s.Blocks},
		"journal": {d.journal, uint64(d.s.Slots)},
		"block":   {d.anyBlock, d.s.Blocks},
	}
	switch n, ok := numbered[what[0]]; {
	case what[0] == "superblock" && len(what) == 1:
		return d.supers(), nil
	case what[0] == "slots" && len(what) == 1:
		return d.slots(), nil
	case what[0] == "path" && len(what) == 2:
		return d.path(what[1])
	case ok && len(what) == 2:
		i, err := strconv.ParseUint(what[1], 0, 64)
		if err != nil {
			return nil, fmt.Errorf("%s %q: not a number: %w", what[0], what[1], ErrUsage)
		}
		if i >= n.limit {
			return nil, fmt.Errorf("%s %d: the volume has 0 to %d: %w", what[0], i, n.limit-1, ErrNotFound)
		}
		return n.dump(i)
	}
	return nil, fmt.Errorf("%q: %w", what, ErrUsage)
}
