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
	return errors.Join(c.db.setMark(), c.db.mark())
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

// dropRun repairs by deleting a run: header first, so that it is gone even if the rest is interrupted. Its rollup stays, as
// it does when details have reached their age; if it is damaged too, that is found next.
func (c *check) dropRun(ref runRef) func() error {
	return func() error {
		if err := errors.Join(c.keep(ref.headerKey()), c.keep(ref.runKey(prefixChunk))); err != nil {
			return err
		}
		err := c.db.update(func(txn *badger.Txn) error {
			return errors.Join(txn.Delete(ref.headerKey()), txn.Set(ref.runKey(prefixGarbage), nil))
		})
		if err != nil {
			return err
		}
		return c.db.dropChunks(ref)
	}
}

// remakeRollup repairs a rollup by adding up its run again. The totals of the hours of a coarse run are taken from the old
// rollup if that can be read.
func (c *check) remakeRollup(ref runRef) func() error {
	return func() error {
		var re *recount
		err := c.db.view(func(txn *badger.Txn) error {
			c.txn = txn
			defer func() { c.txn = nil }()
			item, err := txn.Get(ref.headerKey())
			if err != nil {
				return err
			}
			if _, re, err = c.readRun(item, true); err == nil && ref.level == coarseLevel {
				if re.takeHours(c.db.codec, txn, ref.rollup()) != nil {
					re.hours = make(rolled) // damaged: nothing to take from it, and no half of it either
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := c.dropRun(ref.rollup())(); err != nil {
			return err
		}
		return c.writeRollup(re, ref.rollup())
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
