package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// What commits have added lies on the disk as many small runs of level 0, which nobody reads but the next start: their sums
// are also in memory, where queries find them and merges take them from. Once there are enough of them, or some time has
// passed, they are written as one run, and the small ones are deleted.

const (
	// freshRows is how many tuples a segment takes before it is written. Their numbers have two bytes in queries.
	freshRows = 1 << 16
	// freshBytes is how large a segment gets before it is written: texts may be long.
	freshBytes = 32 << 20
	// freshRuns is how many small runs a segment may stand for: they are deleted in one transaction.
	freshRuns = 1000
	// smallBytes is how large a run may be to lie in its header: a commit is never larger, but of very long texts.
	smallBytes = maxTxnBytes / 2
	// freshAge is how long a site's hits lie in small runs, which tell what was stored in one commit.
	freshAge = 5 * time.Minute
	// maxFreshRows and maxFreshBytes bound what is in memory of all partitions: past them hits are refused until some are
	// written. A tuple takes some 200 bytes, but texts may be long.
	maxFreshRows  = 1 << 20
	maxFreshBytes = 256 << 20
)

// weight is how much lies in memory.
type weight struct{ rows, bytes int64 }

func (s *sums) weight() weight { return weight{int64(s.rows()), int64(s.bytes())} }

// fresh holds what small runs hold.
type fresh struct {
	// order is held while small runs are stored and added here, or are deleted, so that both always have the same.
	// Taken after structure.
	order sync.Mutex

	rows, bytes atomic.Int64
	most        weight // the constants but in tests

	mu    sync.RWMutex // guards the following; taken after order, before life
	parts map[partition][]*segment
	open  weight // of segments that are not sealed
}

// segment are the sums of some small runs. The last one of a partition takes what is added, until it is sealed.
type segment struct {
	sums   *sums
	runs   []smallRun
	since  time.Time
	sealed bool
}

// smallRun is a run of level 0.
type smallRun struct {
	ref     runRef
	chunked bool // it was too large for its header
}

// freshSums are what one commit adds to a partition.
type freshSums struct {
	p    partition
	runs []smallRun
	sums *sums
}

// full reports whether a segment is to be written before it takes more tuples.
func (s *segment) full(more int) bool {
	return s.sealed || len(s.runs) >= freshRuns || s.sums.bytes() >= freshBytes || s.sums.rows() > 0 && s.sums.rows()+more > freshRows
}

// close seals a segment: nothing is added to it any more. mu is held.
func (f *fresh) close(s *segment) {
	if !s.sealed {
		w := s.sums.weight()
		s.sealed, f.open = true, weight{f.open.rows - w.rows, f.open.bytes - w.bytes}
	}
}

// closeAll seals all segments, and returns the partitions of those that were not. mu is held.
func (f *fresh) closeAll() (closed []partition) {
	for p, segments := range f.parts {
		if last := segments[len(segments)-1]; !last.sealed {
			f.close(last)
			closed = append(closed, p)
		}
	}
	return closed
}

// add adds what a commit has stored. It returns the partitions, and those that have something to write.
func (f *fresh) add(added []freshSums) (seen, due []partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range added {
		segments := f.parts[r.p]
		if n := len(segments); n == 0 || segments[n-1].full(r.sums.rows()) {
			if n > 0 {
				f.close(segments[n-1])
				due = append(due, r.p)
			}
			segments = append(segments, &segment{sums: newSums(r.sums.s), since: time.Now()})
			f.parts[r.p] = segments
			seen = append(seen, r.p)
		}
		last := segments[len(segments)-1]
		before := last.sums.weight()
		last.sums.addAll(r.sums)
		last.runs = append(last.runs, r.runs...)
		after := last.sums.weight()
		more := weight{after.rows - before.rows, after.bytes - before.bytes}
		f.rows.Add(more.rows)
		f.bytes.Add(more.bytes)
		f.open = weight{f.open.rows + more.rows, f.open.bytes + more.bytes}
	}
	// With many sites no segment may be full by itself before memory is: without this hits would be refused until some are old.
	if f.open.rows > f.most.rows/2 || f.open.bytes > f.most.bytes/2 {
		due = append(due, f.closeAll()...)
	}
	return seen, due
}

// room reports whether more may be added.
func (f *fresh) room() bool { return f.rows.Load() < f.most.rows && f.bytes.Load() < f.most.bytes }

// has reports whether a partition has anything here, and old whether some of it is to be written by now.
func (f *fresh) has(p partition) (has, old bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	segments := f.parts[p]
	return len(segments) > 0, len(segments) > 1 || len(segments) == 1 && (segments[0].sealed || time.Since(segments[0].since) >= freshAge)
}

// seal takes the first segment of a partition that is to be written, with all even if it is not full. Nothing is added to it
// any more.
func (f *fresh) seal(p partition, all bool) *segment {
	f.mu.Lock()
	defer f.mu.Unlock()
	segments := f.parts[p]
	if len(segments) == 0 || !all && !segments[0].sealed && time.Since(segments[0].since) < freshAge {
		return nil
	}
	f.close(segments[0])
	return segments[0]
}

// drop forgets a segment. mu is held.
func (f *fresh) drop(p partition, s *segment) {
	segments := slices.DeleteFunc(slices.Clone(f.parts[p]), func(o *segment) bool { return o == s })
	f.release(s)
	if f.parts[p] = segments; len(segments) == 0 {
		delete(f.parts, p)
	}
}

// release takes a segment out of what is counted. mu is held.
func (f *fresh) release(s *segment) {
	f.close(s)
	w := s.sums.weight()
	f.rows.Add(-w.rows)
	f.bytes.Add(-w.bytes)
}

// forget drops what is held of partitions. order is held.
func (f *fresh) forget(of func(p partition) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, segments := range f.parts {
		if of(p) {
			for _, s := range segments {
				f.release(s)
			}
			delete(f.parts, p)
		}
	}
}

// writeFresh writes the first segment of a partition as a run, if it is time or with all. more says that there may be others.
func (db *DB) writeFresh(p partition, all bool) (more bool, err error) {
	seg := db.fresh.seal(p, all)
	if seg == nil {
		return false, nil
	}
	w, err := db.newRunWriter(runRef{p.site, p.table, p.day, 1, rand.Uint64()})
	if err != nil {
		return false, err
	}
	err = seg.sums.blocks(w.put)
	var head header
	if err == nil {
		head, err = w.finish()
	}
	if err == nil {
		err = db.replaceFresh(p, seg, w.ref, &head)
	}
	if errors.Is(err, errStopped) {
		return false, err
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("write small runs as one: %w", err), w.abort())
	}
	for _, small := range seg.runs {
		if small.chunked {
			if err := db.dropChunks(small.ref); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// replaceFresh makes a run count in place of the small ones of a segment, for those who read from here on.
func (db *DB) replaceFresh(p partition, seg *segment, ref runRef, head *header) error {
	db.structure.Lock()
	defer db.structure.Unlock()
	db.fresh.mu.Lock()
	defer db.fresh.mu.Unlock()
	if !slices.Contains(db.fresh.parts[p], seg) {
		return errReplaced
	}
	if !db.alive(p.site) {
		return fmt.Errorf("site %d: %w", p.site, ErrNotFound)
	}
	err := db.update(func(txn *badger.Txn) error {
		for _, small := range seg.runs {
			if err := txn.Delete(small.ref.headerKey()); err != nil {
				return err
			}
			if small.chunked {
				if err := txn.Set(small.ref.runKey(prefixGarbage), nil); err != nil {
					return err
				}
			}
		}
		if len(head.blockRows) > 0 {
			if err := txn.Set(ref.headerKey(), head.append(nil)); err != nil {
				return err
			}
		}
		return txn.Delete(ref.runKey(prefixGarbage))
	})
	if err == nil {
		db.fresh.drop(p, seg)
	}
	return err
}

// load reads the small runs that an earlier process has left.
func (f *fresh) load(db *DB) error {
	f.parts = make(map[partition][]*segment)
	f.most = weight{maxFreshRows, maxFreshBytes}
	return db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixHeader}, PrefetchValues: false})
		defer it.Close()
		var b block
		for it.Rewind(); it.Valid(); it.Next() {
			ref, err := parseHeaderKey(it.Item().Key())
			if err != nil {
				return fmt.Errorf("key %x: %w", it.Item().Key(), err)
			}
			if ref.level > 0 || !db.alive(ref.site) {
				continue
			}
			r, err := openRun(db.codec, txn, it.Item())
			if err != nil {
				return err
			}
			add := freshSums{ref.partition(), []smallRun{{ref, r.head.inline == nil}}, newSums(r.s)}
			for n := range r.head.blockRows {
				if err := r.load(n, &b); err != nil {
					return err
				}
				add.sums.addBlock(&b)
			}
			f.add([]freshSums{add})
		}
		return nil
	})
}
