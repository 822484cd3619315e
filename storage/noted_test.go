package storage

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

// noted is what Refusals should answer.
type noted map[Day]map[string]int64

func (n noted) add(day Day, name string, by int64) {
	if n[day] == nil {
		n[day] = make(map[string]int64)
	}
	n[day][name] += by
}

func (n noted) compare(t *testing.T, db *DB, site uint32, from, to Day, when string) {
	t.Helper()
	got, err := db.Refusals(t.Context(), site, from, to)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	want := maps.Clone(n)
	maps.DeleteFunc(want, func(day Day, _ map[string]int64) bool { return day < from || day > to })
	if !maps.EqualFunc(got, want, maps.Equal) {
		t.Errorf("%s: refusals are %v, want %v", when, got, want)
	}
}

// TestRefusalsAgeLikeHits takes notes between hits, and compares two sites that differ in nothing else while days are closed,
// lose their hours, their details, and are let go.
func TestRefusalsAgeLikeHits(t *testing.T) {
	var today atomic.Int64
	today.Store(20000)
	dir := t.TempDir()
	db := clockStore(t, dir, &today)
	site, plain := mustSite(t, db, "example.com"), mustSite(t, db, "example.org")
	r, want := rand.New(rand.NewPCG(1, 2)), noted{}
	for day := Day(19988); day <= 20000; day++ {
		var rows []Row
		for i := range 20 {
			path := fmt.Sprintf("/page-%d", i)
			rows = append(rows, at(pageView(site.ID, day, path, "DE"), i)...)
			rows = append(rows, at(pageView(plain.ID, day, path, "DE"), i)...)
			if r.IntN(3) == 0 {
				// Names that hits have too: kinds alone tell them apart.
				name, n := []string{"bot", "gpc", PageViewName}[r.IntN(3)], int64(r.IntN(300)+1)
				rows = append(rows, NoteRow(site.ID, day, i, KindRefused, name, n), NoteRow(site.ID, day, i, "other", name, 1))
				want.add(day, name, n)
			}
			if r.IntN(4) == 0 {
				if err := db.Append(rows...); err != nil {
					t.Fatal(err)
				}
				rows = nil
			}
		}
		if err := db.Append(rows...); err != nil {
			t.Fatal(err)
		}
	}
	// same asks both sites everything that reads the table Hits.
	same := func(when string, from Day) {
		t.Helper()
		for _, by := range [][]Column{nil, {Name}, {Path}, {Hostname}, {Country}} {
			for _, i := range []Interval{Whole, ByDay} {
				q := Query{Site: site.ID, From: from, To: 20000, GroupBy: by, Interval: i,
					Metrics: []Metric{Visitors, VisitsTotal, PageViews, Events, BounceRate}}
				got := table(mustQuery(t, db, q))
				q.Site = plain.ID
				if plain := table(mustQuery(t, db, q)); got != plain {
					t.Errorf("%s, by %v: with notes:\n%swithout:\n%s", when, by, got, plain)
				}
			}
		}
		report, err := db.Check(t.Context(), nil)
		if err != nil || len(report.Findings) > 0 {
			t.Errorf("%s: %+v, %v", when, report.Findings, err)
		}
	}
	want.compare(t, db, site.ID, 19988, 20000, "new")
	same("new", 19988)
	mustSettle(t, db)
	want.compare(t, db, site.ID, 19988, 20000, "coarse")
	want.compare(t, db, site.ID, 19991, 19995, "coarse, some days")
	same("coarse", 19988)

	for _, s := range db.Sites() {
		if err := db.SetRetention(s.Domain, Retention{Detail: 3, Totals: 8}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(want, func(day Day, _ map[string]int64) bool { return day < 19992 })
	want.compare(t, db, site.ID, 19988, 20000, "totals only")
	db.Close()
	db = clockStore(t, dir, &today)
	want.compare(t, db, site.ID, 19988, 20000, "after a restart")
	noted{}.compare(t, db, plain.ID, 19988, 20000, "without notes")
}

// TestRefusalsAlone are all that a site has: it has no hits, and nothing is made up of them.
func TestRefusalsAlone(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	if err := db.Append(NoteRow(site.ID, 20000, 23, KindRefused, "bot", 5)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		noted{20000: {"bot": 5}}.compare(t, db, site.ID, 19990, 20010, "alone")
		q := Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{Visitors, PageViews, Events, TimeOnPage}, Interval: ByHour}
		if res := mustQuery(t, db, q); len(res.Rows) != 0 {
			t.Errorf("hours are %+v", res.Rows)
		}
		if _, _, ok, err := db.Days(site.ID); ok || err != nil {
			t.Errorf("the site has days: %v, %v", ok, err)
		}
		mustSettle(t, db)
	}
}
