package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// restoreMark is the file that lies in a directory from the first moment of a restore to its last. Open refuses a
// directory that has it: a part of a backup would give wrong numbers.
const restoreMark = "restoring"

// ErrRestoring says that a restore has not finished in this directory, or is still at work.
var ErrRestoring = errors.New("a restore has not finished here")

// BackupFile is a backup to restore.
type BackupFile struct {
	Name   string // for errors
	Reader io.Reader
}

// Restore makes a store in dir, which must be empty or missing, from a full backup and the increments that were made since, in
// their order. The store has the state of the last one. On return everything is on the disk. After an error, or a crash
// at any moment, Open refuses the directory. Errors wrap ErrBackup, ErrVersion or ErrRestoring where they fit, and name
// the file. The options' key encrypts the new store.
func Restore(ctx context.Context, dir string, o Options, files ...BackupFile) (BackupInfo, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.free == nil {
		o.free = freeSpace
	}
	chain, err := openChain(files)
	if err != nil {
		return BackupInfo{}, fmt.Errorf("restore: %w", err)
	}
	defer func() {
		for _, b := range chain {
			b.close()
		}
	}()
	info, err := restore(ctx, dir, o, files, chain)
	if err != nil {
		return info, fmt.Errorf("restore: %w", err)
	}
	return info, nil
}

// openChain reads the beginnings of all backups and checks that each builds on the one before.
func openChain(files []BackupFile) (chain []*backupReader, err error) {
	defer func() {
		if err != nil {
			for _, b := range chain {
				b.close()
			}
		}
	}()
	for i, f := range files {
		b, err := openBackup(f.Reader)
		if err != nil {
			return chain, fmt.Errorf("%s: %w", f.Name, err)
		}
		chain = append(chain, b)
		switch {
		case i == 0 && b.increment:
			return chain, fmt.Errorf("%s: %w: it is an increment: name the full backup that it builds on before it, and the increments between", f.Name, ErrBackup)
		case i > 0 && !b.increment:
			return chain, fmt.Errorf("%s: %w: it is a full backup: name it first, or alone", f.Name, ErrBackup)
		case i > 0 && (b.base != chain[i-1].list.sum() || b.info.Format != chain[i-1].info.Format):
			return chain, fmt.Errorf("%s: %w: it does not build on %s: name all increments in the order in which they were made",
				f.Name, ErrBackup, files[i-1].Name)
		}
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrBackup)
	}
	return chain, nil
}

func restore(ctx context.Context, dir string, o Options, files []BackupFile, chain []*backupReader) (info BackupInfo, err error) {
	if err := checkKeyLength(o.EncryptionKey); err != nil {
		return info, err
	}
	last := chain[len(chain)-1]
	if err := claimDir(dir, last.info.Format); err != nil {
		return info, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w; what was restored so far is of no use: delete everything in %s", err, dir)
		}
	}()
	b, err := badger.Open(badgerOptions(filepath.Join(dir, badgerDir), o))
	if err != nil {
		return info, fmt.Errorf("make store in %s: %w", dir, err)
	}
	r := &restoring{ctx: ctx, badger: b, space: &space{dir: dir, free: o.free, now: o.Now}, list: last.list, found: make([]bool, last.list.Len())}
	err = r.read(files, chain)
	if err = errors.Join(err, b.Close()); err != nil {
		return info, err
	}
	if err := releaseDir(dir); err != nil {
		return info, fmt.Errorf("finish: %w", err)
	}
	info = last.info
	info.Written, info.Chunks, info.Bytes = r.runs, r.chunks, 0
	for _, c := range chain {
		info.Bytes += c.info.Bytes
	}
	return info, nil
}

// restoring is a restore at work.
type restoring struct {
	ctx    context.Context
	badger *badger.DB
	space  *space
	list   *RunList // the runs of the state to restore
	found  []bool   // which of them were there
	keep   bool     // the chunks that come are of a run to restore

	pending      []badgerEntry
	size         int
	runs, chunks int
}

func (r *restoring) read(files []BackupFile, chain []*backupReader) error {
	for i, b := range chain {
		err := b.each(func(kind backupKind, key, value []byte) error {
			return r.entry(kind, i == len(chain)-1, key, value)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", files[i].Name, err)
		}
	}
	if err := r.store(); err != nil {
		return err
	}
	for i, found := range r.found {
		if !found {
			return fmt.Errorf("%s: %w: run %x is in none of the files", files[len(files)-1].Name, ErrBackup, r.list.at(i))
		}
	}
	return r.badger.Sync()
}

// entry stores an entry if it is of the state to restore: its runs, and the records of the last backup.
func (r *restoring) entry(kind backupKind, last bool, key, value []byte) error {
	switch kind {
	case backupRun:
		at, ok := r.list.find(key)
		r.keep = ok && !r.found[at] // one that two backups hold is the same in both
		if !r.keep {
			return nil
		}
		r.found[at] = true
		r.runs++
	case backupChunk:
		if !r.keep {
			return nil
		}
		r.chunks++
	case backupRecord:
		if !last {
			return nil
		}
	}
	if len(r.pending) == maxTxnKeys || r.size+len(key)+len(value) > maxTxnBytes {
		if err := r.store(); err != nil {
			return err
		}
	}
	r.pending = append(r.pending, badgerEntry{append([]byte(nil), key...), append([]byte(nil), value...)})
	r.size += len(key) + len(value)
	return nil
}

// store writes what is pending.
func (r *restoring) store() error {
	if err := errors.Join(r.ctx.Err(), r.space.check()); err != nil {
		return err
	}
	err := r.badger.Update(func(txn *badger.Txn) error {
		for _, e := range r.pending {
			if err := txn.Set(e.key, e.value); err != nil {
				return err
			}
		}
		return nil
	})
	r.pending, r.size = r.pending[:0], 0
	if err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	return nil
}

// claimDir marks a directory as being restored into. Only one process can.
func claimDir(dir string, format int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%w: give this user write access, or choose another directory", err)
	}
	if err := checkMark(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%w: give this user read access, or choose another directory", err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" { // what a file system of its own begins with
			return fmt.Errorf("%s is not empty: name a directory that is empty or missing", dir)
		}
	}
	mark, err := os.OpenFile(filepath.Join(dir, restoreMark), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w: another one has just begun", dir, ErrRestoring)
	}
	if err != nil {
		return fmt.Errorf("%w: give this user write access, or choose another directory", err)
	}
	_, err = mark.WriteString("A restore is at work here, or was cut short. If none is: delete everything in this directory and restore again.\n")
	if err = errors.Join(err, mark.Sync(), mark.Close(), syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return err
	}
	return makeFormat(dir, format)
}

// releaseDir brings all files of a closed store to the disk, and removes the mark last.
func releaseDir(dir string) error {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == "lost+found":
			return fs.SkipDir
		case e.IsDir():
			return syncDir(path)
		case e.Type().IsRegular():
			return syncFile(path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, restoreMark)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0) // some systems sync only what is open for writing
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir makes the names in a directory durable, on systems where that can be asked for.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkMark refuses a directory in which a restore has not finished.
func checkMark(dir string) error {
	_, err := os.Lstat(filepath.Join(dir, restoreMark))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: give this user read access, or choose another directory", err)
	}
	return fmt.Errorf("%s: %w: unless one is at work, delete everything in that directory and restore again", dir, ErrRestoring)
}
