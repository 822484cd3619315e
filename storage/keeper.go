package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// keeper puts a copy of what a repair changes beside the store.
type keeper struct {
	dir  string // made when the first file comes; empty if nothing is to be kept
	used bool
	kept map[string]bool
}

func newKeeper(dir string) *keeper { return &keeper{dir: dir, kept: make(map[string]bool)} }

// keep copies a file, once.
func (k *keeper) keep(path string) error {
	if k.dir == "" || k.kept[path] {
		return nil
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("keep a copy of %s: %w", path, err)
	}
	if err := copyFile(filepath.Join(k.dir, filepath.Base(path)), path); err != nil {
		return fmt.Errorf("keep a copy of %s: %w", path, err)
	}
	k.kept[path], k.used = true, true
	return nil
}

// keepKey adds a key and its value to a text file, a line each, in hexadecimal.
func (k *keeper) keepKey(key, value []byte) error {
	if k.dir == "" {
		return nil
	}
	err := os.MkdirAll(k.dir, 0o700)
	if err != nil {
		return fmt.Errorf("keep a copy of a key: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(k.dir, "keys"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep a copy of a key: %w", err)
	}
	_, err = fmt.Fprintf(f, "%x %x\n", key, value)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keep a copy of a key: %w", err)
	}
	k.used = true
	return nil
}

func copyFile(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Sync(), dst.Close())
}

// replaceFile writes a file anew, at once and for good.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
