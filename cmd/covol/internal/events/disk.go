package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Disk is the way to a store on disk, through helper processes. It is for one goroutine at a time.
type Disk struct {
	// Command starts the helper: a program and its first arguments, which must call Help with those that follow.
	Command []string
	Dir     string
	TTL     time.Duration // 0: DefaultTTL

	checked bool // by an append of this process
}

// helperTime bounds one job. A store of maxEvents takes far less.
const helperTime = time.Minute

// errNoStore says that there is nothing to read yet.
var errNoStore = errors.New("no events have been stored")

// IsEmpty reports whether err of Read says that there is no store, because nothing has been stored.
func IsEmpty(err error) bool { return errors.Is(err, errNoStore) }

// append writes events; if the store cannot be used it begins a new one.
func (d *Disk) append(ctx context.Context, batch []Event) error {
	err := d.tryAppend(ctx, batch)
	if !errors.Is(err, errDamaged) {
		return err
	}
	if aside := SetAside(d.Dir); aside != nil {
		return errors.Join(err, aside)
	}
	lost := fault("begun anew, the old one is damaged: " + err.Error())
	return d.tryAppend(ctx, append([]Event{lost}, batch...))
}

func (d *Disk) tryAppend(ctx context.Context, batch []Event) error {
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	for i := range batch {
		if err := enc.Encode(&batch[i]); err != nil {
			return fmt.Errorf("encode events: %w", err)
		}
	}
	job := jobAppend
	if !d.checked {
		job = jobCheck
	}
	_, err := d.help(ctx, job, in.Bytes())
	d.checked = err == nil
	return err
}

// Read returns the events asked for in order of time, and whether others are damaged.
func (d *Disk) Read(ctx context.Context, q Query) ([]Event, Damage, error) {
	if _, err := os.Stat(filepath.Join(d.Dir, "MANIFEST")); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = errNoStore
		}
		return nil, Damage{}, fmt.Errorf("events in %s: %w", d.Dir, err)
	}
	in, err := json.Marshal(q)
	if err != nil {
		return nil, Damage{}, err
	}
	out, err := d.help(ctx, jobRead, in)
	if err != nil {
		return nil, Damage{}, err
	}
	var damage Damage
	dec := json.NewDecoder(bytes.NewReader(out))
	if err := dec.Decode(&damage); err != nil {
		return nil, Damage{}, fmt.Errorf("answer of the event store: %w", err)
	}
	found := []Event{}
	for dec.More() {
		var e Event
		if err := dec.Decode(&e); err != nil {
			return nil, Damage{}, fmt.Errorf("answer of the event store: %w", err)
		}
		found = append(found, e)
	}
	return found, damage, nil
}

// errDamaged says that a store cannot be used and will not get better.
var errDamaged = errors.New("damaged")

// help runs the helper to its end.
func (d *Disk) help(ctx context.Context, job string, in []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, helperTime)
	defer cancel()
	ttl := d.TTL
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	args := append(append([]string{}, d.Command[1:]...), job, d.Dir, strconv.FormatInt(max(int64(ttl/time.Second), 1), 10))
	cmd := exec.CommandContext(ctx, d.Command[0], args...)
	cmd.Dir = "/" // the working directory may be on the volume
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=64MiB", "GOTRACEBACK=none")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	err := cmd.Run()
	if err == nil {
		return out.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("event store: %s: %w", job, ctx.Err())
	}
	err = fmt.Errorf("event store: %s: %w: %s", job, err, firstLine(errs.String()))
	switch code := cmd.ProcessState.ExitCode(); {
	case code == exitInUse:
		err = fmt.Errorf("%w: %w", errInUse, err)
	case code == exitDamaged || code == exitPanic:
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil, err
}

// exitPanic is the exit code of a Go program that panics.
const exitPanic = 2

// firstLine is what matters of a message or a panic.
func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
