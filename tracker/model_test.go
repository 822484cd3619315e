package tracker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dachs/storage"
	"dachs/tracker/visit"
)

// modelHit is one hit of the naive model: nothing is summed, everything is a loop over all hits.
type modelHit struct {
	visitor int
	at      time.Time // in the site's zone
	hit     Hit
	visit   *modelVisit
	person  *modelPerson
	// Entry pages as they were known at the time of the hit: none before the first page view.
	entry, firstEntry string
}

type modelVisit struct {
	first, last       time.Time
	entry, exit, host string
	origin            Origin
	views, events     int
	active            bool
}

// modelPerson is a visitor on one day.
type modelPerson struct {
	attributes Attributes
	visits     []*modelVisit
}

type model struct {
	hits   []*modelHit
	people map[string]*modelPerson // by day and visitor
}

func (m *model) add(visitor int, at time.Time, h Hit) {
	key := fmt.Sprint(at.Format(time.DateOnly), " ", visitor)
	p := m.people[key]
	if p == nil {
		p = &modelPerson{attributes: h.Attributes}
		m.people[key] = p
	}
	if len(p.visits) == 0 || at.Sub(p.visits[len(p.visits)-1].last) > 30*time.Minute {
		p.visits = append(p.visits, &modelVisit{first: at, origin: h.Origin, host: h.Hostname})
	}
	v := p.visits[len(p.visits)-1]
	v.last = at
	if h.Kind == visit.PageView {
		if v.views == 0 {
			v.entry = h.Path
		}
		v.exit = h.Path
		v.views++
	} else {
		v.events++
		v.active = v.active || h.Interactive
	}
	m.hits = append(m.hits, &modelHit{visitor, at, h, v, p, v.entry, p.visits[0].entry})
}

// value returns a column of a hit; whose says whether origin and entry page are those of the hit's own visit
// or those of the visitor's first visit of the day, on which visitors are booked; single that the question is
// about single hits.
func (h *modelHit) value(c storage.Column, v *modelVisit, single bool) string {
	switch c {
	case storage.Path:
		return h.hit.Path
	case storage.Name:
		return h.hit.Name
	case storage.Hostname:
		return h.hit.Hostname
	case storage.Entry:
		switch {
		case !single:
			return v.entry
		case v == h.visit:
			return h.entry
		}
		return h.firstEntry
	case storage.Exit:
		return v.exit
	case storage.Source:
		return v.origin.Source
	case storage.UTMCampaign:
		return v.origin.UTMCampaign
	case storage.Country:
		return h.person.attributes.Country
	case storage.Browser:
		return h.person.attributes.Browser
	}
	panic("column without a value in the model")
}

func (h *modelHit) passes(q *storage.Query, v *modelVisit, single bool) bool {
	for _, f := range q.Filters {
		value, any := h.value(f.Column, v, single), false
		for _, want := range f.Values {
			any = any || f.Op != storage.Contains && value == want || f.Op == storage.Contains && strings.Contains(value, want)
		}
		if any == (f.Op == storage.IsNot) {
			return false
		}
	}
	return true
}

// group returns the row of the answer that a hit belongs to, booked at a time.
func (h *modelHit) group(q *storage.Query, v *modelVisit, at time.Time, single bool) string {
	key := "-"
	switch q.Interval {
	case storage.ByDay:
		key = at.Format(time.DateOnly)
	case storage.ByHour:
		key = at.Format("2006-01-02 15")
	}
	for _, c := range q.GroupBy {
		key += fmt.Sprintf(" %q", h.value(c, v, single))
	}
	return key
}

// answer is the truth: for each group visitors, visits, page views and events.
func (m *model) answer(q *storage.Query) map[string][4]int {
	type sets struct {
		visitors map[string]bool
		visits   map[*modelVisit]bool
		n        [2]int
	}
	groups := make(map[string]*sets)
	get := func(key string) *sets {
		if groups[key] == nil {
			groups[key] = &sets{visitors: make(map[string]bool), visits: make(map[*modelVisit]bool)}
		}
		return groups[key]
	}
	byHour := q.Interval == storage.ByHour
	single := byHour && !slices.Contains(q.GroupBy, storage.Exit) // the exit page is one of whole visits
	whole := true                                                 // nothing but whole visits is involved
	named := false
	for _, c := range []storage.Column{storage.Path, storage.Name, storage.Hostname} {
		uses := slices.Contains(q.GroupBy, c) || slices.ContainsFunc(q.Filters, func(f storage.Filter) bool { return f.Column == c })
		single = single || uses
		whole = whole && !uses
		named = named || uses && c != storage.Path
	}
	byPath := single && !named && !byHour
	if byHour {
		byPath = slices.ContainsFunc(q.Filters, func(f storage.Filter) bool { return f.Column == storage.Path }) || slices.Contains(q.GroupBy, storage.Path)
	}
	for _, h := range m.hits {
		if h.passes(q, h.visit, single) {
			at := h.at
			if whole && !single {
				at = h.visit.first
			}
			s := get(h.group(q, h.visit, at, single))
			if h.hit.Kind == visit.PageView {
				s.n[0]++
			}
			s.n[1]++
			if whole { // visits are those that began in the hour
				s = get(h.group(q, h.visit, h.visit.first, single))
			}
			if !byPath || h.hit.Kind == visit.PageView {
				s.visits[h.visit] = true
			}
		}
		first := h.person.visits[0]
		if h.passes(q, first, single) && (!byPath || h.hit.Kind == visit.PageView) {
			// Distinct within the day, or within the hour: the group's key or this one says the time.
			get(h.group(q, first, h.at, single)).visitors[fmt.Sprint(h.at.Format(time.DateOnly), h.visitor)] = true
		}
	}
	res := make(map[string][4]int)
	for key, s := range groups {
		res[key] = [4]int{len(s.visitors), len(s.visits), s.n[0], s.n[1]}
	}
	return res
}

// randomStream makes hits of a small site: few values, so that everything meets everything.
func randomStream(r *rand.Rand, n int, loc *time.Location, add func(visitor int, at time.Time, h Hit)) {
	start := time.Date(2026, 3, 28, 20, 0, 0, 0, loc) // two days around a change to summer time in Berlin
	at := start
	for range n {
		at = at.Add(time.Duration(r.IntN(100)) * time.Second)
		visitor := r.IntN(40)
		h := Hit{
			Kind: visit.PageView, Name: storage.PageViewName, Path: fmt.Sprintf("/%c", 'a'+r.IntN(6)), Scroll: -1,
			Hostname: []string{"example.com", "shop.example.com"}[r.IntN(8)/7],
			Origin:   Origin{Source: []string{"", "Google", "Bing"}[r.IntN(3)], UTMCampaign: []string{"", "summer"}[r.IntN(2)], Channel: "Direct"},
			// Attributes change between a visitor's hits here: those of the first count.
			Attributes: Attributes{Country: []string{"DE", "FR", ""}[r.IntN(3)], Browser: []string{"Firefox", "Chrome"}[r.IntN(2)]},
		}
		if r.IntN(5) == 0 {
			h.Kind, h.Name, h.Interactive = visit.Event, []string{"Signup", "Buy"}[r.IntN(2)], r.IntN(2) == 0
		}
		add(visitor, at, h)
	}
}

func addrOf(visitor int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(visitor)}) }

func openStore(tb testing.TB) (*storage.DB, storage.Site) {
	tb.Helper()
	return openStoreAt(tb, time.Now)
}

func openStoreAt(tb testing.TB, now func() time.Time) (*storage.DB, storage.Site) {
	tb.Helper()
	db, err := storage.Open(tb.TempDir(), storage.Options{Now: now})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	site, err := db.AddSite("example.com", "Europe/Berlin")
	if err != nil {
		tb.Fatal(err)
	}
	return db, site
}

var modelQueries = map[string]storage.Query{
	"all":             {},
	"hour":            {Interval: storage.ByHour},
	"source by hour":  {GroupBy: []storage.Column{storage.Source}, Interval: storage.ByHour},
	"entry by hour":   {GroupBy: []storage.Column{storage.Country, storage.Browser}, Interval: storage.ByHour},
	"exit by hour":    {GroupBy: []storage.Column{storage.Exit}, Interval: storage.ByHour},
	"day":             {Interval: storage.ByDay},
	"source":          {GroupBy: []storage.Column{storage.Source}},
	"country day":     {GroupBy: []storage.Column{storage.Country}, Interval: storage.ByDay},
	"entry":           {GroupBy: []storage.Column{storage.Entry}},
	"exit":            {GroupBy: []storage.Column{storage.Exit}},
	"exit source":     {GroupBy: []storage.Column{storage.Exit, storage.Source}, Filters: []storage.Filter{{Column: storage.Country, Op: storage.Is, Values: []string{"DE"}}}},
	"path":            {GroupBy: []storage.Column{storage.Path}},
	"path browser":    {GroupBy: []storage.Column{storage.Path, storage.Browser}, Interval: storage.ByDay},
	"path of country": {GroupBy: []storage.Column{storage.Path}, Filters: []storage.Filter{{Column: storage.Country, Op: storage.IsNot, Values: []string{"FR"}}, {Column: storage.Source, Op: storage.Contains, Values: []string{"oo", "Bi"}}}},
	"one path":        {Filters: []storage.Filter{{Column: storage.Path, Op: storage.Is, Values: []string{"/b"}}}, GroupBy: []storage.Column{storage.Source}},
	"paths in hour":   {Filters: []storage.Filter{{Column: storage.Path, Op: storage.Is, Values: []string{"/b"}}}, Interval: storage.ByHour},
	"path by hour":    {GroupBy: []storage.Column{storage.Path}, Interval: storage.ByHour},
	"set":             {Filters: []storage.Filter{{Column: storage.Path, Op: storage.Is, Values: []string{"/a", "/c"}}}},
	"set by day":      {Filters: []storage.Filter{{Column: storage.Path, Op: storage.IsNot, Values: []string{"/a"}}}, Interval: storage.ByDay, GroupBy: []storage.Column{storage.Browser}},
	"set by hour":     {Filters: []storage.Filter{{Column: storage.Path, Op: storage.IsNot, Values: []string{"/a", "/f"}}}, Interval: storage.ByHour},
	"set and entry":   {Filters: []storage.Filter{{Column: storage.Path, Op: storage.Contains, Values: []string{"a", "b", "d"}}, {Column: storage.Entry, Op: storage.Is, Values: []string{"/d"}}}},
	"name":            {GroupBy: []storage.Column{storage.Name}},
	"name country":    {GroupBy: []storage.Column{storage.Name, storage.Country}, Interval: storage.ByDay},
	"one name":        {Filters: []storage.Filter{{Column: storage.Name, Op: storage.Is, Values: []string{"Buy"}}}},
	"names":           {Filters: []storage.Filter{{Column: storage.Name, Op: storage.Contains, Values: []string{"u"}}}},
	"page views":      {Filters: []storage.Filter{{Column: storage.Name, Op: storage.Is, Values: []string{"pageview"}}}},
	"host":            {GroupBy: []storage.Column{storage.Hostname}},
	"host by hour":    {GroupBy: []storage.Column{storage.Hostname}, Interval: storage.ByHour},
	"one host":        {Filters: []storage.Filter{{Column: storage.Hostname, Op: storage.IsNot, Values: []string{"example.com"}}}, Interval: storage.ByDay},
}

// exact are the queries whose distinct counts must not be bounds.
func exact(name string) bool { return !strings.HasPrefix(name, "set") && name != "names" }

// TestBooksAgreeWithNaiveModel counts random streams through a book and a store, and by plain loops.
func TestBooksAgreeWithNaiveModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			var now atomic.Int64 // days
			db, site := openStoreAt(t, func() time.Time { return storage.Day(now.Load()).Date().Add(12 * time.Hour) })
			now.Store(int64(storage.DateDay(2026, 3, 28)))
			m := &model{people: make(map[string]*modelPerson)}
			book := NewBook(db, site, 3, rand.NewChaCha8([32]byte{byte(seed)}))
			defer book.Close()
			randomStream(r, 2500, site.Location(), func(visitor int, at time.Time, h Hit) {
				m.add(visitor, at, h)
				rows, reason := book.Count(addrOf(visitor), "Browser", h, at.UTC(), nil)
				if reason != Accepted {
					t.Fatal(reason)
				}
				if err := db.Append(rows...); err != nil {
					t.Fatal(err)
				}
			})
			compare := func(coarse bool) {
				t.Helper()
				for name, q := range modelQueries {
					q.Site, q.From, q.To = site.ID, storage.DateDay(2026, 3, 28), storage.DateDay(2026, 4, 2)
					q.Metrics = []storage.Metric{storage.Visitors, storage.VisitsTotal, storage.PageViews, storage.Events}
					compareWithModel(t, name, db, m, q, coarse)
				}
				compareVisits(t, db, m, site)
			}
			compare(false)
			if err := db.SetRetention(site.Domain, storage.Retention{Hours: 3}); err != nil {
				t.Fatal(err)
			}
			for _, today := range []storage.Day{storage.DateDay(2026, 3, 31), storage.DateDay(2026, 5, 1)} {
				now.Store(int64(today)) // the days are over: their runs become one, and rollups answer; then hours leave them
				if err := db.Settle(t.Context()); err != nil {
					t.Fatal(err)
				}
				compare(today == storage.DateDay(2026, 5, 1))
			}
		})
	}
}

func compareWithModel(t *testing.T, name string, db *storage.DB, m *model, q storage.Query, coarse bool) {
	t.Helper()
	res, err := db.Query(context.Background(), q)
	if coarse && q.Interval == storage.ByHour && (q.Filters != nil || q.GroupBy != nil) {
		if !errors.Is(err, storage.ErrNotKept) { // hours have left the combinations
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	want := m.answer(&q)
	for _, row := range res.Rows {
		key := "-"
		switch q.Interval {
		case storage.ByDay:
			key = row.Day.String()
		case storage.ByHour:
			key = fmt.Sprintf("%s %02d", row.Day, row.Hour)
		}
		for _, k := range row.Keys {
			key += fmt.Sprintf(" %q", k)
		}
		truth, ok := want[key]
		delete(want, key)
		if !ok {
			t.Errorf("%s: row %s does not exist in the model", name, key)
			continue
		}
		for i, v := range row.Values {
			if i == 1 && q.Interval == storage.ByHour && (q.GroupBy != nil && q.GroupBy[0] < storage.Entry || q.Filters != nil) {
				continue // visits of a page by hour are those that saw it first in it
			}
			if v.Low > float64(truth[i]) || v.Number < float64(truth[i]) {
				t.Errorf("%s, %s: %s is %d, got %g to %g", name, key, q.Metrics[i], truth[i], v.Low, v.Number)
			}
			if v.AtMost && exact(name) {
				t.Errorf("%s, %s: %s is a bound, %g to %g", name, key, q.Metrics[i], v.Low, v.Number)
			}
		}
	}
	for key, truth := range want {
		if truth != [4]int{} {
			t.Errorf("%s: row %s is missing, want %v", name, key, truth)
		}
	}
}

// compareVisits checks the metrics of whole visits by entry page.
func compareVisits(t *testing.T, db *storage.DB, m *model, site storage.Site) {
	t.Helper()
	type sums struct{ visits, bounces, views, seconds float64 }
	want := make(map[string]*sums)
	for _, p := range m.people {
		for _, v := range p.visits {
			s := want[v.entry]
			if s == nil {
				s = &sums{}
				want[v.entry] = s
			}
			s.visits++
			s.views += float64(v.views)
			s.seconds += v.last.Sub(v.first).Seconds()
			if v.views == 1 && !v.active {
				s.bounces++
			}
		}
	}
	for _, c := range []storage.Column{storage.Entry, storage.Path} {
		res, err := db.Query(context.Background(), storage.Query{Site: site.ID, From: storage.DateDay(2026, 3, 28), To: storage.DateDay(2026, 4, 2),
			Metrics: []storage.Metric{storage.ViewsPerVisit, storage.BounceRate, storage.VisitDuration}, GroupBy: []storage.Column{c}})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Rows) < 6 {
			t.Errorf("%s: %d rows", c, len(res.Rows))
		}
		for _, row := range res.Rows {
			s := want[row.Keys[0]]
			got := [3]float64{row.Values[0].Number, row.Values[1].Number, row.Values[2].Number}
			if truth := [3]float64{s.views / s.visits, 100 * s.bounces / s.visits, s.seconds / s.visits}; got != truth {
				t.Errorf("%s %q: views per visit, bounce rate, duration are %v, want %v", c, row.Keys[0], got, truth)
			}
		}
	}
}
