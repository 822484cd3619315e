package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// This file makes one run of several. What to merge, and when, is decided in merge.go.

// mergeRuns replaces runs of a partition by one of a level with the same sums. closedLevel and coarseLevel want all runs
// that the day has. Readers see the old ones or the new one: chunks are written first and count only with their header;
// a crash in between leaves garbage marks.
func (db *DB) mergeRuns(p partition, refs []runRef, level uint8) error {
	m := &merging{db: db, refs: refs}
	out := runRef{p.site, p.table, p.day, level, rand.Uint64()}
	if level >= closedLevel {
		m.roller = newRoller(p.table)
	}
	err := m.write(out)
	if err == nil {
		err = m.replace()
	}
	if errors.Is(err, errStopped) {
		return err // the marks make the next start delete what was written; closing need not wait for it
	}
	if err != nil {
		return errors.Join(fmt.Errorf("merge runs: %w", err), m.abort())
	}
	for _, ref := range m.chunked {
		if err := db.dropChunks(ref); err != nil {
			return err
		}
	}
	if level >= closedLevel {
		db.merges.left(false)
	}
	if level == coarseLevel {
		db.merges.noteMonths(p.site)
	}
	return nil
}

// merging is one merge.
type merging struct {
	db      *DB
	refs    []runRef // to be replaced
	keep    bool     // they stay
	chunked []runRef // those that have chunks, and their rollups
	roller  *roller  // nil unless the day is closed
	written []writtenRun
}

// writtenRun is a run that counts once its header is stored.
type writtenRun struct {
	w    *runWriter
	head header
}

// write writes the merged run and its rollup.
func (m *merging) write(out runRef) error {
	w, err := m.db.newRunWriter(out)
	if err != nil {
		return err
	}
	m.written = append(m.written, writtenRun{w: w})
	w.roller = m.roller
	if m.chunked, err = m.db.mergeInto(w, m.refs); err != nil {
		return err
	}
	if m.written[0].head, err = w.finish(); err != nil || m.roller == nil || len(m.written[0].head.blockRows) == 0 {
		return err // what comes to nothing has no rollup either
	}
	w, head, err := m.roller.write(m.db, out.rollup())
	if w != nil {
		m.written = append(m.written, writtenRun{w, head})
	}
	return err
}

func (m *merging) abort() (err error) {
	for _, r := range m.written {
		err = errors.Join(err, r.w.abort())
	}
	return err
}

// errReplaced says that a run that was merged has been removed meanwhile: its sums must not come back.
var errReplaced = errors.New("run was removed during the merge")

// replace makes what was written count in place of the old runs, in one step.
func (m *merging) replace() error {
	m.db.structure.Lock()
	defer m.db.structure.Unlock()
	if site := m.refs[0].site; !m.db.alive(site) {
		return fmt.Errorf("site %d: %w", site, ErrNotFound)
	}
	return m.db.update(func(txn *badger.Txn) error {
		for _, ref := range m.refs {
			if _, err := txn.Get(ref.headerKey()); errors.Is(err, badger.ErrKeyNotFound) {
				return errReplaced
			} else if err != nil {
				return err
			}
			if m.keep {
				continue
			}
			if err := m.drop(txn, ref); err != nil {
				return err
			}
		}
		for _, r := range m.written {
			if len(r.head.blockRows) > 0 {
				if err := txn.Set(r.w.ref.headerKey(), r.head.append(nil)); err != nil {
					return err
				}
			}
			if err := txn.Delete(r.w.ref.runKey(prefixGarbage)); err != nil {
				return err
			}
		}
		if m.keep {
			return nil
		}
		for _, ref := range m.chunked {
			if err := txn.Set(ref.runKey(prefixGarbage), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// drop deletes the header of a run, and that of its rollup.
func (m *merging) drop(txn *badger.Txn, ref runRef) error {
	if err := txn.Delete(ref.headerKey()); err != nil || ref.level < closedLevel {
		return err
	}
	m.chunked = append(m.chunked, ref.rollup()) // whether it has chunks is not worth a look
	return txn.Delete(ref.rollup().headerKey())
}

// nextLevel is the level of a run merged from others. That of closed runs is left free.
func nextLevel(refs []runRef) uint8 {
	level := uint8(0)
	for _, ref := range refs {
		level = max(level, ref.level)
	}
	return min(level+1, closedLevel-1)
}

// mergeInto reads the runs in one state of the store and writes the sums of equal tuples in order. It returns
// those of the runs that have chunks to delete afterwards.
func (db *DB) mergeInto(w *runWriter, refs []runRef) (chunked []runRef, err error) {
	err = db.view(func(txn *badger.Txn) error {
		cursors := make([]*cursor, 0, len(refs))
		for _, ref := range refs {
			item, err := txn.Get(ref.headerKey())
			if err != nil {
				return err
			}
			r, err := openRun(db.codec, txn, item)
			if err != nil {
				return err
			}
			if r.head.inline == nil {
				chunked = append(chunked, ref)
			}
			if w.roller != nil && ref.level == coarseLevel {
				if err := w.roller.takeHours(db.codec, txn, ref.rollup()); err != nil {
					return err
				}
			}
			c := &cursor{run: r, row: -1, coarse: w.ref.level == coarseLevel}
			if err := c.next(); err != nil {
				return err
			}
			cursors = append(cursors, c)
		}
		return w.merge(cursors)
	})
	return chunked, err
}

// cursor walks over the tuples of a run in order.
type cursor struct {
	run    *run
	n      int // next block
	block  block
	row    int
	dims   [columns]string
	hour   string // that of dims, also where it has left them
	coarse bool   // the hours leave the tuples
	done   bool
}

// next moves to the next tuple, or sets done.
func (c *cursor) next() error {
	c.row++
	for c.row >= c.block.rows {
		if c.n == len(c.run.head.blockRows) {
			c.done = true
			return nil
		}
		if err := c.run.load(c.n, &c.block); err != nil {
			return err
		}
		c.row = 0
		c.n++
	}
	c.block.tuple(c.run.s, c.row, &c.dims)
	c.hour = c.dims[Hour]
	if c.coarse {
		c.dims[Hour] = "" // the last column: tuples stay in order
	}
	return nil
}

// merge writes the union of the cursors, equal tuples summed, tuples whose sums are all zero left out.
func (w *runWriter) merge(cursors []*cursor) error {
	live := slices.DeleteFunc(cursors, func(c *cursor) bool { return c.done })
	for len(live) > 0 {
		least := live[0]
		for _, c := range live[1:] {
			if compareTuples(w.s, &c.dims, &least.dims) < 0 {
				least = c
			}
		}
		dims := least.dims
		var sums [maxMeasures]int64
		for _, c := range live {
			if err := w.take(c, &dims, &sums); err != nil {
				return err
			}
		}
		if w.ref.level == coarseLevel {
			clearHourly(w.ref.table, &sums)
		}
		if sums != [maxMeasures]int64{} {
			if err := w.add(&dims, &sums); err != nil {
				return err
			}
			if w.roller != nil {
				w.roller.add(&dims, &sums)
			}
		}
		live = slices.DeleteFunc(live, func(c *cursor) bool { return c.done })
	}
	return nil
}

// take adds the rows of a cursor that are the tuple dims.
func (w *runWriter) take(c *cursor, dims *[columns]string, sums *[maxMeasures]int64) error {
	var row [maxMeasures]int64
	for !c.done && compareTuples(w.s, &c.dims, dims) == 0 {
		for m := range w.s.measures {
			row[m] = c.block.sums[m][c.row]
			sums[m] += row[m]
		}
		if w.roller != nil {
			w.roller.addHour(dims[Kind], c.hour, &row)
		}
		if err := c.next(); err != nil {
			return err
		}
	}
	return nil
}

// sweep deletes the chunks of runs that a crash left unfinished, or replaced but not deleted.
func (db *DB) sweep() error {
	keys, err := db.keys([]byte{prefixGarbage}, 0)
	if err != nil {
		return err
	}
	for _, k := range keys {
		ref, err := parseGarbageKey(k)
		if err != nil {
			return fmt.Errorf("sweep: key %x: %w", k, err)
		}
		if err := db.dropChunks(ref); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}
