package storage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestAnswersBesideEverything asks about some days while these are imported into and closed again, and others are counted and
// deleted, and all is purged: the answers never change.
func TestAnswersBesideEverything(t *testing.T) {
	busyFor := time.Second
	if os.Getenv("DACHS_SOAK") != "" {
		busyFor = time.Minute
	}
	var today atomic.Int64
	today.Store(20010)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	r := rand.New(rand.NewPCG(1, 2))
	for d := range Day(8) {
		for i := range 40 {
			if err := db.Append(pageView(site.ID, 20000+d, fmt.Sprintf("/%d", r.IntN(30)), fmt.Sprint(i%3))...); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), busyFor)
	defer cancel()
	var wg sync.WaitGroup
	qs := []Query{
		{Site: site.ID, From: 20000, To: 20003, Metrics: []Metric{Visitors, VisitsTotal, PageViews}, GroupBy: []Column{Path}},
		{Site: site.ID, From: 20000, To: 20003, Metrics: []Metric{Visitors, VisitsTotal, PageViews}, GroupBy: []Column{Path}, Filters: []Filter{is(Country, "1")}},
		{Site: site.ID, From: 20000, To: 20003, Metrics: []Metric{Visitors, VisitsTotal, PageViews}, Filters: []Filter{{Column: Path, Op: Contains, Values: []string{"1"}}}},
		{Site: site.ID, From: 20000, To: 20003, Metrics: []Metric{Visitors, PageViews, Events}, Interval: ByHour},
	}
	var want []string
	for _, q := range qs {
		want = append(want, table(mustQuery(t, db, q)))
	}
	var asked, cycles, purges atomic.Int64
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				as, err := db.QueryAll(context.Background(), qs)
				if err != nil {
					t.Error(err)
					return
				}
				asked.Add(1)
				for i := range as {
					if as[i].Err != nil {
						t.Error(as[i].Err)
						return
					}
					if got := table(as[i].Result); got != want[i] {
						t.Errorf("%s\nwant\n%s", got, want[i])
						return
					}
				}
			}
		})
	}
	wg.Go(func() { // imports rows that cancel out, so that days are merged again and again
		for ctx.Err() == nil {
			im, err := db.BeginImport(site.ID)
			if err != nil {
				t.Error(err)
				return
			}
			var rows []Row
			for d := range Day(4) {
				a, b := pageView(site.ID, 20000+d, "/zero", "1"), pageView(site.ID, 20000+d, "/zero", "1")
				for i := range b {
					for m := range b[i].Sums {
						b[i].Sums[m] = -b[i].Sums[m]
					}
				}
				rows = append(append(rows, a...), b...)
			}
			if err := im.Append(rows...); err != nil {
				t.Error(err)
				return
			}
			if err := im.Commit(Fingerprint{}, true); err != nil {
				t.Error(err)
				return
			}
			for i := range 3 {
				if err := db.Append(pageView(site.ID, 20005, fmt.Sprint(i), "1")...); err != nil {
					t.Error(err)
					return
				}
			}
			db.merges.again(partition{site.ID, Hits, 20000})
			if cycles.Add(1)%10 == 0 {
				if err := db.DeleteRange("example.com", 20005, 20006); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c, stop := context.WithTimeout(ctx, 3*time.Second)
				if err := db.Purge(c); err == nil {
					purges.Add(1)
				}
				stop()
			}
		})
	}
	wg.Wait()
	if asked.Load() == 0 || cycles.Load() == 0 {
		t.Errorf("asked %d times, imported %d times: nothing was proved", asked.Load(), cycles.Load())
	}
	t.Logf("asked %d, imports %d, purges %d", asked.Load(), cycles.Load(), purges.Load())
}
