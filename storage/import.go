package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/dgraph-io/badger/v4"
)

const (
	// importBytes is how much an import gathers in memory before it writes it. More sums up more, and leaves less to merge.
	importBytes = 64 << 20
	// maxImportRuns keeps the final transaction, which makes all runs count at once, within Badger's bounds: some 10,000 keys.
	maxImportRuns = 4000
)

// Fingerprint tells inputs of BeginImport apart. Whoever makes one leaves out what is about a visitor (address, user
// agent, seconds): two inputs that differ only there have the same fingerprint, and the store does not tell them apart.
type Fingerprint struct {
	Bytes, Lines int64  // sizes, of whatever is compared
	First, Last  Day    // earliest and latest hit
	Checksum     uint16 // deliberately too short to test guesses of a line against it
}

// Import stores rows that stay invisible until Commit: all of them count, or none.
// A crash before Commit leaves nothing. One goroutine at a time may use an Import.
type Import struct {
	db       *DB
	site     uint32
	oldest   Day
	extended bool
	sums     *summer
	runs     []importedRun
	ended    bool
}

type importedRun struct {
	ref  runRef
	head header
}

// BeginImport starts an import into a site.
func (db *DB) BeginImport(site uint32) (*Import, error) {
	if !db.alive(site) {
		return nil, fmt.Errorf("begin import: site %d: %w", site, ErrNotFound)
	}
	return &Import{db: db, site: site, oldest: maxDay, sums: newSummer()}, nil
}

// Append adds rows, which must be of the import's site; equal tuples are summed. After an error only Rollback is of use.
func (im *Import) Append(rows ...Row) error {
	for i := range rows {
		if rows[i].Site != im.site {
			return fmt.Errorf("import: %w: site %d instead of %d", ErrBadRows, rows[i].Site, im.site)
		}
		if err := rows[i].check(); err != nil {
			return fmt.Errorf("import: %w", err)
		}
		im.oldest = min(im.oldest, rows[i].Day)
		im.sums.add(&rows[i])
	}
	if im.sums.bytes() < importBytes {
		return nil
	}
	return im.flush()
}

// flush writes what was gathered as runs that do not count yet.
func (im *Import) flush() error {
	for _, p := range im.sums.partitions() {
		err := im.writePartition(p, im.sums.parts[p])
		if errors.Is(err, errStopped) {
			err = ErrClosed
		}
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
	}
	im.sums = newSummer()
	return nil
}

func (im *Import) writePartition(p partition, rows *sums) error {
	if len(im.runs) == maxImportRuns {
		return errors.New("too much for one import: split the input, by month for example")
	}
	w, err := im.db.newRunWriter(runRef{p.site, p.table, p.day, 1, rand.Uint64()})
	if err != nil {
		return err
	}
	w.apart = true
	im.runs = append(im.runs, importedRun{ref: w.ref}) // for Rollback, from here on
	if err := rows.blocks(w.put); err != nil {
		return err
	}
	im.runs[len(im.runs)-1].head, err = w.finish()
	return err
}

// Commit makes the rows count. Unless again is set it refuses a fingerprint that the site has seen, with
// ErrImported. Where rows are older than what the site keeps, it is made to keep them for as long as new ones are by
// default (see Extended): whoever imports them wants to see them. After an error nothing counts and only Rollback is of use.
func (im *Import) Commit(f Fingerprint, again bool) error {
	if im.ended {
		return ErrClosed
	}
	if err := im.flush(); err != nil {
		return err
	}
	db := im.db
	db.records.Lock()
	defer db.records.Unlock()
	db.structure.Lock()
	defer db.structure.Unlock()
	site, ok := db.sites.Load().byID[im.site]
	if !ok {
		return fmt.Errorf("commit import: site %d: %w", im.site, ErrNotFound)
	}
	today, keep, _ := db.today(im.site)
	if im.oldest < keep.oldest(today) {
		im.extended = true
		site.Keep = site.Keep.reach(today, im.oldest)
	}
	refs := make([]runRef, 0, len(im.runs))
	err := db.update(func(txn *badger.Txn) error {
		key := importKey(im.site, f)
		if _, err := txn.Get(key); err == nil && !again {
			return ErrImported
		} else if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
			return err
		}
		for _, r := range im.runs {
			if len(r.head.blockRows) == 0 {
				continue // all came to nothing: the next start forgets it
			}
			if err := txn.Set(r.ref.headerKey(), r.head.append(nil)); err != nil {
				return err
			}
			if err := txn.Delete(r.ref.runKey(prefixGarbage)); err != nil {
				return err
			}
			refs = append(refs, r.ref)
		}
		if im.extended {
			if err := setRecord(txn, recordSite, site.Domain, site, 0); err != nil {
				return err
			}
		}
		return txn.Set(key, nil)
	})
	if err != nil {
		return fmt.Errorf("commit import: %w", err)
	}
	im.ended = true
	if im.extended {
		db.replaceSite(site)
	}
	db.merges.note(refs)
	db.merges.ripen(db.ripe) // opened again by the import, closed again at once
	return nil
}

// Extended tells after Commit what the site keeps now, if the import has made it keep more than before.
func (im *Import) Extended() (keep Retention, ok bool) {
	_, keep, _ = im.db.today(im.site)
	return keep, im.ended && im.extended
}

// Rollback drops the rows. It does nothing after Commit.
func (im *Import) Rollback() error {
	if im.ended {
		return nil
	}
	im.ended = true
	var errs []error
	for _, r := range im.runs {
		errs = append(errs, im.db.dropChunks(r.ref))
	}
	return errors.Join(errs...)
}
