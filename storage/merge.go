package storage

import (
	"cmp"
	"context"
	"errors"
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
	// closeEvery is how often days are looked for that are over, and how soon a merge that failed is tried again.
	closeEvery = time.Minute
	// settleEvery is how often Settle looks.
	settleEvery = 5 * time.Millisecond
)

// Settle waits until everything is merged that is worth it, or ctx ends. It is for tools that measure or copy a store:
// answers do not depend on it.
func (db *DB) Settle(ctx context.Context) error {
	db.merges.ripen(db.ripe)
	return db.await(ctx, false)
}

// Purge is Settle, and waits until what has been replaced or deleted is gone from the files too. The store does so by
// itself within the hour; what a removal leaves behind at once. Where it cannot, as on a full disk, Purge tells why.
func (db *DB) Purge(ctx context.Context) error {
	db.merges.failure()
	db.merges.ripen(db.ripe)
	db.merges.left(true)
	return db.await(ctx, true)
}

func (db *DB) await(ctx context.Context, purged bool) error {
	for !db.merges.settled(purged) {
		if purged {
			if err := db.merges.failure(); err != nil {
				return err
			}
		}
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
			if asked := db.merges.takeExpire(); len(asked) > 0 {
				old.run(asked)
			}
		case <-tick.C:
			db.merges.ripen(db.ripe)
			old.run(nil)
		case <-db.stop:
			return
		}
		for p, ok := db.merges.next(); ok; p, ok = db.merges.next() {
			if err := db.mergePartition(p); err != nil {
				db.log.Error("cannot merge runs: trying again later", "site", p.site, "day", p.day.String(), "error", err)
				db.merges.later(p)
			}
			select {
			case <-db.stop:
				return
			default:
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
				db.merges.purged(err)
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
	_, old := db.fresh.has(p)
	return old || db.isOver(p)
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
	over, coarse := db.isOver(p), db.isCoarse(p)
	if more, err := db.writeFresh(p, over); err != nil || more {
		return db.passing(p, more, err)
	}
	refs, err := db.partitionRuns(p)
	if err != nil || !db.alive(p.site) {
		return false, err
	}
	chosen, err := db.chooseRuns(refs, over, coarse)
	if err != nil && !db.alive(p.site) {
		return false, nil // the site went away meanwhile
	}
	if err != nil {
		return false, err
	}
	if chosen == nil {
		if has, _ := db.fresh.has(p); has || len(refs) > 0 && !(over && coarse) {
			db.merges.watch(p, over && !has)
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
	return db.passing(p, true, db.mergeRuns(p, chosen, level))
}

// passing takes away errors that only mean that something else came first.
func (db *DB) passing(p partition, more bool, err error) (bool, error) {
	switch {
	case err == nil:
		return more, nil
	case !db.alive(p.site) || errors.Is(err, errStopped):
		return false, nil // the site went away, or the store is being closed
	case errors.Is(err, errReplaced):
		return true, nil // deleted meanwhile: look again
	}
	return false, err
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

// partitionRuns lists the runs of a partition but for small ones.
func (db *DB) partitionRuns(p partition) ([]runRef, error) {
	refs, err := db.runsOn(p.site, p.table, p.day, p.day)
	return slices.DeleteFunc(refs, func(r runRef) bool { return r.level == 0 }), err
}
