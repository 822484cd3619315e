package storage

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
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
	maxLevel     = 255
	// closeEvery is how often days are looked for that are over.
	closeEvery = time.Minute
	// mergeRetry is the pause after a merge that failed, so that a full disk is not hammered.
	mergeRetry = 30 * time.Second
)

// merges knows which partitions may have runs to merge. Partitions of a single run are not in it: with many sites
// and days they are nearly all.
type merges struct {
	wake chan struct{} // capacity 1

	mu    sync.Mutex        // guards the following
	added map[partition]int // runs that were added since the partition was last looked at
	due   map[partition]bool
}

// load finds the partitions of the store that have more than one run.
func (m *merges) load(db *DB) error {
	m.wake = make(chan struct{}, 1)
	m.added = make(map[partition]int)
	m.due = make(map[partition]bool)
	keys, err := db.keys([]byte{prefixHeader}, 0)
	if err != nil {
		return fmt.Errorf("read run headers: %w", err)
	}
	var last partition
	for i, k := range keys {
		ref, err := parseHeaderKey(k)
		if err != nil {
			return fmt.Errorf("read run headers: key %x: %w", k, err)
		}
		p := ref.partition()
		if i > 0 && p == last {
			m.due[p] = true
		}
		last = p
	}
	m.signal()
	return nil
}

func (m *merges) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// note notes new runs. Whether their partition is worth a merge is looked at when there are enough of them.
func (m *merges) note(refs []runRef) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ref := range refs {
		p := ref.partition()
		m.added[p]++
		if m.added[p] >= mergeFanIn {
			m.due[p] = true
		}
	}
	if len(m.due) > 0 {
		m.signal()
	}
}

// closed makes the partitions due whose day is over and that have been added to.
func (m *merges) closed(over func(partition) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.added {
		if over(p) {
			m.due[p] = true
		}
	}
	if len(m.due) > 0 {
		m.signal()
	}
}

// next takes a partition that is due.
func (m *merges) next() (p partition, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p = range m.due {
		delete(m.due, p)
		delete(m.added, p)
		return p, true
	}
	return p, false
}

// again makes a partition due once more.
func (m *merges) again(p partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.due[p] = true
	m.signal()
}

// watch keeps a partition in sight that has several runs, too few to merge before its day is over.
func (m *merges) watch(p partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.added[p] == 0 {
		m.added[p] = 1
	}
}

// forget drops all partitions of a site.
func (m *merges) forget(site uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	of := func(p partition) bool { return p.site == site }
	maps.DeleteFunc(m.due, func(p partition, _ bool) bool { return of(p) })
	maps.DeleteFunc(m.added, func(p partition, _ int) bool { return of(p) })
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
	chosen, err := db.chooseRuns(refs, db.isOver(p))
	if err != nil {
		return false, err
	}
	if chosen == nil {
		if len(refs) > 1 {
			db.merges.watch(p)
		}
		return false, nil
	}
	err = db.mergeRuns(p, chosen)
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
	if len(refs) < 2 {
		return nil, nil
	}
	return db.fitting(refs)
}

// fitting returns as many of the runs as a merge can hold a block of, two at least.
func (db *DB) fitting(refs []runRef) ([]runRef, error) {
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
			if held += slices.Max(r.head.blockRows); n >= 2 && held > maxMergeRows {
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

// mergeRuns replaces runs of a partition by one with the same sums. Readers see the old ones or the new one:
// chunks are written first and count only with their header; a crash in between leaves garbage marks.
func (db *DB) mergeRuns(p partition, refs []runRef) error {
	w, err := db.newRunWriter(runRef{p.site, p.table, p.day, nextLevel(refs), rand.Uint64()})
	if err != nil {
		return err
	}
	chunked, err := db.mergeInto(w, refs)
	var head header
	if err == nil {
		head, err = w.finish(true)
	}
	if err == nil {
		err = db.replaceRuns(w.ref, head, refs, chunked)
	}
	if errors.Is(err, errStopped) {
		return err // the mark makes the next start delete what was written; closing need not wait for it
	}
	if err != nil {
		return errors.Join(fmt.Errorf("merge runs: %w", err), w.abort())
	}
	for _, ref := range chunked {
		if err := db.dropChunks(ref); err != nil {
			return err
		}
	}
	return nil
}

// replaceRuns makes a run count in place of others, in one step. chunked are those of them that have chunks.
func (db *DB) replaceRuns(out runRef, head header, refs, chunked []runRef) error {
	db.structure.Lock()
	defer db.structure.Unlock()
	if !db.alive(out.site) {
		return fmt.Errorf("site %d: %w", out.site, ErrNotFound)
	}
	return db.update(func(txn *badger.Txn) error {
		for _, ref := range refs {
			if _, err := txn.Get(ref.headerKey()); err != nil {
				return err // replaced or removed by somebody else: their sums must not count twice
			}
			if err := txn.Delete(ref.headerKey()); err != nil {
				return err
			}
		}
		for _, ref := range chunked {
			if err := txn.Set(ref.runKey(prefixGarbage), nil); err != nil {
				return err
			}
		}
		if len(head.blockRows) > 0 {
			if err := txn.Set(out.headerKey(), head.append(nil)); err != nil {
				return err
			}
		}
		return txn.Delete(out.runKey(prefixGarbage))
	})
}

func nextLevel(refs []runRef) uint8 {
	level := uint8(0)
	for _, ref := range refs {
		level = max(level, ref.level)
	}
	return min(level, maxLevel-1) + 1
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
