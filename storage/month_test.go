package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// TestMonthsAnswerAsTheirDaysDo compares answers before there are months and after, and after every way to change a day.
func TestMonthsAnswerAsTheirDaysDo(t *testing.T) {
	var today atomic.Int64
	first, last := DateDay(2026, 1, 20), DateDay(2026, 5, 10)
	today.Store(int64(first))
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	r := rand.New(rand.NewPCG(1, 2))
	var rows []Row
	for day := first; day <= last; day++ {
		for range 5 {
			rows = append(rows, at(pageView(site.ID, day, fmt.Sprintf("/%d", r.IntN(9)), []string{"DE", "FR", "US"}[r.IntN(3)]), r.IntN(24))...)
		}
	}
	if err := db.Append(rows...); err != nil {
		t.Fatal(err)
	}
	queries := func() (all []Query) {
		for _, from := range []Day{first, DateDay(2026, 2, 1), DateDay(2026, 2, 2)} {
			for _, to := range []Day{last, DateDay(2026, 4, 30), DateDay(2026, 4, 29)} {
				for _, i := range []Interval{Whole, ByMonth, ByWeek, ByDay, ByHour} {
					q := Query{Site: site.ID, From: from, To: to, Metrics: []Metric{Visitors, VisitsTotal, PageViews, Events}, Interval: i}
					all = append(all, q)
					if i == ByHour {
						continue
					}
					for _, c := range []Column{Path, Country, Entry, Exit, Name} {
						q.GroupBy = []Column{c}
						all = append(all, q)
					}
				}
			}
		}
		return all
	}
	ask := func() (answers []string) {
		t.Helper()
		all, err := db.QueryAll(context.Background(), queries())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			if a.Err != nil {
				t.Fatal(a.Err)
			}
			answers = append(answers, table(a.Result))
		}
		return answers
	}
	months := func(want int) {
		t.Helper()
		for _, table := range []Table{Hits, Visits} {
			if refs, err := db.runsOn(site.ID, table.months(), minDay, maxDay); err != nil || len(refs) != want {
				t.Errorf("%d months of table %d, %v; want %d", len(refs), table, err, want)
			}
		}
	}
	compare := func(when string, want []string) {
		t.Helper()
		for i, got := range ask() {
			if got != want[i] {
				t.Errorf("%s, %+v:\n%swant:\n%s", when, queries()[i], got, want[i])
			}
		}
	}
	want := ask()
	today.Store(int64(last + 1))
	mustSettle(t, db)
	months(4) // of January to April; the days of May are not coarse, nor is the month over
	compare("with months", want)

	// What months answer is not read from their days.
	refs, err := db.runsOn(site.ID, visitRollups, DateDay(2026, 3, 1), DateDay(2026, 3, 31))
	if err != nil || len(refs) != 31 {
		t.Fatal(len(refs), err)
	}
	spring := Query{Site: site.ID, From: DateDay(2026, 3, 1), To: DateDay(2026, 3, 31), Metrics: []Metric{Visitors}}
	move := func(from, to byte) {
		t.Helper()
		err := db.update(func(txn *badger.Txn) error {
			for _, ref := range refs {
				item, err := txn.Get(append([]byte{from}, ref.chunkKey(0, wholeColumn)[1:]...))
				if err != nil {
					return err
				}
				v, err := item.ValueCopy(nil)
				if err != nil {
					return err
				}
				if err := errors.Join(txn.Set(append([]byte{to}, ref.chunkKey(0, wholeColumn)[1:]...), v), txn.Delete(item.KeyCopy(nil))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	move(prefixChunk, 'x')
	if got := mustQuery(t, db, spring); got.Rows[0].Values[0].Number != 31*5 {
		t.Errorf("without the rollups of days: %s", table(got))
	}
	spring.Interval = ByDay
	if _, err := db.Query(t.Context(), spring); err == nil {
		t.Error("days were answered without their rollups")
	}
	move('x', prefixChunk)
	checkClean(t, db)

	// An import makes the month void at once, and it is made anew.
	day := DateDay(2026, 3, 15)
	late := pageView(site.ID, day, "/late", "DE")
	db.merges.mu.Lock() // keep the store from closing the day before it has been asked
	func() {
		defer db.merges.mu.Unlock()
		db.merges.watched = map[partition]bool{}
	}()
	mustImport(t, db, site.ID, late...)
	spring.Interval = Whole
	if got := mustQuery(t, db, spring); got.Rows[0].Values[0].Number != 31*5+1 {
		t.Errorf("after an import: %s", table(got))
	}
	mustSettle(t, db)
	months(4)
	if got := mustQuery(t, db, spring); got.Rows[0].Values[0].Number != 31*5+1 {
		t.Errorf("after closing the imported day: %s", table(got))
	}
	checkClean(t, db)

	// So does deleting days.
	if err := db.DeleteRange("example.com", day, day+1); err != nil {
		t.Fatal(err)
	}
	months(3)
	if got := mustQuery(t, db, spring); got.Rows[0].Values[0].Number != 29*5 {
		t.Errorf("after deleting two days: %s", table(got))
	}
	// Details go and months stay; totals go with their months.
	if err := db.SetRetention("example.com", Retention{Detail: 10}); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)
	if got := mustQuery(t, db, spring); got.Rows[0].Values[0].Number != 29*5 {
		t.Errorf("without details: %s", table(got))
	}
	if err := db.SetRetention("example.com", Retention{Detail: 10, Totals: int(last+1-day) - 5}); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)
	months(1)
	if got := mustQuery(t, db, spring); got.Rows[0].Values[0].Number != 12*5 {
		t.Errorf("without old totals: %s", table(got))
	}
	checkClean(t, db)
	if err := errors.Join(db.Purge(t.Context()), db.RemoveSite("example.com")); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []byte{prefixHeader, prefixChunk, prefixGarbage} {
		if keys, err := db.keys([]byte{prefix}, 0); err != nil || len(keys) > 0 {
			t.Errorf("%d keys %c are left, %v", len(keys), prefix, err)
		}
	}
}

func checkClean(t *testing.T, db *DB) {
	t.Helper()
	if report, err := db.Check(t.Context(), nil); err != nil || len(report.Findings) > 0 {
		t.Errorf("check: %+v, %v", report.Findings, err)
	}
}

// TestCheckOfMonths gives a month the sums of another one.
func TestCheckOfMonths(t *testing.T) {
	var today atomic.Int64
	first := DateDay(2026, 1, 1)
	today.Store(int64(first))
	dir := t.TempDir()
	db := clockStore(t, dir, &today)
	site := mustSite(t, db, "example.com")
	for day := range Day(59) { // two days more in January than in February
		if err := db.Append(pageView(site.ID, first+day, fmt.Sprintf("/%d", day%3), "DE")...); err != nil {
			t.Fatal(err)
		}
	}
	today.Store(int64(first) + 70)
	mustSettle(t, db)
	refs, err := db.runsOn(site.ID, Visits.months(), minDay, maxDay)
	if err != nil || len(refs) != 2 {
		t.Fatal(len(refs), err)
	}
	checkClean(t, db)
	err = db.update(func(txn *badger.Txn) error {
		for column := range 256 {
			item, err := txn.Get(refs[1].chunkKey(0, uint8(column)))
			if errors.Is(err, badger.ErrKeyNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			v, err := item.ValueCopy(nil)
			if err != nil {
				return err
			}
			if err := txn.Set(refs[0].chunkKey(0, uint8(column)), v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	q := Query{Site: site.ID, From: first, To: first + 30, Metrics: []Metric{Visitors}}
	if got := mustQuery(t, db, q); got.Rows[0].Values[0].Number != 28 {
		t.Fatalf("January has %s: the months are not in use", table(got))
	}
	report, err := db.Check(t.Context(), nil)
	if err != nil || len(report.Findings) != 1 {
		t.Fatalf("%+v, %v", report.Findings, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o := CheckOptions{Repair: true, Options: Options{Now: db.now}}
	if report, err := Check(t.Context(), dir, o); err != nil || len(report.Findings) != 1 {
		t.Fatalf("%+v, %v", report.Findings, err)
	}
	db = clockStore(t, dir, &today)
	mustSettle(t, db)
	if got := mustQuery(t, db, q); got.Rows[0].Values[0].Number != 31 {
		t.Errorf("after the repair January has %s", table(got))
	}
	checkClean(t, db)
}
