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
	// closedLevel is the level of the one run of a day that is over, which has a rollup beside it, and coarseLevel that of
	// one that has lost its hours too. Other runs stay below. A day has at most one run of these levels, since whatever
	// makes another merges it.
	closedLevel = 254
	coarseLevel = 255
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
	db.merges.ripen(db.ripe)
	return db.await(ctx, false)
}

// Purge is Settle, and waits until what has been replaced or deleted is gone from the files too. The store does so by
// itself within the hour; what a removal leaves behind at once.
func (db *DB) Purge(ctx context.Context) error {
	db.merges.ripen(db.ripe)
	db.merges.left(true)
	return db.await(ctx, true)
}

func (db *DB) await(ctx context.Context, purged bool) error {
	for !db.merges.settled(purged) {
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

// merge is the goroutine that merges what is due, lets old days go, and purges what both leave behind.
func (db *DB) merge() {
	tick := time.NewTicker(closeEvery)
	defer tick.Stop()
	purged := time.Now().Add(purgeFirst - purgeEvery)
	old := newExpirer(db)
	for {
		select {
		case <-db.merges.wake:
			if db.merges.takeExpire() {
				old.run(true)
			}
		case <-tick.C:
			db.merges.ripen(db.ripe)
			old.run(false)
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
			select {
			case <-time.After(pause):
			case <-db.stop:
				return
			}
		}
		db.catchUp()
		if now := time.Now(); db.merges.takePurge(now.Sub(purged) >= purgeEvery) {
			purged = now
			switch err := db.purge(); {
			case err == nil, errors.Is(err, errStopped):
			case errors.Is(err, errBackingUp):
				db.merges.left(db.backups.Load() == 0) // else the end of the backup asks for it
			default:
				db.log.Error("cannot remove old versions from the files: trying again later", "error", err)
				db.merges.left(false)
			}
			db.merges.signal() // what became due meanwhile, and to be idle
		}
	}
}

// ripe reports whether it is time to merge a partition: its day is over, or the hours are to leave its closed run.
func (db *DB) ripe(p partition, closed bool) bool {
	if closed {
		return db.isCoarse(p)
	}
	return db.isOver(p)
}

// today is the day that it is at a site; ok is false if the site is gone.
func (db *DB) today(site uint32) (today Day, keep Retention, ok bool) {
	s, ok := db.sites.Load().byID[site]
	if !ok {
		return 0, Retention{}, false
	}
	return DayOf(db.now().In(s.Location())), s.Keep.OrDefault(), true
}

// isOver reports whether the day of a partition is over at its site: no hit comes to it any more, only imports.
func (db *DB) isOver(p partition) bool {
	today, _, ok := db.today(p.site)
	return ok && p.day < today
}

// isCoarse reports whether the day of a partition is so long over that its tuples have no hour.
func (db *DB) isCoarse(p partition) bool {
	today, keep, ok := db.today(p.site)
	return ok && p.day < today-Day(keep.Hours)
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
	over, coarse := db.isOver(p), db.isCoarse(p)
	chosen, err := db.chooseRuns(refs, over, coarse)
	if err != nil && !db.alive(p.site) {
		return false, nil // the site went away meanwhile
	}
	if err != nil {
		return false, err
	}
	if chosen == nil {
		if len(refs) > 0 && !(over && coarse) {
			db.merges.watch(p, over)
		}
		return false, nil
	}
	level := nextLevel(chosen)
	if over && len(chosen) == len(refs) {
		level = closedLevel
		// The last is the closed run, if there is one: it may be coarse although the clock has gone back since.
		if coarse || chosen[len(chosen)-1].level == coarseLevel {
			level = coarseLevel
		}
	}
	err = db.mergeRuns(p, chosen, level)
	if err != nil && (!db.alive(p.site) || errors.Is(err, errStopped)) {
		return false, nil // the site went away under the merge, or the store is being closed
	}
	if errors.Is(err, errReplaced) {
		err = nil // deleted under the merge: look again
	}
	return true, err
}

// chooseRuns returns the runs to merge next, nil if there are not enough: the lowest level that has mergeFanIn
// of them, or all when the day is over, as far as memory allows.
func (db *DB) chooseRuns(refs []runRef, over, coarse bool) ([]runRef, error) {
	// Small ones first, so that a day with very many runs does not rewrite the large ones again and again. And a closed
	// run is taken only together with all others: its rollup cannot be made from a part.
	slices.SortStableFunc(refs, func(a, b runRef) int { return cmp.Compare(a.level, b.level) })
	if !over {
		byLevel := make(map[uint8][]runRef)
		for _, ref := range refs {
			byLevel[ref.level] = append(byLevel[ref.level], ref)
		}
		delete(byLevel, closedLevel) // the clock has gone back: it waits until the day is over again
		delete(byLevel, coarseLevel)
		enough := func(ref runRef) bool { return len(byLevel[ref.level]) >= mergeFanIn }
		first := slices.IndexFunc(refs, enough)
		if first < 0 {
			return nil, nil
		}
		refs = byLevel[refs[first].level]
	}
	if len(refs) == 0 || len(refs) == 1 && (refs[0].level == coarseLevel || refs[0].level == closedLevel && !coarse) {
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
	if m.written[0].head, err = w.finish(); err != nil || m.roller == nil {
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
