package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// A log that was cut between two commits, or is gone, looks like one that never held more. So the number of the newest
// commit that has reached the disk is noted once a second in a file of its own, the mark: a store whose files hold no
// commit as new has lost some. Numbers are Badger's, and count commits. Nothing else is written with them: a key that was
// set once a second would be a clock between the commits in the logs.
//
// The newest commit is always in the newest log. Only when there is no log, after the store was closed, it could be one of
// deletions alone, and vanish when tables are compacted. So the last commit before the end and the first after a start set
// a record, the newest version of which stays.

const (
	markFile   = "mark"
	recordMark = "mark" // a record without content
	markLen    = 8 + 4
)

// setMark commits the record. The caller holds life, or nobody else uses the store.
func (db *DB) setMark() error {
	if db.badger.IsClosed() {
		return badger.ErrDBClosed
	}
	if db.space.check() != nil {
		return nil // not a byte more than there must be
	}
	return db.badger.Update(func(txn *badger.Txn) error { return txn.Set(recordKey(recordMark, ""), nil) })
}

// mark syncs what has been committed, and notes the newest of it. The caller holds life.
func (db *DB) mark() error {
	if db.badger.IsClosed() {
		return badger.ErrDBClosed
	}
	txn := db.badger.NewTransaction(false)
	version := txn.ReadTs() // all commits up to it are in the log
	txn.Discard()
	if err := db.badger.Sync(); err != nil {
		return err
	}
	return writeMark(db.dir, version)
}

// writeMark notes a version. One write of a few bytes in place is not torn by the end of the process.
func writeMark(dir string, version uint64) error {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, markLen), version)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	f, err := os.OpenFile(filepath.Join(dir, markFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write mark: %w", err)
	}
	_, err = f.WriteAt(b, 0)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write mark: %w", err)
	}
	return nil
}

// readMark returns the version that was noted, 0 if there is none.
func readMark(dir string) (uint64, error) {
	b, err := os.ReadFile(filepath.Join(dir, markFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(b) != markLen || crc32.Checksum(b[:8], castagnoli) != binary.BigEndian.Uint32(b[8:]) {
		return 0, corruptf("it does not match its checksum")
	}
	return binary.BigEndian.Uint64(b), nil
}

// checkMark compares the mark with what tables and logs hold. A mark that cannot be read proves nothing.
func (in *inspection) checkMark(dir string) {
	path := filepath.Join(dir, markFile)
	version, err := readMark(dir)
	if err != nil {
		in.log.Warn("the mark of the newest commit cannot be read and is made anew", "file", path, "error", err)
		return
	}
	if version > in.version && len(in.found) == 0 {
		in.add(damage{in.dir, -1, fmt.Sprintf("commits are missing: %d was the newest on disk, %d is the newest there is", version, in.version),
			"go on without them: what they held is lost",
			func(k *keeper) error {
				if err := k.keep(path); err != nil {
					return err
				}
				return os.Remove(path)
			}})
	}
}
