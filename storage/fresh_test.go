package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFreshRowsAreWhatIsOnDisk compares answers from memory with those after a start that reads the small runs, and after
// they have become one run.
func TestFreshRowsAreWhatIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	now := Day(20000).Date().Add(12 * time.Hour)
	open := func() *DB {
		db, err := Open(dir, Options{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open()
	site := mustSite(t, db, "example.com")
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var rows []Row
		for range 1 + r.IntN(20) {
			rows = append(rows, pageView(site.ID, 20000, fmt.Sprintf("/%d", r.IntN(40)), fmt.Sprint(r.IntN(9)))...)
		}
		if err := db.Append(rows...); err != nil {
			t.Fatal(err)
		}
	}
	ask := func() (all string) {
		for _, groupBy := range [][]Column{nil, {Path}, {Country}, {Entry, Country}} {
			for _, filters := range [][]Filter{nil, {{Column: Path, Op: Contains, Values: []string{"1"}}}, {{Column: Country, Values: []string{"3"}}}} {
				for _, interval := range []Interval{Whole, ByHour} {
					all += table(mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{Visitors, PageViews}, GroupBy: groupBy, Filters: filters, Interval: interval}))
				}
			}
		}
		return all
	}
	want := ask()
	if small := len(mustRuns(t, db, partition{site.ID, Hits, 20000})); small != 200 {
		t.Fatalf("%d small runs, want one of each commit", small)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open()
	defer func() { db.Close() }()
	if got := ask(); got != want {
		t.Errorf("after a start:\n%swant:\n%s", got, want)
	}
	for _, table := range []Table{Hits, Visits} {
		if _, err := db.writeFresh(partition{site.ID, table, 20000}, true); err != nil {
			t.Fatal(err)
		}
	}
	if got := ask(); got != want {
		t.Errorf("as one run:\n%swant:\n%s", got, want)
	}
	if refs := mustRuns(t, db, partition{site.ID, Hits, 20000}); len(refs) != 1 || refs[0].level != 1 || db.fresh.rows.Load() != 0 {
		t.Errorf("runs %v, %d rows in memory", refs, db.fresh.rows.Load())
	}
}

func mustRuns(t *testing.T, db *DB, p partition) []runRef {
	t.Helper()
	refs, err := runsIn(db, p)
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

// TestFreshBesideQueries writes small runs as one again and again, while hits are counted and asked for: no answer may have
// one less than an earlier one, or more than there are.
func TestFreshBesideQueries(t *testing.T) {
	now := Day(20000).Date().Add(12 * time.Hour)
	db, err := Open(t.TempDir(), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	site := mustSite(t, db, "example.com")
	const hits = 300
	var stored atomic.Int64
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		defer close(done)
		for i := range hits {
			if err := db.Append(pageView(site.ID, 20000, fmt.Sprint("/", i%7), "DE")...); err != nil {
				t.Error(err)
				return
			}
			stored.Add(1)
		}
	})
	all.Go(func() {
		for more := true; more; {
			select {
			case <-done:
				more = false
			default:
			}
			// The goroutine that merges may have come first.
			if _, err := db.writeFresh(partition{site.ID, Hits, 20000}, true); err != nil && !errors.Is(err, errReplaced) {
				t.Error(err)
				return
			}
		}
	})
	last := 0.0
	for more := true; more; {
		select {
		case <-done:
			more = false
		default:
		}
		before := stored.Load()
		res := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}, GroupBy: []Column{Country}, Filters: []Filter{{Column: Country, Values: []string{"DE"}}}, Interval: ByHour})
		n := 0.0
		if len(res.Rows) > 0 {
			n = res.Rows[0].Values[0].Number
		}
		if n < float64(before) || n < last || n > hits {
			t.Fatalf("%v page views after %v, of which %d are stored", n, last, before)
		}
		last = n
	}
	all.Wait()
	if last != hits {
		t.Errorf("%v page views in the end, want %d", last, hits)
	}
}

// TestTooMuchInMemoryIsRefused fills the memory with rows that nobody writes.
func TestTooMuchInMemoryIsRefused(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	db.fresh.rows.Add(maxFreshRows)
	if err := db.Append(pageView(site.ID, 20000, "/", "DE")...); err != ErrOverloaded {
		t.Errorf("Append = %v, want ErrOverloaded", err)
	}
	db.fresh.rows.Add(-maxFreshRows)
	if err := db.Append(pageView(site.ID, 20000, "/", "DE")...); err != nil {
		t.Error(err)
	}
}

// TestSiteGoesWhileMemoryIsFull removes a site when no hit can be taken.
func TestSiteGoesWhileMemoryIsFull(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	if err := db.Append(pageView(site.ID, testToday, "/", "DE")...); err != nil {
		t.Fatal(err)
	}
	db.fresh.rows.Add(maxFreshRows)
	if err := db.RemoveSite("example.com"); err != nil {
		t.Error(err)
	}
	if n := db.fresh.rows.Add(-maxFreshRows); n != 0 {
		t.Errorf("%d rows of the site are left in memory", n)
	}
	if left := mustRuns(t, db, partition{site.ID, Hits, testToday}); len(left) > 0 {
		t.Errorf("runs %v are left", left)
	}
}

// TestManySitesAreWrittenBeforeMemoryIsFull counts at more sites than memory has room for, none of which has enough to be
// worth a run by itself: by rows, and by bytes where texts are long.
func TestManySitesAreWrittenBeforeMemoryIsFull(t *testing.T) {
	for name, most := range map[string]weight{"rows": {100, maxFreshBytes}, "bytes": {maxFreshRows, 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			db := mustOpen(t, t.TempDir())
			db.fresh.most = most
			long := strings.Repeat("x", 10_000)
			for i := range 30 {
				site := mustSite(t, db, fmt.Sprintf("s%d.example", i))
				var rows []Row
				for k := range 10 {
					rows = append(rows, pageView(site.ID, testToday, fmt.Sprintf("/%d/%s", k, long), "DE")...)
				}
				err := db.Append(rows...)
				if errors.Is(err, ErrOverloaded) { // what is due is not written yet
					settle(t, db)
					err = db.Append(rows...)
				}
				if err != nil {
					t.Fatalf("site %d: %v with %d rows of %d bytes in memory", i, err, db.fresh.rows.Load(), db.fresh.bytes.Load())
				}
				res := mustQuery(t, db, Query{Site: site.ID, From: testToday, To: testToday, Metrics: []Metric{PageViews}})
				if n := res.Rows[0].Values[0].Number; n != 10 {
					t.Fatalf("site %d: %v page views", i, n)
				}
				if i%3 == 0 {
					if err := db.RemoveSite(site.Domain); err != nil {
						t.Fatal(err)
					}
				}
			}
			db.fresh.mu.Lock()
			due := db.fresh.closeAll()
			db.fresh.mu.Unlock()
			db.merges.noteFresh(nil, due)
			settle(t, db)
			if f := &db.fresh; f.rows.Load() != 0 || f.bytes.Load() != 0 || f.open != (weight{}) {
				t.Errorf("nothing is in memory, and %d rows, %d bytes, %v are counted", f.rows.Load(), f.bytes.Load(), f.open)
			}
		})
	}
}
