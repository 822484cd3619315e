package storage

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Retention says for how many whole days before today a site keeps what, counted in its own time zone. The zero value
// of each field is its default.
type Retention struct {
	// Hours is how long combinations keep the hour. Later only the totals of each hour are left. Default 2.
	Hours int `json:"hours,omitempty"`
	// Detail is how long combinations of dimensions are kept. Later only totals by one dimension are left, without
	// filters. Default: 25 months.
	Detail int `json:"detail,omitempty"`
	// Totals is how long anything is kept. Default: 25 months.
	Totals int `json:"totals,omitempty"`
}

const (
	defaultHours = 2
	// defaultDays are 25 months: enough to compare with the year before last's same month.
	defaultDays = 761
	// maxDays keeps days within their 32 bits.
	maxDays = 100_000
)

// OrDefault fills in the defaults.
func (k Retention) OrDefault() Retention {
	k.Hours = cmp.Or(k.Hours, defaultHours)
	k.Totals = cmp.Or(k.Totals, max(defaultDays, k.Detail))
	k.Detail = cmp.Or(k.Detail, min(defaultDays, k.Totals))
	return k
}

// reach returns what a site keeps once it keeps a day as long as new ones are by default.
func (k Retention) reach(today, day Day) Retention {
	before := k.OrDefault()
	k.Detail = int(today-day) + defaultDays
	k.Totals = max(before.Totals, k.Detail)
	return k
}

// Check returns an error that says what is wrong with the numbers.
func (k Retention) Check() error {
	for _, days := range []int{k.Hours, k.Detail, k.Totals} {
		if days < 0 || days > maxDays {
			return fmt.Errorf("retention of %d days: want 1 to %d, or 0 for the default", days, maxDays)
		}
	}
	if k = k.OrDefault(); k.Detail > k.Totals {
		return fmt.Errorf("retention: details are kept for %d days and totals for %d: totals have to be kept at least as long", k.Detail, k.Totals)
	}
	return nil
}

// SetRetention changes for how long a site keeps its numbers, or returns ErrNotFound. What is older than that goes within
// minutes, and cannot be had again.
func (db *DB) SetRetention(domain string, keep Retention) error {
	if err := keep.Check(); err != nil {
		return err
	}
	var site uint32
	err := db.changeSite(domain, func(s *Site) error { s.Keep, site = keep, s.ID; return nil })
	if err != nil {
		return fmt.Errorf("set retention of %s: %w", domain, err)
	}
	db.merges.letGo(site)
	return nil
}

// trustClock is for how long the clock must have shown the same day before old days are let go because of it: a machine
// that starts with a wrong clock must not lose its past until the clock is set.
const trustClock = 10 * time.Minute

// expirer lets go what has reached its age. It belongs to the goroutine that merges.
type expirer struct {
	db   *DB
	done map[uint32]expiry // by site: what it was last looked through for
	seen map[uint32]sight
}

// expiry is what decides which days of a site are too old.
type expiry struct {
	today Day
	keep  Retention
}

// sight is since when it has been a day at a site.
type sight struct {
	today Day
	since time.Time
}

func newExpirer(db *DB) *expirer {
	return &expirer{db, make(map[uint32]expiry), make(map[uint32]sight)}
}

// run looks through all sites whose day, or retention, is another than before. Errors are logged: the next run tries
// again. For those that are asked for, somebody has just chosen what to keep, and so believes the clock.
func (x *expirer) run(asked map[uint32]bool) {
	for _, s := range x.db.Sites() {
		today, keep, ok := x.db.today(s.ID)
		now := expiry{today, keep}
		if x.seen[s.ID].today != today || x.seen[s.ID].since.IsZero() {
			x.seen[s.ID] = sight{today, time.Now()}
		}
		if !ok || x.done[s.ID] == now || !asked[s.ID] && time.Since(x.seen[s.ID].since) < trustClock {
			continue
		}
		switch done, err := x.db.expireSite(s); {
		case err == nil && done:
			x.done[s.ID] = now
		case err != nil && !errors.Is(err, ErrClosed):
			x.db.log.Error("cannot let old days go: trying again later", "site", s.Domain, "error", err)
		}
	}
}

// oldest is the first day whose details a site keeps.
func (k Retention) oldest(today Day) Day { return today - Day(k.OrDefault().Detail) }

// expireSite lets old days of a site go. done is false if some of them have to be closed first: details are let go only
// where a rollup holds the totals.
func (db *DB) expireSite(s Site) (done bool, err error) {
	spans := func() (all []span) {
		today, keep, ok := db.today(s.ID) // an import may have made it keep more since
		if !ok {
			return nil
		}
		for _, t := range []Table{Hits, Visits} {
			old := today - Day(keep.Totals) - 1
			all = append(all, span{t, minDay, keep.oldest(today) - 1, closedLevel},
				span{t, minDay, old, 0}, span{t.rollups(), minDay, old, 0}, span{t.months(), minDay, old, 0})
		}
		return all
	}
	if err := db.removeRuns(s.ID, spans); err != nil {
		return false, err
	}
	today, keep, _ := db.today(s.ID)
	if err := db.removeFingerprints(s.ID, minDay, today-Day(keep.Totals)-1); err != nil {
		return false, err
	}
	for _, t := range []Table{Hits, Visits} {
		left, err := db.runsOn(s.ID, t, minDay, keep.oldest(today)-1)
		if err != nil || len(left) > 0 {
			return false, err
		}
	}
	return true, nil
}

// DeleteRange deletes everything that was counted for a site on days that are over, both inclusive. Other days are being
// counted meanwhile. Errors wrap ErrNotFound and ErrNotOver. It returns once nothing of it can be asked for; Purge waits until it has left the files too.
func (db *DB) DeleteRange(domain string, from, to Day) error {
	s, ok := db.Site(domain)
	if !ok {
		return fmt.Errorf("delete days of %s: %w", domain, ErrNotFound)
	}
	if today, _, _ := db.today(s.ID); to >= today {
		return fmt.Errorf("delete days of %s: %s is %w there: choose an earlier last day", domain, to, ErrNotOver)
	}
	spans := func() (all []span) {
		for _, t := range []Table{Hits, Visits} {
			all = append(all, span{t, from, to, 0}, span{t.rollups(), from, to, 0}, span{t.months(), from.month(), to, 0})
		}
		return all
	}
	if err := db.removeRuns(s.ID, spans); err != nil {
		return fmt.Errorf("delete days of %s: %w", domain, err)
	}
	if err := db.removeFingerprints(s.ID, from, to); err != nil {
		return fmt.Errorf("delete days of %s: %w", domain, err)
	}
	return nil
}

// No day that can be counted lies before minDay or after maxDay.
const (
	minDay Day = math.MinInt32
	maxDay Day = math.MaxInt32
)

// span is runs of a table that are to go: those on some days that have at least a level.
type span struct {
	table    Table
	from, to Day
	level    uint8
}

// removeRuns deletes runs of a site, headers before chunks, and all of a day at once. A merge that is under way in one of
// them finds its runs gone. The spans are asked for anew before each step, while no run can be replaced.
func (db *DB) removeRuns(site uint32, spans func() []span) error {
	for {
		refs, err := db.dropHeaders(site, spans)
		if err != nil || len(refs) == 0 {
			return err
		}
		for _, ref := range refs {
			if err := db.dropChunks(ref); err != nil {
				return err
			}
		}
		db.merges.left(true)
	}
}

// dropHeaders makes runs count no longer, as many as one transaction takes, and returns them. Their marks stay until their
// chunks are gone.
func (db *DB) dropHeaders(site uint32, spans func() []span) ([]runRef, error) {
	db.structure.Lock() // or a merge could put its run in the place of those that are listed here
	defer db.structure.Unlock()
	db.fresh.order.Lock() // or a commit could add to small runs that are listed here
	defer db.fresh.order.Unlock()
	var refs []runRef
	for _, s := range spans() {
		some, err := db.runsOn(site, s.table, s.from, s.to)
		if err != nil {
			return nil, err
		}
		refs = append(refs, slices.DeleteFunc(some, func(r runRef) bool { return r.level < s.level || slices.Contains(refs, r) })...)
	}
	refs = wholeDays(refs, maxTxnKeys/2)
	gone := make(map[partition]bool)
	for _, ref := range refs {
		gone[ref.partition()] = gone[ref.partition()] || ref.level == 0
	}
	err := db.update(func(txn *badger.Txn) error {
		for _, ref := range refs {
			if err := txn.Delete(ref.headerKey()); err != nil {
				return err
			}
			if err := txn.Set(ref.runKey(prefixGarbage), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		db.fresh.forget(func(p partition) bool { return gone[p] })
	}
	return refs, err
}

// wholeDays returns the runs of the first days, at most so many, and no part of a day unless it has more by itself.
func wholeDays(refs []runRef, most int) []runRef {
	slices.SortStableFunc(refs, func(a, b runRef) int { return cmp.Compare(a.day, b.day) })
	if len(refs) <= most {
		return refs
	}
	n := most
	for n > 0 && refs[n-1].day == refs[n].day {
		n--
	}
	if n == 0 {
		n = most
	}
	return refs[:n]
}

// runsOn lists the runs of a table on some days.
func (db *DB) runsOn(site uint32, t Table, from, to Day) ([]runRef, error) {
	var refs []runRef
	err := db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: tableHeaders(site, t)})
		defer it.Close()
		for it.Seek(dayHeaders(partition{site, t, from})); it.Valid(); it.Next() {
			ref, err := parseHeaderKey(it.Item().Key())
			if err != nil {
				return err
			}
			if ref.day > to {
				break
			}
			refs = append(refs, ref)
		}
		return nil
	})
	return refs, err
}

// removeFingerprints forgets the imports of which nothing is left but some days: they may be wanted again. Those that have
// other days too stay: imported again these would count twice.
func (db *DB) removeFingerprints(site uint32, from, to Day) error {
	keys, err := db.keys(siteKeys(prefixImport, site), 0)
	if err != nil {
		return err
	}
	for _, k := range keys {
		first, last, err := parseImportKey(k)
		if err != nil {
			return err
		}
		if first < from || last > to {
			continue
		}
		if err := db.update(func(txn *badger.Txn) error { return txn.Delete(k) }); err != nil {
			return err
		}
	}
	return nil
}
