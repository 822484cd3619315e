package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// clockStore opens a store in a directory whose day a test moves.
func clockStore(t *testing.T, dir string, today *atomic.Int64) *DB {
	t.Helper()
	db, err := Open(dir, Options{Now: func() time.Time { return Day(today.Load()).Date().Add(12 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return db
}

// everySite asks for the old days of all sites to be let go.
func everySite(db *DB) map[uint32]bool {
	all := make(map[uint32]bool)
	for _, s := range db.Sites() {
		all[s.ID] = true
	}
	return all
}

// at moves a row to an hour.
func at(rows []Row, hour int) []Row {
	for i := range rows {
		rows[i].Dims[Hour] = HourName(hour)
	}
	return rows
}

func mustImport(t *testing.T, db *DB, site uint32, rows ...Row) *Import {
	t.Helper()
	im, err := db.BeginImport(site)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(im.Append(rows...), im.Commit(Fingerprint{}, true)); err != nil {
		t.Fatal(err)
	}
	return im
}

// levels are the levels of a day's runs.
func levels(t *testing.T, db *DB, p partition) []uint8 {
	t.Helper()
	refs, err := runsIn(db, p)
	if err != nil {
		t.Fatal(err)
	}
	var all []uint8
	for _, ref := range refs {
		all = append(all, ref.level)
	}
	return all
}

// TestHoursLeaveTuples follows a day from when it is counted until long after, with imports in between.
func TestHoursLeaveTuples(t *testing.T) {
	var today atomic.Int64
	today.Store(20000)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	byHour := Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{Visitors, VisitsTotal, PageViews, Events}, Interval: ByHour}
	filtered := byHour
	filtered.Filters = []Filter{is(Country, "DE")}
	grouped := byHour
	grouped.GroupBy = []Column{Path}
	daily := filtered
	daily.Interval, daily.GroupBy = Whole, []Column{Path}

	for i := range 30 {
		if err := db.Append(at(pageView(site.ID, 20000, fmt.Sprintf("/%d", i%3), "DE"), i%4)...); err != nil {
			t.Fatal(err)
		}
	}
	want, wantDaily := table(mustQuery(t, db, byHour)), table(mustQuery(t, db, daily))
	if !strings.HasPrefix(want, "2024-10-04/00 [] 8 8 8 8\n") || !strings.HasPrefix(wantDaily, "2024-10-04/00 [\"/0\"] 10 10 10 10\n") {
		t.Fatalf("counted\n%s%s", want, wantDaily)
	}
	check := func(when string, level uint8) {
		t.Helper()
		mustSettle(t, db)
		if got := levels(t, db, partition{site.ID, Hits, 20000}); len(got) != 1 || got[0] != level {
			t.Errorf("%s: runs of levels %d, want one of %d", when, got, level)
		}
		if got := table(mustQuery(t, db, byHour)); got != want {
			t.Errorf("%s, by hour:\n%swant:\n%s", when, got, want)
		}
		if got := table(mustQuery(t, db, daily)); got != wantDaily {
			t.Errorf("%s, by path:\n%swant:\n%s", when, got, wantDaily)
		}
		for _, q := range []Query{filtered, grouped} {
			_, err := db.Query(t.Context(), q)
			if kept := level != coarseLevel; kept != (err == nil) || !kept && !errors.Is(err, ErrNotKept) {
				t.Errorf("%s, %v by hour: %v", when, q, err)
			}
		}
	}
	today.Store(20002)
	check("two days later", closedLevel)
	today.Store(20003)
	check("three days later", coarseLevel)
	rows := countRows(t, db, partition{site.ID, Hits, 20000})
	if rows != 3 {
		t.Errorf("%d tuples are left, want one for each path", rows)
	}

	late := at(pageView(site.ID, 20000, "/0", "DE"), 3)
	mustImport(t, db, site.ID, late...)
	want = strings.Replace(want, "/03 [] 7 7 7 7", "/03 [] 8 8 8 8", 1)
	wantDaily = strings.Replace(wantDaily, `["/0"] 10 10 10 10`, `["/0"] 11 11 11 11`, 1)
	check("after an import", coarseLevel)

	today.Store(20000) // the clock is turned back, and hits come to a day that was coarse
	if err := db.Append(at(pageView(site.ID, 20000, "/1", "DE"), 2)...); err != nil {
		t.Fatal(err)
	}
	want = strings.Replace(want, "/02 [] 7 7 7 7", "/02 [] 8 8 8 8", 1)
	wantDaily = strings.Replace(wantDaily, `["/1"] 10 10 10 10`, `["/1"] 11 11 11 11`, 1)
	mustSettle(t, db)
	if got := table(mustQuery(t, db, byHour)); got != want {
		t.Errorf("with the clock turned back:\n%swant:\n%s", got, want)
	}
	today.Store(20001)
	check("with the clock a day further", coarseLevel)
}

func countRows(t *testing.T, db *DB, p partition) (rows int) {
	t.Helper()
	refs, err := runsIn(db, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range refs {
		h := mustHeader(t, db, ref)
		for _, n := range h.blockRows {
			rows += n
		}
	}
	return rows
}

// TestRetention lets details go, then totals, beside ingestion.
func TestRetention(t *testing.T) {
	var today atomic.Int64
	today.Store(20000)
	dir := t.TempDir()
	db := clockStore(t, dir, &today)
	site, other := mustSite(t, db, "example.com"), mustSite(t, db, "example.org")
	var rows []Row
	for day := Day(19990); day < 20000; day++ {
		for i := range 20 {
			rows = append(rows, at(pageView(site.ID, day, fmt.Sprintf("/page-%d", i), "DE"), i)...)
			rows = append(rows, pageView(other.ID, day, "/", "DE")...)
		}
	}
	if err := db.Append(rows...); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)
	total := Query{Site: site.ID, From: 19990, To: 20000, Metrics: []Metric{Visitors, PageViews}, Interval: ByDay}
	pages, hours, filtered := total, total, total
	pages.Interval, pages.GroupBy, pages.Limit = Whole, []Column{Path}, 1
	hours.Interval, hours.From, hours.To = ByHour, 19992, 19992
	filtered.Filters = []Filter{is(Country, "DE"), is(Path, "/page-1")}
	wantTotal, wantHours := table(mustQuery(t, db, total)), table(mustQuery(t, db, hours))
	if strings.Count(wantTotal, " [] 20 20\n") != 10 || strings.Count(wantHours, "\n") != 20 {
		t.Fatal(wantTotal, wantHours)
	}

	if err := db.SetRetention("example.com", Retention{Detail: 5, Totals: 8}); err != nil {
		t.Fatal(err)
	}
	if err := db.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantTotal = wantTotal[strings.Index(wantTotal, Day(19992).String()):]
	if got := table(mustQuery(t, db, total)); got != wantTotal {
		t.Errorf("totals:\n%swant:\n%s", got, wantTotal)
	}
	if got := table(mustQuery(t, db, hours)); got != wantHours {
		t.Errorf("hours of a day without details:\n%swant:\n%s", got, wantHours)
	}
	if got := table(mustQuery(t, db, pages)); got != Day(19990).String()+"/00 [\"/page-0\"] 8 8\n" {
		t.Errorf("pages: %s", got)
	}
	if _, err := db.Query(t.Context(), filtered); !errors.Is(err, ErrNotKept) || !strings.Contains(err.Error(), Day(19994).String()) {
		t.Errorf("filters over days without details: %v", err)
	}
	filtered.From = 19995
	if got := mustQuery(t, db, filtered); len(got.Rows) != 5 {
		t.Errorf("filters over days with details:\n%s", table(got))
	}
	onlyLive(t, db)

	today.Store(20003)
	newExpirer(db).run(everySite(db))
	if got := mustQuery(t, db, total); len(got.Rows) != 5 {
		t.Errorf("totals three days later:\n%s", table(got))
	}
	if first, _, _, err := db.Days(site.ID); first != 19995 || err != nil {
		t.Errorf("first day %s, %v", first, err)
	}
	total.Site = other.ID
	if got := mustQuery(t, db, total); len(got.Rows) != 10 {
		t.Errorf("totals of the other site:\n%s", table(got))
	}
	db.Close()
	db = clockStore(t, dir, &today)
	if s, _ := db.Site("example.com"); s.Keep != (Retention{Detail: 5, Totals: 8}) {
		t.Errorf("after a restart it keeps %+v", s.Keep)
	}
}

// TestWrongClockLosesNothing starts a store far in the future, as a machine without a clock battery does.
func TestWrongClockLosesNothing(t *testing.T) {
	var today atomic.Int64
	today.Store(20001)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	if err := db.Append(pageView(site.ID, 20000, "/", "DE")...); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)
	other := mustSite(t, db, "example.org")
	today.Store(60000)
	old := newExpirer(db)
	old.run(nil)
	old.run(map[uint32]bool{other.ID: true}) // somebody chooses what that one keeps
	today.Store(20001)
	old.run(nil)
	if got := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}}); got.Rows[0].Values[0].Number != 1 {
		t.Error("a clock that was wrong for a moment has deleted the past")
	}
}

func TestImportOfOldDaysIsKept(t *testing.T) {
	var today atomic.Int64
	today.Store(20000)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	im := mustImport(t, db, site.ID, pageView(site.ID, 16000, "/old", "DE")...)
	keep, ok := im.Extended()
	if want := 4000 + defaultDays; !ok || keep.Detail != want || keep.Totals != want {
		t.Errorf("keeps %+v, %v", keep, ok)
	}
	newExpirer(db).run(everySite(db))
	today.Store(20000 + defaultDays)
	newExpirer(db).run(everySite(db))
	q := Query{Site: site.ID, From: 16000, To: 16000, Metrics: []Metric{PageViews}}
	if got := mustQuery(t, db, q); got.Rows[0].Values[0].Number != 1 {
		t.Error("what was imported is gone")
	}
	if _, ok := mustImport(t, db, site.ID, pageView(site.ID, 16500, "/old", "DE")...).Extended(); ok {
		t.Error("extended although it is kept long enough")
	}
	mustSettle(t, db)
	today.Store(20001 + defaultDays)
	newExpirer(db).run(everySite(db))
	if got := mustQuery(t, db, q); got.Rows[0].Values[0].Number != 0 {
		t.Error("what was imported is never let go")
	}
}

func TestDeleteRange(t *testing.T) {
	var today atomic.Int64
	today.Store(20010)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	for day := Day(20000); day <= 20010; day++ {
		if err := db.Append(pageView(site.ID, day, "/", "DE")...); err != nil {
			t.Fatal(err)
		}
	}
	f := Fingerprint{First: 20003, Last: 20004}
	importOnce := func() error {
		im, err := db.BeginImport(site.ID)
		if err != nil {
			return err
		}
		defer im.Rollback()
		return errors.Join(im.Append(pageView(site.ID, 20003, "/", "DE")...), im.Commit(f, false))
	}
	if err := importOnce(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		domain   string
		from, to Day
		want     error
	}{
		"today":        {"example.com", 20000, 20010, ErrNotOver},
		"unknown site": {"example.net", 20000, 20001, ErrNotFound},
	} {
		if err := db.DeleteRange(tt.domain, tt.from, tt.to); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := db.DeleteRange("example.com", 20002, 20005); err != nil {
		t.Fatal(err)
	}
	q := Query{Site: site.ID, From: 20000, To: 20010, Metrics: []Metric{PageViews, Visitors}, Interval: ByDay}
	if got := mustQuery(t, db, q); len(got.Rows) != 7 {
		t.Errorf("left:\n%s", table(got))
	}
	if err := importOnce(); err != nil {
		t.Errorf("what was deleted cannot be imported again: %v", err)
	}
	if first, last, ok, err := db.Days(site.ID); first != 20000 || last != 20010 || !ok || err != nil {
		t.Errorf("Days = %v, %v, %v, %v", first, last, ok, err)
	}
}

// TestRangeDeletedUnderAMerge takes the runs of a day away between reading and replacing them, merged ones and small ones.
func TestRangeDeletedUnderAMerge(t *testing.T) {
	t.Run("merged", func(t *testing.T) {
		deleteUnder(t, func(db *DB, p partition) (replace, abort func() error) {
			for range 2 {
				mustImport(t, db, p.site, pageView(p.site, p.day, "/", "DE")...)
			}
			refs, err := db.partitionRuns(p)
			if err != nil || len(refs) < 2 {
				t.Fatalf("%d runs, %v", len(refs), err)
			}
			m := &merging{db: db, refs: refs}
			if err := m.write(runRef{p.site, p.table, p.day, 1, 7}); err != nil {
				t.Fatal(err)
			}
			return m.replace, m.abort
		})
	})
	t.Run("small", func(t *testing.T) {
		deleteUnder(t, func(db *DB, p partition) (replace, abort func() error) {
			for range 3 {
				mustAppend(t, db, pageView(p.site, p.day, "/", "DE"), 2)
			}
			seg := db.fresh.seal(p, true)
			w, err := db.newRunWriter(runRef{p.site, p.table, p.day, 1, 7})
			if err != nil {
				t.Fatal(err)
			}
			if err := seg.sums.blocks(w.put); err != nil {
				t.Fatal(err)
			}
			head, err := w.finish()
			if err != nil {
				t.Fatal(err)
			}
			return func() error { return db.replaceFresh(p, seg, w.ref, &head) }, w.abort
		})
	})
}

// deleteUnder deletes a day between what begin does and what it returns.
func deleteUnder(t *testing.T, begin func(db *DB, p partition) (replace, abort func() error)) {
	t.Helper()
	var today atomic.Int64
	today.Store(20000)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	replace, abort := begin(db, partition{site.ID, Hits, 20000})
	today.Store(20001)
	if err := db.DeleteRange("example.com", 20000, 20000); err != nil {
		t.Fatal(err)
	}
	if err := replace(); !errors.Is(err, errReplaced) {
		t.Errorf("replace = %v", err)
	}
	if err := abort(); err != nil {
		t.Error(err)
	}
	if got := table(mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}})); got != "2024-10-04/00 [] 0\n" {
		t.Errorf("deleted, and yet there are\n%s", got)
	}
	for _, prefix := range []byte{prefixHeader, prefixChunk, prefixGarbage} {
		if keys, err := db.keys([]byte{prefix}, 0); err != nil || len(keys) > 0 {
			t.Errorf("%d keys %c are left, %v", len(keys), prefix, err)
		}
	}
}

func TestRetentionThatMakesNoSense(t *testing.T) {
	for name, keep := range map[string]Retention{
		"negative":              {Hours: -1},
		"far too long":          {Totals: maxDays + 1},
		"totals before details": {Detail: 100, Totals: 50},
	} {
		if err := keep.Check(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, keep := range []Retention{{}, {Detail: 2000}, {Totals: 30}, {Totals: 2000}} {
		if err := keep.Check(); err != nil {
			t.Errorf("%+v: %v", keep, err)
		}
	}
}

func mustHeader(t *testing.T, db *DB, ref runRef) (h header) {
	t.Helper()
	err := db.view(func(txn *badger.Txn) error {
		item, err := txn.Get(ref.headerKey())
		if err != nil {
			return err
		}
		r, err := openRun(db.codec, txn, item)
		if err == nil {
			h = r.head
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestImportIsKnownWhileADayOfItIsLeft lets the first day of an import go: imported again, the other nine would count twice.
func TestImportIsKnownWhileADayOfItIsLeft(t *testing.T) {
	var today atomic.Int64
	today.Store(20010)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	if err := db.SetRetention("example.com", Retention{Hours: 1, Detail: 10, Totals: 10}); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)
	imp := func() error {
		im, err := db.BeginImport(site.ID)
		if err != nil {
			t.Fatal(err)
		}
		for d := range Day(10) {
			if err := im.Append(pageView(site.ID, 20000+d, "/", "DE")...); err != nil {
				t.Fatal(err)
			}
		}
		err = im.Commit(Fingerprint{Bytes: 1, Lines: 10, First: 20000, Last: 20009}, false)
		if err != nil {
			im.Rollback()
		}
		return err
	}
	if err := imp(); err != nil {
		t.Fatal(err)
	}
	if err := imp(); !errors.Is(err, ErrImported) {
		t.Fatal(err)
	}
	today.Store(20011)
	newExpirer(db).run(everySite(db))
	err := imp()
	res := mustQuery(t, db, Query{Site: site.ID, From: 20001, To: 20009, Metrics: []Metric{PageViews}})
	if !errors.Is(err, ErrImported) {
		t.Errorf("import again after one day left by age: %v; page views of the other nine days: %v", err, res.Rows[0].Values[0].Number)
	}
}

// TestImportWhileOldDaysAreLetGo makes a site keep more after it was decided to let its days go.
func TestImportWhileOldDaysAreLetGo(t *testing.T) {
	var today atomic.Int64
	today.Store(20100)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	if err := db.SetRetention("example.com", Retention{Hours: 1, Detail: 10, Totals: 10}); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)

	im := mustImport(t, db, site.ID, pageView(site.ID, 20000, "/", "DE")...)
	if _, ok := im.Extended(); !ok {
		t.Fatal("not extended")
	}
	s, _ := db.Site("example.com")
	if err := func() error { _, err := db.expireSite(s); return err }(); err != nil {
		t.Fatal(err)
	}
	res := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}})
	if res.Rows[0].Values[0].Number != 1 {
		t.Errorf("imported rows that were committed, and for which retention was extended, are gone")
	}
}

// TestDetailsOfADayThatIsClosedLate lets details go of a day that was not closed when its time came.
func TestDetailsOfADayThatIsClosedLate(t *testing.T) {
	var today atomic.Int64
	today.Store(20000)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	if err := db.Append(pageView(site.ID, 19990, "/", "DE")...); err != nil {
		t.Fatal(err)
	}
	x := newExpirer(db)
	if err := db.SetRetention("example.com", Retention{Hours: 1, Detail: 5, Totals: 50}); err != nil {
		t.Fatal(err)
	}
	x.run(everySite(db)) // before the day is closed
	mustSettle(t, db)
	x.run(everySite(db)) // a minute later, and so on all day
	mustSettle(t, db)
	_, err := db.Query(t.Context(), Query{Site: site.ID, From: 19990, To: 19990, Metrics: []Metric{PageViews}, Filters: []Filter{is(Country, "DE")}})
	if !errors.Is(err, ErrNotKept) {
		t.Errorf("details of a day ten days ago, of which five are kept: %v", err)
	}
}

// TestDaysAreDeletedAsAWhole asks while days are deleted: never for a day that has lost a part.
func TestDaysAreDeletedAsAWhole(t *testing.T) {
	var today atomic.Int64
	today.Store(20200)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	var rows []Row
	for d := range Day(60) {
		rows = append(rows, pageView(site.ID, 20100+d, "/", "DE")...)
	}
	if err := db.Append(rows...); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)
	var stop atomic.Bool
	var wg sync.WaitGroup
	errs := make(map[string]int)
	wg.Go(func() {
		for !stop.Load() {
			_, err := db.Query(context.Background(), Query{Site: site.ID, From: 20100, To: 20160, Metrics: []Metric{Visitors}, Filters: []Filter{is(Country, "DE")}})
			if err != nil {
				errs[err.Error()]++
			}
		}
	})
	if err := db.DeleteRange("example.com", 20100, 20159); err != nil {
		t.Fatal(err)
	}
	stop.Store(true)
	wg.Wait()
	if len(errs) > 0 {
		t.Error(errs)
	}
}
