package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedStore); dir != "" { // this is the child of a test
		if err := workUntilKilled(dir, os.Stdout); err != nil {
			fmt.Println("error", err)
		}
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// testToday is a day on which the days that the tests count on, from 20000 on, are over and coarse, and not too old.
const testToday = Day(20100)

// mustOpen opens a store in a directory of the test's own.
func mustOpen(tb testing.TB, dir string) *DB {
	tb.Helper()
	db, err := Open(dir, Options{Now: func() time.Time { return testToday.Date().Add(12 * time.Hour) }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, ErrClosed) {
			tb.Error(err)
		}
	})
	return db
}

func mustSite(tb testing.TB, db *DB, domain string) Site {
	tb.Helper()
	s, err := db.AddSite(domain, "")
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func mustQuery(tb testing.TB, db *DB, q Query) Result {
	tb.Helper()
	res, err := db.Query(context.Background(), q)
	if err != nil {
		tb.Fatal(err)
	}
	return res
}

// pageView is a hit of a visitor who saw one page.
func pageView(site uint32, day Day, path, country string) []Row {
	hit := Row{Site: site, Table: Hits, Day: day}
	hit.Dims[Hour], hit.Dims[Kind], hit.Dims[Name], hit.Dims[Path] = "09", KindPageView, PageViewName, path
	hit.Dims[Entry], hit.Dims[Country] = path, country
	hit.Sums[Count], hit.Sums[HitVisits], hit.Sums[HitVisitors], hit.Sums[HourVisitors] = 1, 1, 1, 1
	visit := Row{Site: site, Table: Visits, Day: day}
	visit.Dims[Hour], visit.Dims[Entry], visit.Dims[Exit], visit.Dims[Country] = "09", path, path, country
	visit.Sums[VisitCount], visit.Sums[VisitVisitors], visit.Sums[VisitHourVisitors] = 1, 1, 1
	visit.Sums[Bounces], visit.Sums[VisitPageViews] = 1, 1
	return []Row{hit, visit}
}

// table writes a result as text, a line a row.
func table(res Result) string {
	var b strings.Builder
	for _, r := range res.Rows {
		fmt.Fprintf(&b, "%s/%02d %q", r.Day, r.Hour, r.Keys)
		for _, v := range r.Values {
			switch {
			case v.Null:
				b.WriteString(" null")
			case v.AtMost:
				fmt.Fprintf(&b, " %g..%g", v.Low, v.Number)
			default:
				fmt.Fprintf(&b, " %g", v.Number)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

var testMetrics = []Metric{Visitors, VisitsTotal, PageViews, ViewsPerVisit, BounceRate, VisitDuration, Events}

func TestAppendedRowsAreAnsweredAndSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	site := mustSite(t, db, "example.com")
	for i := range 100 {
		if err := db.Append(pageView(site.ID, Day(20000+i%3), fmt.Sprintf("/%d", i%7), []string{"DE", "FR"}[i%2])...); err != nil {
			t.Fatal(err)
		}
	}
	q := Query{Site: site.ID, From: 20000, To: 20002, Metrics: testMetrics, GroupBy: []Column{Country}, Interval: ByDay}
	want := table(mustQuery(t, db, q))
	if !strings.Contains(want, `2024-10-04/00 ["DE"] 17 17 17 1 100 0 17`) {
		t.Fatalf("unexpected answer:\n%s", want)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, dir)
	if got := table(mustQuery(t, db, q)); got != want {
		t.Errorf("after reopening:\n%swant:\n%s", got, want)
	}
	if first, last, ok, err := db.Days(site.ID); first != 20000 || last != 20002 || !ok || err != nil {
		t.Errorf("Days = %v, %v, %v, %v", first, last, ok, err)
	}
}

// TestSameAnswersHoweverStored checks that batch sizes, merges and reopening do not change an answer.
func TestSameAnswersHoweverStored(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var rows []Row
	for range 3000 {
		rows = append(rows, pageView(1, Day(20000+r.IntN(4)), fmt.Sprintf("/%d", r.IntN(50)), fmt.Sprintf("C%d", r.IntN(9)))...)
	}
	queries := []Query{
		{Metrics: testMetrics},
		{Metrics: testMetrics, Interval: ByHour},
		{Metrics: testMetrics, GroupBy: []Column{Path, Country}},
		{Metrics: testMetrics, GroupBy: []Column{Entry}, Interval: ByDay, Filters: []Filter{{Column: Country, Op: IsNot, Values: []string{"C1", "C2"}}}},
		{Metrics: testMetrics, GroupBy: []Column{Country}, Filters: []Filter{{Column: Path, Op: Contains, Values: []string{"1"}}}},
		{Metrics: testMetrics, GroupBy: []Column{Exit}, Filters: []Filter{{Column: Exit, Values: []string{"/1", "/2"}}}},
	}
	answers := func(db *DB) (all []string) {
		for _, q := range queries {
			q.Site, q.From, q.To = 1, 20000, 20003
			all = append(all, table(mustQuery(t, db, q)))
		}
		return all
	}
	var want []string
	for _, batch := range []int{len(rows), 1, 7, 500} {
		t.Run(fmt.Sprintf("batch=%d", batch), func(t *testing.T) {
			dir := t.TempDir()
			db := mustOpen(t, dir)
			mustSite(t, db, "example.com")
			for part := range slices.Chunk(rows, batch) {
				if err := db.Append(part...); err != nil {
					t.Fatal(err)
				}
			}
			if want == nil {
				want = answers(db)
			}
			for name, prepare := range map[string]func(){
				"as is":      func() {},
				"merged":     func() { mergeAll(t, db) },
				"reopened":   func() { db.Close(); db = mustOpen(t, dir) },
				"merged two": func() { mergeAll(t, db) },
			} {
				prepare()
				if diff := cmp.Diff(want, answers(db)); diff != "" {
					t.Errorf("%s:\n%s", name, diff)
				}
			}
		})
	}
}

// TestConcurrentAppends checks that nothing is lost or doubled under many writers while merges run.
func TestConcurrentAppends(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 200 {
				if err := db.Append(pageView(site.ID, Day(20000+i%2), fmt.Sprintf("/%d", w), "DE")...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	res := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20001, Metrics: []Metric{PageViews, VisitsTotal}})
	if got := table(res); got != "2024-10-04/00 [] 3200 3200\n" {
		t.Error(got)
	}
}

func TestNewDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	mustOpen(t, dir)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
