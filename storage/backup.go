package storage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// A backup is a logical copy: the list of all runs, then keys and values as they are in the store. Badger's own backups are
// not used: their increments tell of a deletion by the version that says so, and such versions vanish from the files here.
// Runs that an increment missed to delete would count twice.

// BackupInfo says what a backup holds.
type BackupInfo struct {
	Format  int   // of the store
	Runs    int   // of the store at that moment
	Written int   // runs that are in this backup; fewer than Runs in an increment
	Chunks  int   // of the runs in this backup
	Records int   // all other keys
	Sites   int   // among them
	Bytes   int64 // of the backup as a file
}

// Backup writes one consistent state of the store to w, while everything else goes on. With since it leaves out the runs
// that are in it: those of an earlier backup, as VerifyBackup returns them. Logins, the set-up link and what a removed site
// leaves behind are not copied. Two backups of one state are equal byte for byte. What was written is of no use
// after an error, ErrClosed if the store was closed. Memory is bounded by a few MiB. What is deleted meanwhile leaves the
// files when the backup is done.
func (db *DB) Backup(ctx context.Context, w io.Writer, since *RunList) (info BackupInfo, err error) {
	goOn := func() error {
		select {
		case <-db.stop:
			return ErrClosed
		default:
			return ctx.Err()
		}
	}
	err = db.viewLong(func(txn *badger.Txn) error {
		info, err = writeBackup(txn, Format, w, since, goOn)
		return err
	})
	if err != nil {
		return info, fmt.Errorf("back up store: %w", err)
	}
	return info, nil
}

// writeBackup writes the state that a transaction sees of a store of some format, for as long as goOn returns nil. It knows
// keys, and values only of the present format.
func writeBackup(txn *badger.Txn, format int, w io.Writer, since *RunList, goOn func() error) (BackupInfo, error) {
	if since != nil && since.format != format {
		return BackupInfo{}, fmt.Errorf("%w: the base is of store format %d, this store has format %d: make a full backup", ErrBackup, since.format, format)
	}
	out, err := newPartWriter(w, format, goOn)
	if err != nil {
		return BackupInfo{}, err
	}
	defer out.enc.Close()
	b := &backup{out: out, txn: txn, since: since, info: BackupInfo{Format: format}}
	if b.removed, err = removedSites(txn); err != nil {
		return b.info, err
	}
	for _, step := range []func() error{b.list, b.runs, b.rest, b.end} {
		if err := step(); err != nil {
			return b.info, err
		}
		if out.err != nil {
			return b.info, out.err
		}
	}
	b.info.Bytes = out.bytes
	return b.info, nil
}

// backup is one backup being written.
type backup struct {
	out     *partWriter
	txn     *badger.Txn
	since   *RunList
	removed map[string]bool // sites whose keys are being deleted, as keys write their numbers
	info    BackupInfo
}

// removedSites returns the sites whose keys are being deleted.
func removedSites(txn *badger.Txn) (map[string]bool, error) {
	prefix := recordKey(recordRemoved, "")
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	removed := make(map[string]bool)
	for it.Rewind(); it.Valid(); it.Next() {
		id, err := strconv.ParseUint(string(it.Item().Key()[len(prefix):]), 10, 32)
		if err != nil {
			return nil, corruptf("record %s: %v", recordRemoved, err)
		}
		removed[string(siteKeys(0, uint32(id))[1:])] = true
	}
	return removed, nil
}

// gone reports whether a key with a site's number behind its first byte is of a removed site.
func (b *backup) gone(key []byte) bool { return len(key) >= 5 && b.removed[string(key[1:5])] }

// eachHeader calls fn with every header that counts, in order.
func (b *backup) eachHeader(fn func(item *badger.Item) error) error {
	it := b.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixHeader}})
	defer it.Close()
	for it.Rewind(); it.Valid() && b.out.err == nil; it.Next() {
		if b.gone(it.Item().Key()) {
			continue
		}
		if err := fn(it.Item()); err != nil {
			return err
		}
	}
	return nil
}

// list writes what the backup builds on, and the keys of all headers.
func (b *backup) list() error {
	var base [32]byte
	if b.since != nil {
		base = b.since.sum()
		b.out.write([]byte{1})
	} else {
		b.out.write([]byte{0})
	}
	b.out.write(base[:])
	err := b.eachHeader(func(item *badger.Item) error {
		b.info.Runs++
		b.out.field(item.Key())
		return nil
	})
	b.out.uvarint(0)
	return err
}

// runs writes the headers and chunks of the runs that the base does not have.
func (b *backup) runs() error {
	chunks := b.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixChunk}})
	defer chunks.Close()
	var head []byte
	seen := 0
	err := b.eachHeader(func(item *badger.Item) (err error) {
		seen++
		if b.since != nil {
			if _, held := b.since.find(item.Key()); held {
				return nil
			}
		}
		if head, err = item.ValueCopy(head); err != nil {
			return err
		}
		b.out.field(item.Key())
		b.out.field(head)
		b.info.Written++
		return b.chunks(chunks, item.Key(), head)
	})
	b.out.uvarint(0)
	if err == nil && b.out.err == nil && seen != b.info.Runs {
		return corruptf("%d runs are listed, %d were found", b.info.Runs, seen) // one state: only damage explains it
	}
	return err
}

// chunks writes the chunks of one run.
func (b *backup) chunks(it *badger.Iterator, key, head []byte) error {
	ref, err := parseHeaderKey(key)
	if err != nil {
		return err
	}
	n, prefix := 0, ref.runKey(prefixChunk)
	for it.Seek(prefix); it.ValidForPrefix(prefix) && b.out.err == nil; it.Next() {
		item := it.Item()
		b.out.field(item.Key())
		if err := item.Value(func(v []byte) error { b.out.field(v); return nil }); err != nil {
			return err
		}
		n++
	}
	b.out.uvarint(0)
	b.info.Chunks += n
	if b.info.Format != Format || b.out.err != nil {
		return nil
	}
	return checkChunks(ref, head, n)
}

// checkChunks refuses a run that lacks chunks: its backup would be incomplete without anybody knowing.
func checkChunks(ref runRef, head []byte, n int) error {
	s, err := schemaOf(ref.table)
	if err != nil {
		return err
	}
	h, err := decodeHeader(head)
	if err != nil {
		return (&run{s: s, ref: ref}).wrap(err)
	}
	if want := h.chunks(s); n < want {
		return (&run{s: s, ref: ref}).wrap(corruptf("%d of %d chunks are missing", want-n, want))
	}
	return nil
}

// rest writes all keys that are neither of runs nor left out on purpose.
func (b *backup) rest() error {
	it := b.txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	it.Rewind()
	for it.Valid() && b.out.err == nil {
		item := it.Item()
		key := item.Key()
		switch key[0] {
		case prefixChunk, prefixGarbage, prefixHeader:
			it.Seek([]byte{key[0] + 1})
			continue
		}
		if !b.leftOut(key) {
			b.out.field(key)
			if err := item.Value(func(v []byte) error { b.out.field(v); return nil }); err != nil {
				return err
			}
			b.info.note(key)
		}
		it.Next()
	}
	b.out.uvarint(0)
	return nil
}

// note counts a key that is not of a run.
func (i *BackupInfo) note(key []byte) {
	i.Records++
	if bytes.HasPrefix(key, recordKey(recordSite, "")) {
		i.Sites++
	}
}

// leftOut reports whether a key stays out of backups. A stolen backup must not open a dashboard: no login and no set-up
// link. What tells of work in progress means nothing elsewhere.
func (b *backup) leftOut(key []byte) bool {
	switch key[0] {
	case prefixFiller:
		return true
	case prefixImport:
		return b.gone(key)
	case prefixRecord:
		kind, _, _ := strings.Cut(string(key[1:]), "/")
		return kind == recordLogin || kind == recordSetup || kind == recordRemoved || kind == recordHealth
	}
	return false
}

// end writes the counts, and closes the envelope.
func (b *backup) end() error {
	for _, n := range []int{b.info.Runs, b.info.Written, b.info.Chunks, b.info.Records} {
		b.out.uvarint(n)
	}
	return b.out.finish()
}
