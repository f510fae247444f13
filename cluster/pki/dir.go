package pki

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// DefaultDir is where a host keeps what it knows of its cluster.
const DefaultDir = "/etc/covol"

// Dir is the path of a cluster directory.
type Dir string

const (
	fileCluster = "cluster.json"
	fileCA      = "ca.crt"
	fileCAKey   = "ca.key"
	fileNode    = "node.crt"
	fileNodeKey = "node.key"
	fileGossip  = "gossip.key"
	dirTokens   = "tokens"
	dirIssued   = "issued"
)

// maxFile bounds what is read of a file.
const maxFile = 64 << 10

// ErrExists says that a file would be overwritten.
var ErrExists = errors.New("there already")

// ErrNoCluster says that a directory is no cluster's.
var ErrNoCluster = errors.New("no cluster directory")

func (d Dir) path(name ...string) string {
	return filepath.Join(append([]string{string(d)}, name...)...)
}

// Exists reports whether the directory is a cluster's, whole or not.
func (d Dir) Exists() bool {
	_, err := os.Stat(d.path(fileCluster))
	return err == nil
}

// prepare makes the directory, and finds out before anything is done whether it may be written.
func (d Dir) prepare(force bool) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	st, err := os.Stat(string(d))
	if err != nil {
		return err
	}
	if st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others may write to %s (mode %#o): chmod 700 %s, or take another directory", d, st.Mode().Perm(), d)
	}
	for _, name := range []string{fileCluster, fileCA, fileCAKey, fileNode, fileNodeKey, fileGossip} {
		_, err := os.Lstat(d.path(name))
		if err == nil && !force {
			return fmt.Errorf("%s: %w", d.path(name), ErrExists)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.CreateTemp(string(d), ".try-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// clear removes what an earlier cluster left, the file that makes it one first.
func (d Dir) clear() error {
	for _, name := range []string{fileCluster, fileNode, fileNodeKey, fileGossip, fileCA, fileCAKey, dirTokens, dirIssued} {
		if err := os.RemoveAll(d.path(name)); err != nil {
			return err
		}
	}
	return syncDir(string(d))
}

// write gives a file its content at once: a reader finds the old, the new, or nothing, also after a crash. With replace
// the file may be there.
func (d Dir) write(name string, content []byte, replace bool) (err error) {
	path := d.path(name)
	suffix := make([]byte, 8)
	_, _ = rand.Read(suffix)
	tmp := filepath.Join(filepath.Dir(path), "."+hex.EncodeToString(suffix)+".new")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := os.Remove(tmp); err == nil && !errors.Is(e, fs.ErrNotExist) {
			err = e
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if replace {
		err = os.Rename(tmp, path)
	} else if err = os.Link(tmp, path); errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%s: %w", path, ErrExists)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// read returns a file that only its owner may use.
func (d Dir) read(name string) ([]byte, error) {
	path := d.path(name)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", path)
	case st.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s may be used by others than its owner (mode %#o): chmod 600 %s", path, st.Mode().Perm(), path)
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(f, maxFile+1)); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if b.Len() > maxFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	}
	return b.Bytes(), nil
}
