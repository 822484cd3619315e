package storage

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// mergeAll lets the store merge every partition, whose days are all over, to a single run.
func mergeAll(tb testing.TB, db *DB) {
	tb.Helper()
	keys, err := db.keys([]byte{prefixHeader}, 0)
	if err != nil {
		tb.Fatal(err)
	}
	for _, k := range keys {
		ref, err := parseHeaderKey(k)
		if err != nil {
			tb.Fatal(err)
		}
		db.merges.again(ref.partition())
		waitForRuns(tb, db, ref.partition(), 1)
	}
}

// TestMergesKeepTheNumberOfRunsSmall commits often to a day that goes on, and to one that is over.
func TestMergesKeepTheNumberOfRunsSmall(t *testing.T) {
	const commits = freshRuns + 500
	tests := map[string]struct {
		now  time.Time
		most int // runs in the end
	}{
		"day goes on": {Day(20000).Date().Add(12 * time.Hour), freshRuns + mergeFanIn},
		"day is over": {Day(20001).Date(), mergeFanIn},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			db, err := Open(dir, Options{Now: func() time.Time { return tt.now }})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			site := mustSite(t, db, "example.com")
			for i := range commits {
				if err := db.Append(pageView(site.ID, 20000, fmt.Sprintf("/%d", i%300), "DE")...); err != nil {
					t.Fatal(err)
				}
			}
			db.merges.ripen(db.ripe) // as happens every minute
			waitForRuns(t, db, partition{site.ID, Hits, 20000}, tt.most)
			res := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{Visitors, PageViews}})
			if got := table(res); got != "2024-10-04/00 [] 1500 1500\n" {
				t.Error(got)
			}
		})
	}
}

// runsIn lists all runs of a partition, small ones too.
func runsIn(db *DB, p partition) ([]runRef, error) { return db.runsOn(p.site, p.table, p.day, p.day) }

// waitForRuns waits until a partition has at most so many runs.
func waitForRuns(tb testing.TB, db *DB, p partition, most int) {
	tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		refs, err := runsIn(db, p)
		if err != nil {
			tb.Fatal(err)
		}
		if len(refs) <= most {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%d runs are left, want at most %d", len(refs), most)
		}
	}
}

// TestClosedDayIsOneRun opens a store whose days have ended since, and imports into one of them afterwards.
func TestClosedDayIsOneRun(t *testing.T) {
	dir := t.TempDir()
	now := Day(20000).Date()
	open := func() *DB {
		db, err := Open(dir, Options{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open()
	site := mustSite(t, db, "example.com")
	for i := range 6 { // too few for a merge while the days go on
		if err := db.Append(pageView(site.ID, Day(20000+i%2), "/", "DE")...); err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	now = Day(20001).Date()
	db = open()
	defer db.Close()
	closed, open20001 := partition{site.ID, Hits, 20000}, partition{site.ID, Hits, 20001}
	waitForRuns(t, db, closed, 1)
	if refs, err := runsIn(db, open20001); err != nil || len(refs) < 2 {
		t.Errorf("the day that goes on has %d runs, %v", len(refs), err)
	}
	im, err := db.BeginImport(site.ID)
	if err == nil {
		if err = im.Append(pageView(site.ID, 20000, "/late", "DE")...); err == nil {
			err = im.Commit(Fingerprint{}, false)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	waitForRuns(t, db, closed, 1)
	res := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}})
	if got := table(res); got != "2024-10-04/00 [] 4\n" {
		t.Error(got)
	}
}

func TestRowsThatCancelOutVanish(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	rows := pageView(site.ID, 20000, "/", "DE")
	minus := slices.Clone(rows)
	for i := range minus {
		for m := range minus[i].Sums {
			minus[i].Sums[m] = -minus[i].Sums[m]
		}
	}
	for _, r := range [][]Row{rows, minus} {
		if err := db.Append(r...); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []partition{{site.ID, Hits, 20000}, {site.ID, Visits, 20000}} {
		db.merges.again(p)
		waitForRuns(t, db, p, 0)
	}
	if res := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: testMetrics, GroupBy: []Column{Path}}); len(res.Rows) != 0 {
		t.Errorf("rows of nothing: %v", table(res))
	}
}

// TestMergesHoldABoundedNumberOfRows chooses among runs of ten rows each.
func TestMergesHoldABoundedNumberOfRows(t *testing.T) {
	now := Day(20000).Date() // the day goes on, and three runs are too few to merge
	db, err := Open(t.TempDir(), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	site := mustSite(t, db, "example.com")
	for run := range 3 {
		var rows []Row
		for i := range 10 {
			rows = append(rows, pageView(site.ID, 20000, fmt.Sprintf("/%d/%d", run, i), "DE")...)
		}
		if err := db.Append(rows...); err != nil {
			t.Fatal(err)
		}
	}
	refs, err := runsIn(db, partition{site.ID, Hits, 20000})
	if err != nil || len(refs) != 3 {
		t.Fatalf("%d runs, %v", len(refs), err)
	}
	for maxRows, want := range map[int]int{5: 2, 20: 2, 29: 2, 30: 3} {
		if got, err := db.fitting(refs, maxRows); err != nil || len(got) != want {
			t.Errorf("at most %d rows: %d runs, %v; want %d", maxRows, len(got), err, want)
		}
	}
}

// TestADayThatCannotBeMergedStopsNothingElse damages a day of one site, and looks at another site.
func TestADayThatCannotBeMergedStopsNothingElse(t *testing.T) {
	var today atomic.Int64
	today.Store(20000)
	db := clockStore(t, t.TempDir(), &today)
	bad, good := mustSite(t, db, "bad.example"), mustSite(t, db, "good.example")
	var rows []Row
	for i := range 2000 {
		rows = append(rows, pageView(bad.ID, 19990, fmt.Sprintf("/%d/%d", i, i*i), "DE")...)
	}
	if err := db.Append(rows...); err != nil {
		t.Fatal(err)
	}
	if err := db.Append(pageView(good.ID, 19900, "/", "DE")...); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)
	if err := db.Append(pageView(good.ID, 20000, "/", "DE")...); err != nil {
		t.Fatal(err)
	}
	keys, err := db.keys(appendPartition([]byte{prefixChunk}, bad.ID, Hits, 19990), 1)
	if err != nil || len(keys) != 1 {
		t.Fatal(err, keys)
	}
	if err := db.update(func(txn *badger.Txn) error { return txn.Delete(keys[0]) }); err != nil {
		t.Fatal(err)
	}
	mustImport(t, db, bad.ID, pageView(bad.ID, 19990, "/", "DE")...) // opens the day again: the merge fails from now on
	time.Sleep(300 * time.Millisecond)
	if err := db.SetRetention("good.example", Retention{Hours: 1, Detail: 5, Totals: 5}); err != nil {
		t.Fatal(err)
	}
	today.Store(20003)
	db.merges.ripen(db.ripe)
	deadline := time.Now().Add(8 * time.Second)
	for time.Now().Before(deadline) {
		res := mustQuery(t, db, Query{Site: good.ID, From: 19900, To: 19900, Metrics: []Metric{PageViews}})
		if res.Rows[0].Values[0].Number == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("8 s after SetRetention of a sound site its old days are still there")
}
