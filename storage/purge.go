package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"
)

const (
	// purgeEvery bounds how often old versions are purged without being asked: some 10 MB are written for it.
	purgeEvery = time.Hour
	// purgeFirst is how long after the start it is done first, so that often restarted servers do it too.
	purgeFirst = 2 * time.Minute
	// fillerBytes is the size of a filler: the last one stays.
	fillerBytes = 64 << 10
	// maxFillers is enough to fill a memtable twice.
	maxFillers = 2 * memTableSize / fillerBytes
	// purgePoll and purgeWait bound the wait for Badger to write a memtable to a table.
	purgePoll = 5 * time.Millisecond
	purgeWait = time.Minute
	// purgeAttempts is enough where readers come and go.
	purgeAttempts = 4
)

var (
	// errStuck says that a memtable was not written in time.
	errStuck = errors.New("memtable was not written to a table in time")
	// errBackingUp says that a backup still reads the versions that are to go.
	errBackingUp = errors.New("a backup is under way")
)

// purge removes from the files what has been deleted or replaced: Badger itself keeps old versions until it happens to
// compact their table. First memtables and their logs have to become tables, then all levels are compacted into one.
//
// A version is dropped only if no reader may want it, so purge waits for those who have begun before it. Where one was in
// the way of an earlier compaction, the table is compacted again. Writing goes on.
func (db *DB) purge() error {
	if err := db.space.check(); err != nil {
		return err
	}
	for range purgeAttempts {
		if db.backups.Load() > 0 {
			return errBackingUp
		}
		if err := db.flushMemtables(); err != nil {
			return fmt.Errorf("purge: %w", err)
		}
		db.readers.await()
		if err := db.flatten(); err != nil {
			return fmt.Errorf("purge: %w", err)
		}
		stale, err := db.touchStale()
		if err != nil {
			return fmt.Errorf("purge: %w", err)
		}
		if stale == 0 {
			return nil
		}
	}
	if db.backups.Load() > 0 {
		return errBackingUp
	}
	return fmt.Errorf("purge: %w", errStuck)
}

// flushMemtables makes everything that is written so far a table.
func (db *DB) flushMemtables() error {
	version, err := db.fill(0)
	if err != nil {
		return err
	}
	if err := db.turnMemtable(); err != nil {
		return err
	}
	for deadline := time.Now().Add(purgeWait); !db.inTable(version); {
		select {
		case <-time.After(purgePoll):
		case <-db.stop:
			return errStopped
		}
		if time.Now().After(deadline) {
			return errStuck
		}
	}
	return nil
}

// flatten compacts all levels into one.
func (db *DB) flatten() error {
	if db.newTablesOnly() {
		return db.dropNothing()
	}
	db.life.RLock()
	err := db.badger.Flatten(1)
	db.life.RUnlock()
	if err != nil && db.oneLevel() {
		return nil // it found nothing to do on the last level, which it calls an error at times
	}
	return err
}

// dropNothing compacts fresh tables. Badger takes them for one level and leaves them alone, but dropping a prefix compacts
// them too. Nobody may write meanwhile; there is little of it yet.
func (db *DB) dropNothing() error {
	db.life.RLock()
	defer db.life.RUnlock()
	db.writing.Lock()
	defer db.writing.Unlock()
	if db.closed {
		return ErrClosed
	}
	drop, err := db.prepareDrop()
	if err != nil {
		return err
	}
	if err := db.badger.DropPrefix(drop); err != nil {
		return err
	}
	return db.setMark() // there is no log any more; see mark.go
}

// prepareDrop writes what dropNothing drops, and after it what stays: the newest commit must not be what is dropped, or a
// kill before setMark would look like the loss of a log.
func (db *DB) prepareDrop() (drop []byte, err error) {
	drop = []byte{prefixFiller, 'd'}
	for _, key := range [][]byte{drop, {prefixFiller}} {
		if err := db.badger.Update(func(txn *badger.Txn) error { return txn.Set(key, nil) }); err != nil {
			return nil, err
		}
	}
	return drop, nil
}

// oneLevel reports whether all tables but fresh ones are on one level.
func (db *DB) oneLevel() bool {
	levels := make(map[int]bool)
	for _, t := range db.tables() {
		if t.Level > 0 {
			levels[t.Level] = true
		}
	}
	return len(levels) <= 1
}

// newTablesOnly reports whether all tables are on the level of fresh ones.
func (db *DB) newTablesOnly() bool {
	return !slices.ContainsFunc(db.tables(), func(t badger.TableInfo) bool { return t.Level > 0 })
}

// touchStale deletes, around the first key of every table that still holds a deletion, keys that do not exist: the next
// compaction has to take the table along then. It returns how many tables there are.
func (db *DB) touchStale() (stale int, err error) {
	for _, t := range db.tables() {
		if t.Level == 0 || t.StaleDataSize == 0 {
			continue
		}
		stale++
		before, after := around(y.ParseKey(t.Left))
		err := db.update(func(txn *badger.Txn) error {
			for _, key := range [][]byte{before, after} {
				if _, err := txn.Get(key); !errors.Is(err, badger.ErrKeyNotFound) {
					return errors.Join(fmt.Errorf("key %x is in use", key), err)
				}
				if err := txn.Delete(key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return stale, err
		}
	}
	return stale, nil
}

// around returns keys before and after a key that cannot be those of anything: texts have no zero byte and no 0xff, and
// other keys have one length for each first byte.
func around(key []byte) (before, after []byte) {
	after = append(slices.Clone(key), 0)
	last := len(key) - 1
	before = slices.Clone(key[:last])
	if key[last] > 0 {
		before = append(before, key[last]-1, 0xff, 0xff)
	} else if last == 0 {
		before = []byte{0}
	}
	return before, after
}

func (db *DB) tables() []badger.TableInfo {
	db.life.RLock()
	defer db.life.RUnlock()
	return db.badger.Tables()
}

// turnMemtable makes Badger begin a new memtable, and write the present one to a table: it does when there is no room left,
// so fillers make it full. Its log has a successor then.
func (db *DB) turnMemtable() error {
	before, err := db.lastLog()
	if err != nil {
		return err
	}
	for range maxFillers {
		if _, err := db.fill(fillerBytes); err != nil {
			return err
		}
		if last, err := db.lastLog(); err != nil || last > before {
			return err
		}
	}
	return errStuck
}

// lastLog returns the name of the log of the present memtable. Names are numbers of one length.
func (db *DB) lastLog() (last string, err error) {
	logs, err := filepath.Glob(filepath.Join(db.dir, badgerDir, "*.mem"))
	if err != nil || len(logs) == 0 {
		return "", err
	}
	return slices.Max(logs), nil
}

// fill writes a filler of some bytes, and returns its version.
func (db *DB) fill(size int) (version uint64, err error) {
	key := []byte{prefixFiller}
	if err := db.update(func(txn *badger.Txn) error { return txn.Set(key, make([]byte, size)) }); err != nil {
		return 0, err
	}
	err = db.view(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err == nil {
			version = item.Version()
		}
		return err
	})
	return version, err
}

// inTable reports whether everything up to a version has left the memtables: they are written in their order.
func (db *DB) inTable(version uint64) bool {
	return slices.ContainsFunc(db.tables(), func(t badger.TableInfo) bool { return t.MaxVersion >= version })
}
