package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// repair does what the findings about contents name. Each keeps a copy of what it deletes first.
func (c *check) repair() error {
	for i, mend := range c.mends {
		f := &c.report.Findings[c.first+i]
		if mend == nil {
			continue
		}
		if err := mend(); err != nil {
			return fmt.Errorf("repair %s: %w", f.Text, err)
		}
		f.Repaired = true
		c.db.dirty.Store(true)
	}
	if !c.db.dirty.Load() {
		return nil
	}
	return c.db.mark()
}

// keep copies keys and values under a prefix.
func (c *check) keep(prefix []byte) error {
	return c.db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			err := it.Item().Value(func(v []byte) error { return c.keeper.keepKey(it.Item().Key(), v) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// deleting repairs by deleting one key.
func (c *check) deleting(key []byte) func() error {
	return func() error {
		if err := c.keep(key); err != nil {
			return err
		}
		return c.db.update(func(txn *badger.Txn) error { return txn.Delete(key) })
	}
}

// dropRun repairs by deleting a run, and its rollup if it is a run that has one: header first, so that it is gone even if
// the rest is interrupted.
func (c *check) dropRun(ref runRef) func() error {
	refs := []runRef{ref}
	if ref.table == ref.table.base() && ref.level == closedLevel {
		refs = append(refs, ref.rollup())
	}
	return func() error {
		for _, ref := range refs {
			if err := errors.Join(c.keep(ref.headerKey()), c.keep(ref.runKey(prefixChunk))); err != nil {
				return err
			}
		}
		err := c.db.update(func(txn *badger.Txn) error {
			for _, ref := range refs {
				if err := errors.Join(txn.Delete(ref.headerKey()), txn.Set(ref.runKey(prefixGarbage), nil)); err != nil {
					return err
				}
			}
			return nil
		})
		for _, ref := range refs {
			if err == nil {
				err = c.db.dropChunks(ref)
			}
		}
		return err
	}
}

// remakeRollup repairs a rollup by adding up its run again. What a run without hours cannot tell, the hourly sums, is
// taken from the old rollup if that can be read.
func (c *check) remakeRollup(ref runRef) func() error {
	return func() error {
		var re *recount
		var had map[rolledKey][maxMeasures]int64
		err := c.db.view(func(txn *badger.Txn) error {
			c.txn = txn
			defer func() { c.txn = nil }()
			item, err := txn.Get(ref.headerKey())
			if err != nil {
				return err
			}
			if _, re, err = c.readRun(item, true); err != nil {
				return err
			}
			if item, err = txn.Get(ref.rollup().headerKey()); err == nil {
				had, _ = c.rollupRows(item) // damaged: nothing to take from it
			}
			return nil
		})
		if err != nil {
			return err
		}
		if re.hourless && re.sums != nil {
			re.keepHours(had)
		}
		if err := c.dropRun(ref.rollup())(); err != nil {
			return err
		}
		return c.writeRollup(re, ref.rollup())
	}
}

// keepHours takes the hourly sums of an old rollup instead of those without hours.
func (re *recount) keepHours(had map[rolledKey][maxMeasures]int64) {
	for key := range re.sums {
		if key.of == rollupHour {
			delete(re.sums, key)
		}
	}
	for key, sums := range had {
		if key.of == rollupHour {
			re.sums[key] = new([maxMeasures]int64)
			*re.sums[key] = sums
		}
	}
}

func (c *check) writeRollup(re *recount, ref runRef) error {
	w, head, err := re.write(c.db, ref)
	if err != nil || w == nil {
		return err
	}
	return c.db.update(func(txn *badger.Txn) error {
		if len(head.blockRows) > 0 {
			if err := txn.Set(ref.headerKey(), slices.Clone(head.append(nil))); err != nil {
				return err
			}
		}
		return txn.Delete(ref.runKey(prefixGarbage))
	})
}
