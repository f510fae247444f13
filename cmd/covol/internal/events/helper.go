package events

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Jobs of the helper process. Its arguments are the job, the directory of the store, and the TTL in seconds.
const (
	jobAppend = "append" // events on standard input, one JSON object each
	jobCheck  = "check"  // the same, after a check of the whole store and its repair
	jobRead   = "read"   // a Query on standard input; Damage and then events on standard output
)

// Exit codes of the helper. A panic is 2, which is the Go runtime's.
const (
	exitDamaged = 1 // the store cannot be used
	exitInUse   = 3 // another process has it open
	exitSystem  = 4 // an error of the operating system, such as a full disk: the store may be well
	exitUsage   = 5
)

// Help is what the helper process does: the only place where a Store is opened. It returns the exit code.
func Help(args []string, in io.Reader, out, errs io.Writer) int {
	err := help(args, in, out)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errs, err)
	switch {
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, errInUse):
		return exitInUse
	case saysErrno(err, systemErrnos...):
		return exitSystem
	}
	return exitDamaged
}

// systemErrnos do not speak against the store. A file that is missing does.
var systemErrnos = []syscall.Errno{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES, syscall.EPERM, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE,
	syscall.ENOTDIR, syscall.EIO,
}

// errUsage says that the helper was not called by a Disk.
var errUsage = errors.New("event store helper: want JOB DIR TTL, and JSON on standard input")

func help(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 3 {
		return errUsage
	}
	seconds, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil || seconds <= 0 {
		return errUsage
	}
	job, dir, ttl := args[0], args[1], time.Duration(seconds)*time.Second
	switch job {
	case jobAppend, jobCheck:
		return helpAppend(dir, ttl, job == jobCheck, in)
	case jobRead:
		return helpRead(dir, ttl, in, out)
	}
	return errUsage
}

func helpAppend(dir string, ttl time.Duration, check bool, in io.Reader) (err error) {
	var batch []Event
	for dec := json.NewDecoder(in); ; {
		var e Event
		if err := dec.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		batch = append(batch, e)
	}
	s, err := OpenStore(dir, ttl)
	if err != nil {
		return err
	}
	if check {
		if s, err = repair(s); err != nil {
			return err
		}
	}
	return errors.Join(s.Append(batch), s.Close())
}

func helpRead(dir string, ttl time.Duration, in io.Reader, out io.Writer) error {
	var q Query
	if err := json.NewDecoder(in).Decode(&q); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	s, err := OpenStore(dir, ttl)
	if err != nil {
		return err
	}
	found, damage, err := s.Read(q)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	w := bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	err = enc.Encode(damage)
	for i := range found {
		err = errors.Join(err, enc.Encode(&found[i]))
	}
	return errors.Join(err, w.Flush(), s.Close())
}

// repair puts a store with only what is readable in the place of a damaged one (E4).
func repair(s *Store) (*Store, error) {
	all, damage, err := s.scan()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if !damage.Any() {
		return s, nil
	}
	fresh := s.dir + ".new"
	if err := errors.Join(s.Close(), os.RemoveAll(fresh)); err != nil {
		return nil, fmt.Errorf("repair event store: %w", err)
	}
	n, err := OpenStore(fresh, s.ttl)
	if err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	if err := errors.Join(n.append(all), n.Append([]Event{fault("rebuilt: " + damage.String())}), n.Close()); err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	if err := SetAside(s.dir); err != nil {
		return nil, err
	}
	if err := os.Rename(fresh, s.dir); err != nil {
		return nil, fmt.Errorf("repair event store: %w", err)
	}
	return OpenStore(s.dir, s.ttl)
}

// fault is the event that tells of events that are lost.
func fault(text string) Event { return Event{Time: time.Now(), Kind: StoreFault, Text: text} }

// SetAside moves a store that cannot be used out of the way, over one that was moved earlier.
func SetAside(dir string) error {
	aside := dir + ".broken"
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("set event store aside: %w", err)
	}
	if err := os.Rename(dir, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set event store aside: %w", err)
	}
	return nil
}
