package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

const (
	// mergeFanIn is how many runs of one level are merged into one of the next: a day of n commits has at
	// most mergeFanIn runs on each of log(n) levels, and each row is rewritten log(n) times.
	mergeFanIn = 8
	// maxMergeRuns and maxMergeRows bound the memory of one merge, which holds a block of each run: a row takes about
	// 150 bytes there.
	maxMergeRuns = 64
	maxMergeRows = 8 * blockRows
	// closedLevel is the level of the one run of a day that is over, which has a rollup beside it. Other runs stay below.
	closedLevel = 255
	// closeEvery is how often days are looked for that are over.
	closeEvery = time.Minute
	// settleEvery is how often Settle looks.
	settleEvery = 5 * time.Millisecond
	// mergeRetry is the pause after a merge that failed, so that a full disk is not hammered.
	mergeRetry = 30 * time.Second
)

// Settle waits until everything is merged that is worth it, or ctx ends. It is for tools that measure or copy a store:
// answers do not depend on it.
func (db *DB) Settle(ctx context.Context) error {
	db.merges.closed(db.isOver)
	for db.merges.busy() {
		select {
		case <-time.After(settleEvery):
		case <-ctx.Done():
			return ctx.Err()
		case <-db.stop:
			return ErrClosed
		}
	}
	return nil
}

// merge is the goroutine that merges what is due.
func (db *DB) merge() {
	tick := time.NewTicker(closeEvery)
	defer tick.Stop()
	for {
		select {
		case <-db.merges.wake:
		case <-tick.C:
			db.merges.closed(db.isOver)
		case <-db.stop:
			return
		}
		for p, ok := db.merges.next(); ok; p, ok = db.merges.next() {
			pause := time.Duration(0)
			if err := db.mergePartition(p); err != nil {
				db.log.Error("cannot merge runs: trying again later", "site", p.site, "day", p.day.String(), "error", err)
				db.merges.again(p)
				pause = mergeRetry
			}
			db.merges.idle()
			select {
			case <-time.After(pause):
			case <-db.stop:
				return
			}
		}
	}
}

// isOver reports whether the day of a partition is over at its site: no hit comes to it any more, only imports.
func (db *DB) isOver(p partition) bool {
	loc, ok := db.sites.Load().zones[p.site]
	return ok && p.day < DayOf(db.now().In(loc))
}

// mergePartition merges what is worth it in a partition, until nothing is.
func (db *DB) mergePartition(p partition) error {
	for {
		more, err := db.mergeStep(p)
		if err != nil || !more {
			return err
		}
		select {
		case <-db.stop:
			return nil
		default:
		}
	}
}

// mergeStep does one merge in a partition. more says that there may be another.
func (db *DB) mergeStep(p partition) (more bool, err error) {
	refs, err := db.partitionRuns(p)
	if err != nil || !db.alive(p.site) {
		return false, err
	}
	over := db.isOver(p)
	chosen, err := db.chooseRuns(refs, over)
	if err != nil && !db.alive(p.site) {
		return false, nil // the site went away meanwhile
	}
	if err != nil {
		return false, err
	}
	if chosen == nil {
		if !over && len(refs) > 0 {
			db.merges.watch(p)
		}
		return false, nil
	}
	err = db.mergeRuns(p, chosen, over && len(chosen) == len(refs))
	if err != nil && (!db.alive(p.site) || errors.Is(err, errStopped)) {
		return false, nil // the site went away under the merge, or the store is being closed
	}
	return true, err
}

// chooseRuns returns the runs to merge next, nil if there are not enough: the lowest level that has mergeFanIn
// of them, or all when the day is over, as far as memory allows.
func (db *DB) chooseRuns(refs []runRef, over bool) ([]runRef, error) {
	// Small ones first, so that a day with very many runs does not rewrite the large ones again and again.
	slices.SortStableFunc(refs, func(a, b runRef) int { return cmp.Compare(a.level, b.level) })
	if !over {
		byLevel := make(map[uint8][]runRef)
		for _, ref := range refs {
			byLevel[ref.level] = append(byLevel[ref.level], ref)
		}
		enough := func(ref runRef) bool { return len(byLevel[ref.level]) >= mergeFanIn }
		first := slices.IndexFunc(refs, enough)
		if first < 0 {
			return nil, nil
		}
		refs = byLevel[refs[first].level]
	}
	if len(refs) == 0 || len(refs) == 1 && refs[0].level == closedLevel {
		return nil, nil
	}
	return db.fitting(refs, maxMergeRows)
}

// fitting returns as many of the runs as a merge may hold a block of without exceeding maxRows rows; two at least, or
// a day would never be done.
func (db *DB) fitting(refs []runRef, maxRows int) ([]runRef, error) {
	held, n := 0, 0
	err := db.view(func(txn *badger.Txn) error {
		for n < min(len(refs), maxMergeRuns) {
			item, err := txn.Get(refs[n].headerKey())
			if err != nil {
				return err
			}
			r, err := openRun(db.codec, txn, item)
			if err != nil {
				return err
			}
			if held += slices.Max(r.head.blockRows); n >= 2 && held > maxRows {
				return nil
			}
			n++
		}
		return nil
	})
	return refs[:n], err
}

func (db *DB) partitionRuns(p partition) ([]runRef, error) {
	keys, err := db.keys(dayHeaders(p), 0)
	if err != nil {
		return nil, err
	}
	refs := make([]runRef, len(keys))
	for i, k := range keys {
		if refs[i], err = parseHeaderKey(k); err != nil {
			return nil, err
		}
	}
	return refs, nil
}

// mergeRuns replaces runs of a partition by one with the same sums, and closes the day if they are all it has.
// Readers see the old ones or the new one: chunks are written first and count only with their header; a crash in
// between leaves garbage marks.
func (db *DB) mergeRuns(p partition, refs []runRef, closing bool) error {
	m := &merging{db: db, refs: refs}
	out := runRef{p.site, p.table, p.day, nextLevel(refs), rand.Uint64()}
	if closing {
		out.level = closedLevel
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
	return nil
}

// merging is one merge.
type merging struct {
	db      *DB
	refs    []runRef // to be replaced
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
	if m.written[0].head, err = w.finish(true); err != nil || m.roller == nil {
		return err
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

// replace makes what was written count in place of the old runs, in one step.
func (m *merging) replace() error {
	m.db.structure.Lock()
	defer m.db.structure.Unlock()
	if site := m.refs[0].site; !m.db.alive(site) {
		return fmt.Errorf("site %d: %w", site, ErrNotFound)
	}
	return m.db.update(func(txn *badger.Txn) error {
		for _, ref := range m.refs {
			if _, err := txn.Get(ref.headerKey()); err != nil {
				return err // replaced or removed by somebody else: their sums must not count twice
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
	if err := txn.Delete(ref.headerKey()); err != nil || ref.level != closedLevel {
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
	return min(level, closedLevel-2) + 1
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
			c := &cursor{run: r, row: -1}
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
	run   *run
	n     int // next block
	block block
	row   int
	dims  [columns]string
	done  bool
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
			if compareTuples(w.s, &c.dims, &dims) != 0 {
				continue
			}
			for m := range w.s.measures {
				sums[m] += c.block.sums[m][c.row]
			}
			if err := c.next(); err != nil {
				return err
			}
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
