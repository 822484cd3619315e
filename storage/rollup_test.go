package storage

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

func mustSettle(t *testing.T, db *DB) {
	t.Helper()
	if err := db.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestMoreCombinationsThanAnArrayHolds groups two runs of one day, whose dictionaries are alike and whose
// combinations are not, by more combinations than maxDense.
func TestMoreCombinationsThanAnArrayHolds(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	const n = 300 // n*n > maxDense
	want := make(map[string]float64)
	for run := range 2 {
		var rows []Row
		for i := range n {
			c := i
			if run == 1 && i < n/2 {
				c = n/2 - 1 - i
			}
			path, country := fmt.Sprintf("/%03d", i), fmt.Sprintf("%03d", c)
			rows = append(rows, pageView(site.ID, 20000, path, country)...)
			want[path+country]++
		}
		for _, pair := range [][2]string{{"/000", "256"}, {"/001", "000"}} { // codes that need their 16 bits
			rows = append(rows, pageView(site.ID, 20000, pair[0], pair[1])...)
			want[pair[0]+pair[1]]++
		}
		if err := db.Append(rows...); err != nil {
			t.Fatal(err)
		}
	}
	res := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}, GroupBy: []Column{Path, Country}})
	if len(res.Rows) != len(want) {
		t.Errorf("%d rows, want %d", len(res.Rows), len(want))
	}
	for _, r := range res.Rows {
		if k := r.Keys[0] + r.Keys[1]; r.Values[0].Number != want[k] {
			t.Errorf("%s: %v, want %v", k, r.Values[0].Number, want[k])
		}
	}
}

// TestClosingAgainLeavesNoChunks opens a closed day by an import: the old run and its rollup vanish with their chunks.
func TestClosingAgainLeavesNoChunks(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	var rows []Row
	for i := range 3000 { // too much to be kept in headers
		rows = append(rows, pageView(site.ID, 20000, fmt.Sprintf("/%d/%x", i, i*7919), "DE")...)
	}
	if err := db.Append(rows...); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)
	im, err := db.BeginImport(site.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(im.Append(pageView(site.ID, 20000, "/late", "DE")...), im.Commit(Fingerprint{}, false)); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)
	headers := make(map[string]bool)
	keys, err := db.keys([]byte{prefixHeader}, 0)
	if err != nil || len(keys) != 4 {
		t.Fatalf("%d headers, %v; want a run and a rollup of each table", len(keys), err)
	}
	for _, k := range keys {
		ref, err := parseHeaderKey(k)
		if err != nil {
			t.Fatal(err)
		}
		headers[string(ref.runKey(prefixChunk))] = true
	}
	chunks, err := db.keys([]byte{prefixChunk}, 0)
	if err != nil || len(chunks) == 0 {
		t.Fatalf("%d chunks, %v", len(chunks), err)
	}
	for _, k := range chunks {
		if !headers[string(k[:garbageKeyLen])] {
			t.Fatalf("chunk %x of no run is left", k)
		}
	}
	if marks, err := db.keys([]byte{prefixGarbage}, 0); err != nil || len(marks) > 0 {
		t.Errorf("%d garbage marks are left, %v", len(marks), err)
	}
}

// TestDayOfOneCommitIsClosedAtMidnight lets a day end that has a single small run.
func TestDayOfOneCommitIsClosedAtMidnight(t *testing.T) {
	var over atomic.Bool
	db, err := Open(t.TempDir(), Options{Now: func() time.Time {
		if over.Load() {
			return Day(20001).Date()
		}
		return Day(20000).Date().Add(12 * time.Hour)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	site := mustSite(t, db, "example.com")
	if err := db.Append(pageView(site.ID, 20000, "/", "DE")...); err != nil {
		t.Fatal(err)
	}
	p := partition{site.ID, Hits, 20000}
	db.merges.again(p)
	mustSettle(t, db)
	if refs, err := runsIn(db, p); err != nil || len(refs) != 1 || refs[0].level != 0 {
		t.Fatalf("while the day goes on: %v, %v", refs, err)
	}
	over.Store(true)
	mustSettle(t, db)
	if refs, err := runsIn(db, p); err != nil || len(refs) != 1 || refs[0].level != closedLevel {
		t.Fatalf("when the day is over: %v, %v", refs, err)
	}
}

// TestDayWithoutRollup has sums that cancel out in every total and not in the cells: there is no rollup to write.
func TestDayWithoutRollup(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	cell := func(entry, country string, n int64) Row {
		r := Row{Site: site.ID, Table: Visits, Day: 20000}
		r.Dims[Entry], r.Dims[Country], r.Sums[VisitCount] = entry, country, n
		return r
	}
	if err := db.Append(cell("/x", "DE", 1), cell("/x", "FR", -1), cell("/y", "DE", -1), cell("/y", "FR", 1)); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)
	res := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{VisitsTotal}, GroupBy: []Column{Country}})
	if len(res.Rows) != 0 {
		t.Errorf("totals of nothing: %s", table(res))
	}
	res = mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{VisitsTotal}, GroupBy: []Column{Country}, Filters: []Filter{is(Entry, "/x")}})
	if got := table(res); got != "2024-10-04/00 [\"DE\"] 1\n2024-10-04/00 [\"FR\"] -1\n" {
		t.Errorf("cells: %s", got)
	}
}

// TestFiltersOfEqualTextAreEqual asks two questions at once whose values differ only in where one ends.
func TestFiltersOfEqualTextAreEqual(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	for _, path := range []string{"a", "b"} {
		if err := db.Append(pageView(site.ID, 20000, path, "DE")...); err != nil {
			t.Fatal(err)
		}
	}
	q := Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}, Filters: []Filter{is(Path, "a\x00b")}}
	both := q
	both.Filters = []Filter{is(Path, "a", "b")}
	answers, err := db.QueryAll(t.Context(), []Query{q, both})
	if err != nil {
		t.Fatal(err)
	}
	if n, m := answers[0].Result.Rows[0].Values[0].Number, answers[1].Result.Rows[0].Values[0].Number; n != 0 || m != 2 {
		t.Errorf("%v and %v page views, want 0 and 2", n, m)
	}
}

// TestRollupByNameAnswersAsItsRun asks by event name while a day is open, and when it is closed.
func TestRollupByNameAnswersAsItsRun(t *testing.T) {
	var today atomic.Int64
	today.Store(20000)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	for i := range 4 {
		prev := ""
		if i > 0 {
			prev = fmt.Sprintf("/%d", i-1)
		}
		rows := pageView(site.ID, 20000, fmt.Sprintf("/%d", i), "DE")
		rows[0].Dims[Previous] = prev
		rows[0].Dims[Entry] = "/0"
		if i > 0 {
			rows[0].Sums[HourVisitors] = 1
			rows = rows[:1]
		}
		rows[0].Sums[Engaged] = 10000
		rows[0].Sums[ScrollSum], rows[0].Sums[ScrollCount] = 50, 1
		if err := db.Append(rows...); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []Metric{TimeOnPage, ScrollDepth, PageViews, Visitors, VisitsTotal} {
		today.Store(20000)
		q := Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{m}, GroupBy: []Column{Name}}
		before := table(mustQuery(t, db, q))
		today.Store(20001)
		mustSettle(t, db)
		if after := table(mustQuery(t, db, q)); after != before {
			t.Errorf("%s: before closing %safter %s", m, before, after)
		}
	}
}

// TestRowsThatCancelOutAcrossHours has sums that come to nothing once the hour has left the tuples.
func TestRowsThatCancelOutAcrossHours(t *testing.T) {
	var today atomic.Int64
	today.Store(20000)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	a, b := at(pageView(site.ID, 20000, "/", "DE"), 3), at(pageView(site.ID, 20000, "/", "DE"), 4)
	for i := range b {
		for m := range b[i].Sums {
			b[i].Sums[m] = -b[i].Sums[m]
		}
	}
	if err := db.Append(append(a, b...)...); err != nil {
		t.Fatal(err)
	}
	today.Store(20010)
	mustSettle(t, db)
	q := Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{Visitors}, Filters: []Filter{is(Country, "DE")}}
	if _, err := db.Query(t.Context(), q); err != nil {
		t.Error(err)
	}
	mustImport(t, db, site.ID, pageView(site.ID, 20000, "/", "DE")...)
	mustSettle(t, db)
	if _, err := db.Query(t.Context(), q); err != nil {
		t.Error(err)
	}
}
