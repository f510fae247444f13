package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// maxKept bounds what is read back, in bytes.
const maxKept = 1 << 20

// Keeper keeps a few bytes in a file, whole or not at all.
type Keeper struct{ Path string }

// Load returns what was saved last, nil if nothing was.
func (k Keeper) Load() ([]byte, error) {
	st, err := os.Stat(k.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if st.Size() > maxKept {
		return nil, fmt.Errorf("%s has %d bytes", k.Path, st.Size())
	}
	return os.ReadFile(k.Path)
}

// Save returns nil once data is stable in place of what was there.
func (k Keeper) Save(data []byte) error {
	tmp := k.Path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, k.Path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(filepath.Dir(k.Path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
