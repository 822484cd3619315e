package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// An upgrade makes a new store of the present format beside the old one, and swaps the two at the end. The old one is not
// touched: it becomes the snapshot. All takes place below one directory of the data directory:
//
//	upgrade/old/      what Badger opens in place of the old store: links to its tables, copies of its logs
//	upgrade/new/      the new store
//	upgrade/before/   what becomes before-format-N/, the snapshot
//
// While the file "format" names the old format, the old store counts, and the next start throws upgrade/ away and begins
// anew. From the moment that it names the present one, the new store counts, and the next start finishes the swap. The
// data directory and the old store stay locked all the time.
const (
	upgradeDir       = "upgrade"
	upgradeOldDir    = "old"
	upgradeNewDir    = "new"
	upgradeBeforeDir = "before"
	snapshotPrefix   = "before-format-"
	// upgradeEvery is how often an upgrade says how far it is.
	upgradeEvery = 5 * time.Second
	// upgradeBytes is how much of a store, by the size of its tables, is upgraded in a second on two slow cores: some 150,000
	// page views. It is for a rough idea only.
	upgradeBytes = 4 << 20
	// upgradeBatch is how much is gathered in memory before it is written. More leaves less to merge; an upgrade should not
	// need more memory than the server has had so far.
	upgradeBatch = 16 << 20
)

// mover writes all that a store of an old format holds into a new and empty one.
type mover func(u *upgrade, from *badger.DB, to *DB) error

// moverOf returns how to move a store of an old format, or nil. Each goes straight to the present format: then only the
// reading of an old format has to be kept, and its writing need not.
func moverOf(format int) mover {
	switch format {
	case 1:
		return moveFormat1
	}
	return nil
}

// upgrade is one upgrade of a store.
type upgrade struct {
	dir  string
	o    Options
	from int

	began, said time.Time
	done, total int // runs
}

// upgradeStore makes a store one of the present format, if it is not. Its format has been read before, and is one that
// this version can open. Errors leave the store as it was.
func upgradeStore(dir string, version int, o Options) error {
	if o.free == nil {
		o.free = freeSpace
	}
	u := &upgrade{dir: dir, o: o}
	if _, err := os.Stat(u.path()); version == Format && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	release, err := lockDir(dir)
	if err != nil {
		return fmt.Errorf("upgrade %s: %w: it is being upgraded; wait until that is done", dir, err)
	}
	defer release()
	if u.from, err = readFormat(dir); err != nil { // again: another process may have been faster
		return err
	}
	if u.from != Format {
		if err := u.run(); err != nil {
			return fmt.Errorf("upgrade %s from format %d to %d: %w; the store is as it was", dir, u.from, Format, errors.Join(err, os.RemoveAll(u.path())))
		}
	}
	if err := u.finish(); err != nil {
		return fmt.Errorf("upgrade %s: %w: the next start goes on", dir, err)
	}
	return nil
}

// path returns a place below the directory of the upgrade.
func (u *upgrade) path(below ...string) string {
	return filepath.Join(append([]string{u.dir, upgradeDir}, below...)...)
}

func (u *upgrade) log() *slog.Logger { return u.o.Logger }

// at lets a test end the process here.
func (u *upgrade) at(step string) {
	if u.o.fault != nil {
		u.o.fault(step)
	}
}

// run makes the new store, and then the present format known.
func (u *upgrade) run() error {
	old := filepath.Join(u.dir, badgerDir)
	if err := os.MkdirAll(old, 0o700); err != nil { // its very first start may have ended before it was there
		return err
	}
	if err := checkKey(old, u.o.EncryptionKey); err != nil {
		return err
	}
	release, err := lockDir(old)
	if err != nil {
		return fmt.Errorf("%w: stop it first", err)
	}
	defer release() // it moves with the directory
	look, err := inspect(u.dir, badgerOptions(old, u.o), u.log())
	if err != nil {
		return err
	}
	if len(look.found) > 0 {
		return look.found[0].err()
	}
	if err := os.RemoveAll(u.path()); err != nil {
		return fmt.Errorf("%w: give this user write access to the directory", err)
	}
	size, err := u.checkSpace(old)
	if err != nil {
		return err
	}
	u.began, u.said = time.Now(), time.Now()
	u.log().Info("upgrading the store: this happens once, and nothing is counted meanwhile", "directory", u.dir, "from", u.from, "to", Format,
		"mib", size>>20, "about", (time.Duration(size/upgradeBytes+1) * time.Second).String())
	if err := u.prepare(old, look.empty); err != nil {
		return fmt.Errorf("%w: give this user write access to the directory", err)
	}
	u.at("prepared")
	if err := u.move(); err != nil {
		return err
	}
	u.at("moved")
	if err := syncTree(u.path(upgradeNewDir)); err != nil {
		return err
	}
	u.at("synced")
	// The last step that can fail here: after it the old store must not be taken for the one that counts.
	if err := os.Rename(u.path(upgradeNewDir, formatFile), filepath.Join(u.dir, formatFile)); err != nil {
		return err
	}
	u.at("decided")
	return nil
}

// checkSpace returns the size of the store's tables. The new store takes about as much again, and what the store wants to
// have free at any time.
func (u *upgrade) checkSpace(old string) (size uint64, err error) {
	entries, err := os.ReadDir(old)
	if err != nil {
		return 0, fmt.Errorf("%w: if it is lost, restore a copy", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		if filepath.Ext(e.Name()) == tableExt {
			size += uint64(info.Size())
		}
	}
	free, err := u.o.free(u.dir)
	if need := size + 2*reserve; err == nil && free < need {
		return 0, fmt.Errorf("%w: %d MiB are free on its disk, about %d are needed: free some space, and start again", ErrUnavailable, free>>20, need>>20)
	}
	return size, nil
}

// pidFile is written by Badger while a store is open.
const pidFile = "LOCK"

// prepare makes the directories. The old store is opened at another place: Badger writes its logs and its manifest, but
// never a table that exists. It stumbles over files without a byte.
func (u *upgrade) prepare(old string, empty []string) error {
	for _, dir := range []string{upgradeBeforeDir, upgradeOldDir} {
		if err := os.MkdirAll(u.path(dir), 0o700); err != nil {
			return err
		}
	}
	if err := copySparse(filepath.Join(u.dir, formatFile), u.path(upgradeBeforeDir, formatFile)); err != nil {
		return err
	}
	entries, err := os.ReadDir(old)
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(old, e.Name()), u.path(upgradeOldDir, e.Name())
		if e.Name() == pidFile || slices.Contains(empty, from) || filepath.Ext(e.Name()) == tableExt && os.Link(from, to) == nil {
			continue
		}
		if err := copySparse(from, to); err != nil {
			return err
		}
	}
	return nil
}

// move opens both stores and writes the one into the other.
func (u *upgrade) move() (err error) {
	o := badgerOptions(u.path(upgradeOldDir), u.o).
		WithNumCompactors(0). // a compaction would cut the tables that it replaces, through their links too, to nothing
		WithNumLevelZeroTablesStall(1 << 20)
	from, err := badger.Open(o)
	if err != nil {
		return fmt.Errorf("%w: if a file is damaged, restore a copy", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	u.at("opened")
	if _, err := prepareDir(u.path(upgradeNewDir)); err != nil {
		return err
	}
	unsynced := u.o
	unsynced.Sync = false // all of it is synced before it counts
	to, err := open(u.path(upgradeNewDir), unsynced)
	if err != nil {
		return err
	}
	err = moverOf(u.from)(u, from, to)
	u.at("written")
	return errors.Join(err, to.Close())
}

// moved notes that some runs have been moved, and says so from time to time.
func (u *upgrade) moved(runs int) {
	u.done += runs
	u.at("moving")
	now := time.Now()
	if now.Sub(u.said) < upgradeEvery || u.done == 0 {
		return
	}
	u.said = now
	left := now.Sub(u.began) * time.Duration(u.total-u.done) / time.Duration(u.done)
	u.log().Info("upgrading the store", "done", u.done, "of", u.total, "left", left.Round(time.Second).String())
}

// finish swaps the stores. Each step is one rename that can be seen to have been made, so that a start after a crash goes on.
func (u *upgrade) finish() error {
	if err := syncDir(u.dir); err != nil {
		return err
	}
	current := filepath.Join(u.dir, badgerDir)
	if exists(u.path(upgradeNewDir, badgerDir)) {
		if exists(current) { // the old one
			if err := moveMark(filepath.Join(u.dir, markFile), u.path(upgradeBeforeDir, markFile)); err != nil {
				return err
			}
			if err := os.Rename(current, u.path(upgradeBeforeDir, badgerDir)); err != nil {
				return err
			}
			u.at("put aside")
		}
		if err := os.Rename(u.path(upgradeNewDir, badgerDir), current); err != nil {
			return err
		}
		u.at("swapped")
	}
	if err := moveMark(u.path(upgradeNewDir, markFile), filepath.Join(u.dir, markFile)); err != nil {
		return err
	}
	if exists(u.path(upgradeBeforeDir, badgerDir)) {
		snapshot := u.freeSnapshot()
		if err := os.Rename(u.path(upgradeBeforeDir), snapshot); err != nil {
			return err
		}
		u.log().Info("upgraded the store: the old one is kept and may be deleted once all is well; what is deleted from now on is still in it",
			"snapshot", snapshot, "format", Format)
		u.at("kept")
	}
	if err := syncDir(u.dir); err != nil {
		return err
	}
	return os.RemoveAll(u.path())
}

// moveMark moves a mark of the newest commit, if there is one. A store may lack it, but must not have that of another.
func moveMark(from, to string) error {
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// freeSnapshot returns a name for the snapshot that nothing has yet: who went back to an earlier snapshot has two.
func (u *upgrade) freeSnapshot() string {
	name := filepath.Join(u.dir, fmt.Sprint(snapshotPrefix, Format))
	free := name
	for n := 2; exists(free); n++ {
		free = fmt.Sprint(name, "-", n)
	}
	return free
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// copyKeys copies all keys of a prefix with their values and times to live.
func copyKeys(from *badger.Txn, to *DB, prefix byte) error {
	it := from.NewIterator(badger.IteratorOptions{Prefix: []byte{prefix}})
	defer it.Close()
	it.Rewind()
	for it.Valid() {
		err := to.update(func(txn *badger.Txn) error {
			for size := 0; it.Valid() && size < maxTxnBytes; it.Next() {
				value, err := it.Item().ValueCopy(nil)
				if err != nil {
					return err
				}
				const perKey = maxTxnBytes / maxTxnKeys // keeps their number below maxTxnKeys
				size += len(value) + perKey
				e := badger.NewEntry(it.Item().KeyCopy(nil), value)
				e.ExpiresAt = it.Item().ExpiresAt()
				if err := txn.SetEntry(e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("copy keys: %w", err)
		}
	}
	return nil
}

// copySparse copies a file of Badger's, which may be mostly holes, and leaves the holes out.
func copySparse(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = copyData(dst, src)
	return errors.Join(err, dst.Close())
}

func copyData(dst *os.File, src io.Reader) error {
	buf, hole := make([]byte, 64<<10), make([]byte, 64<<10)
	for size := int64(0); ; {
		n, err := io.ReadFull(src, buf)
		if !bytes.Equal(buf[:n], hole[:n]) {
			if _, err := dst.WriteAt(buf[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return dst.Truncate(size)
		case err != nil:
			return err
		}
	}
}

// syncTree brings a directory and all below it to the disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return syncDir(name)
		}
		return syncFile(name)
	})
}
