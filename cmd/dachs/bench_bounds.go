package main

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dachs/storage"
	"dachs/tracker"
)

// benchSets are sets of pages, for which visitors are known within bounds only.
var benchSets = []struct {
	what   string
	filter storage.Filter
}{
	{"a folder", storage.Filter{Column: storage.Path, Op: storage.Contains, Values: []string{"/docs/"}}},
	{"a word", storage.Filter{Column: storage.Path, Op: storage.Contains, Values: []string{"9-some"}}},
	{"three pages", storage.Filter{Column: storage.Path, Op: storage.Is, Values: []string{"/docs/1-some-title-of-a-page", "/shop/2-some-title-of-a-page", "/blog/40-some-title-of-a-page"}}},
	{"all but one page", storage.Filter{Column: storage.Path, Op: storage.IsNot, Values: []string{"/"}}},
}

// bounds prints, for sets of pages on the last day, how far the bounds of visitors are from the truth, which it finds by
// making up that day again. Pages of a visit are drawn here without regard to one another, so that visitors leave a set
// and come back to it more often than people do: bounds are closer on a real site.
func (b *bench) bounds(ctx context.Context, db *storage.DB) error {
	site, ok := db.Site(benchDomain)
	if !ok {
		return storage.ErrNotFound
	}
	truth := make([]map[netip.Addr]bool, len(benchSets))
	for i := range truth {
		truth[i] = make(map[netip.Addr]bool)
	}
	views := 0
	err := newBenchTraffic(uint64(b.Days-1)).day(b.last, b.Views/b.Days, func(v *benchVisitor, h *tracker.Hit, _ time.Time) error {
		views++
		for i, s := range benchSets {
			if pagePasses(&s.filter, h.Path) {
				truth[i][v.addr] = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	day := storage.DayOf(b.last)
	q := storage.Query{Site: site.ID, From: day, To: day, Metrics: []storage.Metric{storage.Visitors, storage.PageViews}}
	res, err := db.Query(ctx, q)
	if err != nil {
		return err
	}
	if got := res.Rows[0].Values[1].Number; got != float64(views) {
		b.line("bounds\tnot measured: the store was filled another day, or with other options")
		return nil
	}
	for i, s := range benchSets {
		q.Filters = []storage.Filter{s.filter}
		if res, err = db.Query(ctx, q); err != nil {
			return err
		}
		v, n := res.Rows[0].Values[0], float64(max(len(truth[i]), 1))
		b.line("visitors of %s\tfrom %.1f %% below to %.1f %% above the truth, %.0f", s.what, 100*(n-v.Low)/n, 100*(v.Number-n)/n, n)
	}
	return nil
}

// pagePasses applies a filter of pages as the store does.
func pagePasses(f *storage.Filter, path string) bool {
	if f.Op == storage.Contains {
		return slices.ContainsFunc(f.Values, func(v string) bool { return strings.Contains(path, v) })
	}
	return slices.Contains(f.Values, path) == (f.Op == storage.Is)
}
