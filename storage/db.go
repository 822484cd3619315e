package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
)

const (
	// Format is the version of everything that FORMAT.md describes.
	Format = 2
	// formatFile holds the version as text, so that it can be read before Badger touches anything.
	formatFile   = "format"
	formatPrefix = "dachs store, format "
	badgerDir    = "badger"
	// syncEvery bounds what a power cut can take when Options.Sync is off.
	syncEvery = time.Second
)

// Options configures Open. The zero value of each field is its default.
type Options struct {
	// Sync makes every commit reach the disk before Append returns. Without it an accepted hit survives
	// the end of the process at any moment; what a power cut can take is bounded to the last second.
	Sync bool
	// EncryptionKey encrypts the store on the disk. It has KeyBytes random bytes, and stays the same for the life of the
	// store; nil leaves the store readable. It hides contents, and not how large files are or when they change.
	EncryptionKey []byte
	Logger        *slog.Logger     // nil: silent
	Now           func() time.Time // nil: time.Now

	free  func(dir string) (uint64, error) // nil: freeSpace; for tests of a full disk
	fault func(step string)                // nil: nothing; for tests of upgrades that end at any step
	batch int                              // 0: upgradeBatch; for tests
}

var (
	// ErrBadRows says that rows do not fit the store: an unknown table, too many at once.
	ErrBadRows = errors.New("bad rows")
	// ErrClosed is returned after Close has begun.
	ErrClosed = errors.New("store is closed")
	// ErrOverloaded says that the queue is full: nothing was stored, try again later.
	ErrOverloaded = errors.New("store is overloaded")
	// ErrUnavailable says that the last commit failed (disk full, read-only): nothing was stored, try again later.
	ErrUnavailable = errors.New("store cannot be written")
	// ErrLocked says that another process has the store open.
	ErrLocked = errors.New("store is in use by another process")
	// ErrVersion says that the store was written by a newer version of Dachs, or is none of its stores.
	ErrVersion = errors.New("store has a format that this version cannot read")
	// ErrDamaged says that a file of the store, or what it holds, is not what was written.
	ErrDamaged = errors.New("data is damaged")
	// ErrNotFound says that a site, token or login does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists says that a site exists already.
	ErrExists = errors.New("exists already")
	// ErrNotOver says that a day goes on: what is counted may still refer to it.
	ErrNotOver = errors.New("not over yet")
	// ErrImported says that this very input has been imported before.
	ErrImported = errors.New("imported already")
)

// DB is an open store. All methods may be called from many goroutines.
type DB struct {
	dir        string
	encrypted  bool
	badger     *badger.DB
	codec      *codec
	space      space
	log        *slog.Logger
	now        func() time.Time
	queue      queue
	commits    commitStats
	fresh      fresh
	commitSums summer // of the goroutine that commits
	merges     merges
	sites      atomic.Pointer[siteIndex]
	views      sync.Pool // *view: memory of queries
	readers    readers

	maxGroups int64 // of one query; the constant but in tests

	// records is held while a record is read and written depending on what it said: Badger's own detection of
	// conflicts is off. Taken before structure.
	records sync.Mutex
	// structure is held while runs are replaced or removed, so that a merge cannot bring back what a removal
	// has just deleted. Commits of new runs do not take it.
	structure sync.Mutex

	failed atomic.Bool // the last commit of rows failed
	// writing is held while Badger must not be written to, which it could refuse. Taken after life.
	writing sync.RWMutex
	// life is read-locked while Badger is in use, since Badger panics when it is used after its end.
	life   sync.RWMutex
	closed bool // guarded by life
	// backups counts those under way. They do not hold life: who waits for it would keep out everybody else until a slow
	// backup is done. reading is for Close, which waits for them.
	backups atomic.Int32
	reading sync.WaitGroup

	dirty   atomic.Bool           // something was committed since the last sync
	changed atomic.Bool           // something was committed since the start
	damaged atomic.Pointer[error] // what verify has found
	stop    chan struct{}
	owned   sync.WaitGroup // the goroutines for writing, merging and syncing
}

// Open opens the store in dir and makes it if dir is empty or missing (mode 0700). A store of an older format is upgraded
// first, which is logged; the old one stays beside it as a snapshot.
// Errors wrap ErrLocked, ErrVersion, ErrDamaged, ErrRestoring, ErrKeyMissing, ErrKeyWrong, ErrNotEncrypted or, where an upgrade
// needs more space, ErrUnavailable where they fit, and name a remedy. After an error nothing on disk has changed, but what
// an upgrade had begun may be finished.
func Open(dir string, o Options) (*DB, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.free == nil {
		o.free = freeSpace
	}
	if err := checkKeyLength(o.EncryptionKey); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	version, err := prepareDir(dir)
	if err == nil {
		err = upgradeStore(dir, version, o)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return open(dir, o)
}

// open opens a store of the present format.
func open(dir string, o Options) (*DB, error) {
	if err := checkKey(filepath.Join(dir, badgerDir), o.EncryptionKey); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	opts := badgerOptions(filepath.Join(dir, badgerDir), o)
	killed, err := preflight(dir, opts, o.Logger)
	var b *badger.DB
	if err == nil {
		b, err = badger.Open(opts)
	}
	if err != nil {
		if errors.Is(err, ErrLocked) || isLocked(err) {
			return nil, fmt.Errorf("open store %s: %w: stop it first, or choose another directory", dir, ErrLocked)
		}
		if errors.Is(err, ErrDamaged) {
			return nil, fmt.Errorf("open store: %w", err)
		}
		if cannotWrite(err) {
			return nil, fmt.Errorf("open store %s: %w: give this user write access, or choose another directory", dir, err)
		}
		return nil, fmt.Errorf("open store %s: %w: if a file is damaged, restore a copy, or choose another directory", dir, err)
	}
	c, err := newCodec()
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	db := &DB{dir: dir, encrypted: len(o.EncryptionKey) > 0, space: space{dir: dir, free: o.free, now: o.Now}, badger: b, codec: c, log: o.Logger, now: o.Now, stop: make(chan struct{})}
	db.space.pending = db.pendingCompaction
	db.queue.wake = make(chan struct{}, 1)
	db.commitSums = *newSummer()
	db.views.New = func() any { return new(view) }
	db.maxGroups = maxGroups
	if killed {
		err = db.setMark()
	}
	if err == nil {
		err = db.load()
	}
	if err != nil {
		c.close()
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), b.Close())
	}
	db.owned.Go(db.write)
	db.owned.Go(db.merge)
	db.owned.Go(db.syncLoop)
	db.owned.Go(db.verifyLoop)
	return db, nil
}

// load reads what lives in memory, and sweeps what a crash left behind.
func (db *DB) load() error {
	if err := db.loadSites(); err != nil {
		return err
	}
	if err := db.sweep(); err != nil {
		return err
	}
	if err := db.sweepSites(); err != nil {
		return err
	}
	if err := db.fresh.load(db); err != nil {
		return err
	}
	return db.merges.load(db)
}

// prepareDir makes the directory and checks that what is in it is ours and not newer than we are. It returns the format.
func prepareDir(dir string) (version int, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("%w: give this user write access, or choose another directory", err)
	}
	if err := checkMark(dir); err != nil {
		return 0, err
	}
	version, err = readFormat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Format, makeFormat(dir, Format)
	}
	return version, err
}

// readFormat returns the format of the store in a directory, if this version can open it.
func readFormat(dir string) (version int, err error) {
	name := filepath.Join(dir, formatFile)
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, fmt.Errorf("%w: give this user read access, or choose another directory", err)
	}
	if _, err := fmt.Sscanf(string(text), formatPrefix+"%d", &version); err != nil {
		return 0, fmt.Errorf("%s: %w: choose another directory", name, ErrVersion)
	}
	if version != Format && moverOf(version) == nil {
		return 0, fmt.Errorf("%s: %w: it has format %d, this version reads 1 to %d: install the version of Dachs that wrote it, or a newer one",
			dir, ErrVersion, version, Format)
	}
	return version, nil
}

// makeFormat marks a new store. The name appears last and at once, so that a crash leaves no half of it, and two
// first starts at the same time do not disturb each other.
func makeFormat(dir string, format int) error {
	name := filepath.Join(dir, formatFile)
	if _, err := os.Stat(filepath.Join(dir, badgerDir)); err == nil {
		if _, err := os.Stat(name); err == nil {
			return nil // another start has just made it
		}
		return fmt.Errorf("%s: %w: its file %q is missing: restore it, or choose another directory", dir, ErrVersion, formatFile)
	}
	f, err := os.CreateTemp(dir, formatFile+".new-*")
	if err != nil {
		return fmt.Errorf("%w: give this user write access, or choose another directory", err)
	}
	_, err = fmt.Fprintf(f, formatPrefix+"%d\n", format)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Close stores what is queued, stops the goroutines, waits for queries, ends backups, and releases the directory. What is called
// afterwards returns ErrClosed.
func (db *DB) Close() error {
	if !db.queue.close() {
		return ErrClosed
	}
	close(db.stop)
	db.owned.Wait()
	db.life.Lock() // waits for queries
	defer db.life.Unlock()
	db.closed = true
	db.reading.Wait()
	var err error
	if db.changed.Load() {
		if err = db.setMark(); err == nil {
			err = db.mark()
		}
	}
	err = errors.Join(err, db.badger.Close())
	db.codec.close()
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// syncLoop brings what was committed to the disk, once a second.
func (db *DB) syncLoop() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-db.stop:
			return // Badger syncs when it is closed
		}
		if !db.dirty.Swap(false) {
			continue
		}
		db.life.RLock()
		err := db.mark()
		db.life.RUnlock()
		if err != nil {
			db.dirty.Store(true)
			db.log.Error("cannot sync the store: a power cut may now lose more than a second of hits", "error", err)
		}
	}
}

// view runs fn on one consistent state of the store.
func (db *DB) view(fn func(txn *badger.Txn) error) error {
	db.life.RLock()
	defer db.life.RUnlock()
	if db.closed {
		return ErrClosed
	}
	era := db.readers.enter()
	defer db.readers.leave(era)
	return db.badger.View(fn)
}

// viewLong is view for what may take minutes: purging is put off meanwhile, and nobody waits for it but Close. fn ends
// soon after stop is closed.
func (db *DB) viewLong(fn func(txn *badger.Txn) error) error {
	db.life.RLock()
	if db.closed {
		db.life.RUnlock()
		return ErrClosed
	}
	db.reading.Add(1)
	db.backups.Add(1)
	txn := db.badger.NewTransaction(false)
	db.life.RUnlock()
	defer db.reading.Done()
	defer db.merges.resumePurge()
	defer db.backups.Add(-1)
	defer txn.Discard()
	return fn(txn)
}

// update runs fn in one transaction that is stored as a whole. Whoever writes more than a record asks
// space.check first; deleting and logging in must work on a full disk.
func (db *DB) update(fn func(txn *badger.Txn) error) error {
	db.life.RLock()
	defer db.life.RUnlock()
	if db.closed {
		return ErrClosed
	}
	db.writing.RLock()
	defer db.writing.RUnlock()
	if err := db.badger.Update(fn); err != nil {
		return err
	}
	db.dirty.Store(true)
	db.changed.Store(true)
	return nil
}

// deletePrefix deletes all keys under a prefix, in transactions of bounded size.
func (db *DB) deletePrefix(prefix []byte) error {
	for {
		keys, err := db.keys(prefix, maxTxnKeys)
		if err != nil || len(keys) == 0 {
			return err
		}
		err = db.update(func(txn *badger.Txn) error {
			for _, k := range keys {
				if err := txn.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// keys returns up to limit keys under a prefix; limit 0 means all.
func (db *DB) keys(prefix []byte, limit int) ([][]byte, error) {
	var keys [][]byte
	err := db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		for it.Rewind(); it.Valid() && (limit == 0 || len(keys) < limit); it.Next() {
			keys = append(keys, it.Item().KeyCopy(nil))
		}
		return nil
	})
	return keys, err
}
