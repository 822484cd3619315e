package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"dachs/tracker"
)

// stateName is the file, and the name of the descriptor, that hands today's visitors over to the next start.
const stateName = "dachs-state"

// handover is where a server leaves what it knows of today's visitors for the next one: in memory, and nowhere else.
type handover interface {
	// take returns what was left, which is nowhere any more once it is closed; nil if nothing was.
	take() (*os.File, error)
	// leave keeps what save writes.
	leave(save func(*os.File) error) error
}

// stateDir is a directory in memory.
type stateDir string

// newHandover returns the one that was asked for, the one that systemd offers, or nil.
func newHandover(dir string) (handover, error) {
	if dir == "" {
		return systemdStore(), nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open --state %s: %w; name a directory that exists, in memory", dir, errors.Unwrap(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("open --state %s: not a directory; name one that is in memory, such as below /run", dir)
	}
	if err := checkInMemory(f); err != nil {
		return nil, fmt.Errorf("open --state %s: %w", dir, err)
	}
	return stateDir(dir), nil
}

func (d stateDir) file() string { return filepath.Join(string(d), stateName) }

func (d stateDir) take() (*os.File, error) {
	defer os.Remove(d.file() + ".new") // of a stop that did not come to its end
	f, err := os.OpenFile(d.file(), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	// Also one that cannot be read: nobody needs it any more.
	if removed := os.Remove(d.file()); err == nil && removed != nil {
		f.Close()
		return nil, removed
	}
	return f, err
}

func (d stateDir) leave(save func(*os.File) error) error {
	name := d.file() + ".new"
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	err = checkInMemory(f) // something else may be mounted there by now
	if err == nil {
		err = save(f)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(name, d.file())
	}
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// resume goes on with the visitors that the server before has left. Without them, whoever comes again today is counted again.
func resume(h handover, t *tracker.Tracker, logger *slog.Logger) {
	if h == nil {
		return
	}
	f, err := h.take()
	if err != nil {
		logger.Warn("cannot go on with today's visitors: they are counted as new ones", "error", err)
	}
	if err != nil || f == nil {
		return
	}
	defer f.Close()
	sites, err := t.Resume(f)
	if err != nil {
		logger.Warn("cannot go on with all of today's visitors: some are counted as new ones", "error", err)
	}
	logger.Info("went on with today's visitors", "sites", sites)
}

// keepVisitors keeps today's visitors for the next server.
func keepVisitors(h handover, t *tracker.Tracker, logger *slog.Logger) {
	if h == nil {
		return
	}
	if err := h.leave(func(f *os.File) error { return t.Save(f) }); err != nil {
		logger.Warn("cannot keep today's visitors for the next start: they will be counted as new ones", "error", err)
	}
}
