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
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// mustOpen opens a store in a directory of the test's own.
func mustOpen(tb testing.TB, dir string) *DB {
	tb.Helper()
	db, err := Open(dir, Options{})
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
		{Metrics: testMetrics, GroupBy: []Column{Entry}, Interval: ByDay, Filters: []Filter{{Country, IsNot, []string{"C1", "C2"}}}},
		{Metrics: testMetrics, GroupBy: []Column{Country}, Filters: []Filter{{Path, Contains, []string{"1"}}}},
		{Metrics: testMetrics, GroupBy: []Column{Exit}, Filters: []Filter{{Exit, Is, []string{"/1", "/2"}}}},
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

// mergeAll merges every partition to a single run.
func mergeAll(tb testing.TB, db *DB) {
	tb.Helper()
	keys, err := db.keys([]byte{prefixHeader}, 0)
	if err != nil {
		tb.Fatal(err)
	}
	parts := make(map[partition]bool)
	for _, k := range keys {
		ref, err := parseHeaderKey(k)
		if err != nil {
			tb.Fatal(err)
		}
		parts[ref.partition()] = true
	}
	db.structure.Lock()
	defer db.structure.Unlock()
	for p := range parts {
		refs, err := db.partitionRuns(p)
		if err == nil {
			err = db.mergeRuns(p, refs)
		}
		if err != nil {
			tb.Fatal(err)
		}
		if refs, err = db.partitionRuns(p); err != nil || len(refs) != 1 {
			tb.Fatalf("%d runs after a merge, %v", len(refs), err)
		}
	}
}

// TestMergesKeepTheNumberOfRunsSmall commits a thousand times to a day that goes on, and to one that is over.
func TestMergesKeepTheNumberOfRunsSmall(t *testing.T) {
	tests := map[string]struct {
		now  time.Time
		most int // runs in the end
	}{
		"day goes on": {Day(20000).Date().Add(12 * time.Hour), 4 * mergeFanIn},
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
			for i := range 1000 {
				if err := db.Append(pageView(site.ID, 20000, fmt.Sprintf("/%d", i%300), "DE")...); err != nil {
					t.Fatal(err)
				}
			}
			waitForRuns(t, db, partition{site.ID, Hits, 20000}, tt.most)
			res := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{Visitors, PageViews}})
			if got := table(res); got != "2024-10-04/00 [] 1000 1000\n" {
				t.Error(got)
			}
		})
	}
}

// waitForRuns waits until a partition has at most so many runs.
func waitForRuns(t *testing.T, db *DB, p partition, most int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		refs, err := db.partitionRuns(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(refs) <= most {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d runs are left, want at most %d", len(refs), most)
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
	for i := range 20 {
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
	if refs, err := db.partitionRuns(open20001); err != nil || len(refs) < 2 {
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
	if got := table(res); got != "2024-10-04/00 [] 11\n" {
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
		refs, err := db.partitionRuns(p)
		if err == nil {
			db.structure.Lock()
			err = db.mergeRuns(p, refs)
			db.structure.Unlock()
		}
		if err != nil {
			t.Fatal(err)
		}
		if refs, err = db.partitionRuns(p); err != nil || len(refs) != 0 {
			t.Errorf("%d runs of nothing are left, %v", len(refs), err)
		}
	}
	if res := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: testMetrics, GroupBy: []Column{Path}}); len(res.Rows) != 0 {
		t.Errorf("rows of nothing: %v", table(res))
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

func TestSubmitRefusesWhenTheQueueIsFull(t *testing.T) {
	var q queue
	q.wake = make(chan struct{}, 1)
	full := &Batch{Rows: make([]Row, maxQueuedRows)}
	if err := q.push(full); err != nil {
		t.Fatal(err)
	}
	if err := q.push(&Batch{Rows: make([]Row, 1)}); !errors.Is(err, ErrOverloaded) {
		t.Errorf("push = %v", err)
	}
	q.pop()
	if err := q.push(&Batch{Rows: make([]Row, 1)}); err != nil {
		t.Errorf("push after pop = %v", err)
	}
}

// TestFailedCommitRevertsInReverseOrder closes Badger under the store, which makes every commit fail.
func TestFailedCommitRevertsInReverseOrder(t *testing.T) {
	db, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	site := mustSite(t, db, "example.com")
	if err := db.badger.Close(); err != nil {
		t.Fatal(err)
	}
	var reverted []int
	batches := make([]*Batch, 3)
	db.queue.mu.Lock() // let them gather to one commit
	for i := range batches {
		batches[i] = &Batch{Rows: pageView(site.ID, 20000, "/", "DE"), Revert: func() { reverted = append(reverted, i) }, done: make(chan error, 1)}
		db.queue.batches = append(db.queue.batches, batches[i])
	}
	db.queue.signal()
	db.queue.mu.Unlock()
	for _, b := range batches {
		if err := b.Wait(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Wait = %v", err)
		}
	}
	if !slices.Equal(reverted, []int{2, 1, 0}) {
		t.Errorf("reverted %v", reverted)
	}
	db.Close()
}

func TestImportCountsWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	site := mustSite(t, db, "example.com")
	views := func() string {
		return table(mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20002, Metrics: []Metric{Visitors, PageViews}}))
	}
	begin := func() *Import {
		im, err := db.BeginImport(site.ID)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			if err := im.Append(pageView(site.ID, Day(20000+i%3), fmt.Sprintf("/%d", i), "DE")...); err != nil {
				t.Fatal(err)
			}
		}
		if err := im.flush(); err != nil { // runs are on disk, invisible
			t.Fatal(err)
		}
		return im
	}
	const none, all, twice = "2024-10-04/00 [] 0 0\n", "2024-10-04/00 [] 1000 1000\n", "2024-10-04/00 [] 2000 2000\n"
	print := Fingerprint{Bytes: 1, Lines: 2, First: 20000, Last: 20002, Checksum: 3}

	im := begin()
	if got := views(); got != none {
		t.Errorf("before Commit: %s", got)
	}
	if err := im.Rollback(); err != nil {
		t.Fatal(err)
	}
	begin() // as if the process ended here
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, dir)
	for _, prefix := range []byte{prefixHeader, prefixChunk, prefixGarbage} {
		if keys, err := db.keys([]byte{prefix}, 0); err != nil || len(keys) != 0 {
			t.Errorf("%d keys %c are left of imports that never counted, %v", len(keys), prefix, err)
		}
	}
	if err := begin().Commit(print, false); err != nil {
		t.Fatal(err)
	}
	if got := views(); got != all {
		t.Errorf("after Commit: %s", got)
	}
	im = begin()
	if err := im.Commit(print, false); !errors.Is(err, ErrImported) {
		t.Errorf("second Commit = %v", err)
	}
	if err := im.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := views(); got != all {
		t.Errorf("after the refused Commit: %s", got)
	}
	if err := begin().Commit(print, true); err != nil {
		t.Fatal(err)
	}
	if got := views(); got != twice {
		t.Errorf("after Commit again: %s", got)
	}
}

func TestRemoveSiteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	gone, kept := mustSite(t, db, "gone.example"), mustSite(t, db, "kept.example")
	for i := range 50 {
		for _, s := range []Site{gone, kept} {
			if err := db.Append(pageView(s.ID, 20000, fmt.Sprintf("/%d", i), "DE")...); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, secret, err := db.CreateToken(gone.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.RemoveSite("gone.example"); err != nil {
		t.Fatal(err)
	}
	if err := db.Append(pageView(gone.ID, 20000, "/late", "DE")...); err != nil {
		t.Errorf("a hit that was on its way: %v", err)
	}
	for _, prefix := range []byte{prefixHeader, prefixChunk, prefixGarbage, prefixImport} {
		if keys, err := db.keys(siteKeys(prefix, gone.ID), 0); err != nil || len(keys) != 0 {
			t.Errorf("%d keys %c are left, %v", len(keys), prefix, err)
		}
	}
	if _, err := db.TokenOf(secret); !errors.Is(err, ErrNotFound) {
		t.Errorf("TokenOf = %v", err)
	}
	if err := db.RemoveSite("gone.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("RemoveSite twice = %v", err)
	}
	again := mustSite(t, db, "gone.example")
	if again.ID == gone.ID {
		t.Error("the number of a removed site is used again")
	}
	res := mustQuery(t, db, Query{Site: kept.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}})
	if got := table(res); got != "2024-10-04/00 [] 50\n" {
		t.Errorf("the other site has %s", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, dir string)
		want    error
		text    string
	}{
		"locked": {func(t *testing.T, dir string) { mustOpen(t, dir) }, ErrLocked, "stop it first"},
		"newer": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, formatFile), "dachs store, format 99\n")
		}, ErrVersion, "newer"},
		"foreign": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, formatFile), "something else")
		}, ErrVersion, "choose another directory"},
		"file missing": {func(t *testing.T, dir string) {
			mustOpen(t, dir).Close()
			if err := os.Remove(filepath.Join(dir, formatFile)); err != nil {
				t.Fatal(err)
			}
		}, ErrVersion, "restore it"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tt.prepare(t, dir)
			db, err := Open(dir, Options{})
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Open = %v", err)
			}
			if err == nil {
				db.Close()
			}
		})
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
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

func TestClosedStore(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Append(pageView(1, 20000, "/", "DE")...); !errors.Is(err, ErrClosed) {
		t.Errorf("Append = %v", err)
	}
	if err := db.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("Close = %v", err)
	}
}
