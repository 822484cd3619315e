package storage

import (
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// Values calls each with the values that columns of a table have on one day of a site, in no order, some of them more
// than once, also such whose counts have come to nothing. When each returns false, it is not called for that column
// any more. It reads dictionaries only, one block of a column at a time.
func (db *DB) Values(site uint32, t Table, day Day, cols []Column, each func(c Column, value string) (more bool)) error {
	s, err := schemaOf(t)
	if err != nil {
		return fmt.Errorf("read values: %w", err)
	}
	for _, c := range cols {
		if !slices.Contains(s.columns, c) {
			return fmt.Errorf("read values: %w: table %s has no %s", ErrBadQuery, s.name, c)
		}
	}
	left := slices.Clone(cols)
	err = db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: dayHeaders(partition{site, t, day})})
		defer it.Close()
		for it.Rewind(); it.Valid() && len(left) > 0; it.Next() {
			r, err := openRun(db.codec, txn, it.Item())
			if err != nil {
				return err
			}
			if left, err = r.eachValue(left, each); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read values: %w", err)
	}
	return nil
}

// eachValue calls each with the dictionaries of columns, and returns the columns of which more is wanted.
func (r *run) eachValue(cols []Column, each func(c Column, value string) bool) ([]Column, error) {
	for n := range r.head.blockRows {
		var err error
		cols = slices.DeleteFunc(cols, func(c Column) bool {
			var dict []string
			if err == nil {
				dict, err = r.dictionary(n, c)
			}
			return slices.ContainsFunc(dict, func(value string) bool { return !each(c, value) })
		})
		if err != nil {
			return cols, r.wrap(err)
		}
	}
	return cols, nil
}

// dictionary reads the dictionary of a column of block n, without its codes.
func (r *run) dictionary(n int, c Column) ([]string, error) {
	raw, err := r.raw(n, uint8(c), &r.buf)
	if err != nil {
		return nil, err
	}
	size, raw, err := readUvarint(raw)
	if err != nil || size == 0 || size > blockRows {
		return nil, corruptf("dictionary of %d values", size)
	}
	dict, _, err := decodeDict(raw, int(size))
	return dict, err
}

// Counted reports whether a site has visits on a day. Where that cannot be read it says yes.
func (db *DB) Counted(site uint32, day Day) bool {
	found := false
	err := db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: dayHeaders(partition{site, Visits, day})})
		defer it.Close()
		it.Rewind()
		found = it.Valid()
		return nil
	})
	return found || err != nil
}
