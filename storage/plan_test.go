package storage

import (
	"context"
	"errors"
	"testing"
)

func is(c Column, values ...string) Filter { return Filter{Column: c, Op: Is, Values: values} }

// TestWhatNoTableHoldsTogether has one line for each pair; counts of hits need no distinct numbers and have answers.
func TestWhatNoTableHoldsTogether(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	f := func(want error, metric Metric, groupBy []Column, filters ...Filter) {
		t.Helper()
		_, err := db.Query(context.Background(), Query{Site: site.ID, From: 20000, To: 20001, Metrics: []Metric{metric}, GroupBy: groupBy, Filters: filters})
		if !errors.Is(err, want) {
			t.Errorf("%s by %v under %v: %v, want %v", metric, groupBy, filters, err, want)
		}
	}
	f(ErrNotTogether, Visitors, []Column{Exit}, is(Path, "/"))
	f(ErrNotTogether, PageViews, []Column{Exit}, is(Path, "/"))
	f(ErrNotTogether, Visitors, []Column{Path}, is(Exit, "/"))
	f(ErrNotTogether, Visitors, []Column{Exit, Hostname})
	f(ErrNotTogether, Visitors, []Column{Exit}, is(Name, PageViewName))
	f(ErrNotTogether, Visitors, []Column{Path}, is(Hostname, "example.com"))
	f(ErrNotTogether, VisitsTotal, nil, is(Name, "Buy"), is(Path, "/"))
	f(ErrNotTogether, Visitors, []Column{Name, Hostname})
	f(ErrNotTogether, Visitors, []Column{Hostname}, is(Name, PageViewName))
	f(nil, PageViews, []Column{Path}, is(Hostname, "example.com"))
	f(nil, Events, []Column{Name, Path}, is(Hostname, "example.com"))
	f(nil, Visitors, []Column{Path}, is(Name, PageViewName))
	f(nil, Visitors, []Column{Exit, Source}, is(Entry, "/"), is(Country, "DE"))
}

func TestBadQueries(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	good := Query{From: 20000, To: 20001, Metrics: []Metric{Visitors}, GroupBy: []Column{Country}}
	for name, spoil := range map[string]func(q *Query){
		"days in the wrong order":   func(q *Query) { q.To = q.From - 1 },
		"no metrics":                func(q *Query) { q.Metrics = nil },
		"unknown metric":            func(q *Query) { q.Metrics = []Metric{metrics} },
		"too many dimensions":       func(q *Query) { q.GroupBy = []Column{Country, Browser, OS} },
		"dimension twice":           func(q *Query) { q.GroupBy = []Column{Country, Country} },
		"dimension without a name":  func(q *Query) { q.GroupBy = []Column{Previous} },
		"filter without values":     func(q *Query) { q.Filters = []Filter{{Column: Country}} },
		"filter over no dimension":  func(q *Query) { q.Filters = []Filter{is(Kind, "host")} },
		"order by another metric":   func(q *Query) { q.Order = []Order{{Metric: Events}} },
		"order by another column":   func(q *Query) { q.Order = []Order{{Column: OS}} },
		"order by time without any": func(q *Query) { q.Order = []Order{{Time: true}} },
		"negative limit":            func(q *Query) { q.Limit = -1 },
	} {
		q := good
		spoil(&q)
		if _, err := db.Query(context.Background(), q); !errors.Is(err, ErrBadQuery) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if answers, err := db.QueryAll(context.Background(), []Query{good, {Site: 9, From: 1, To: 2, Metrics: good.Metrics}}); err != nil ||
		answers[0].Err != nil || !errors.Is(answers[1].Err, ErrBadQuery) {
		t.Errorf("queries about two sites: %v, %v", answers, err)
	}
}

// TestBoundsAreTight walks through a set of pages in ways whose bounds are known.
func TestBoundsAreTight(t *testing.T) {
	hit := func(previous, entry, path string) Row {
		r := pageView(1, 20000, path, "DE")[0]
		r.Dims[Previous], r.Dims[Entry] = previous, entry
		return r
	}
	tests := map[string]struct {
		rows []Row
		want string
	}{
		"one visitor through the set":  {[]Row{hit("", "/s1", "/s1"), hit("/s1", "/s1", "/s2")}, "1"},
		"from outside, then within":    {[]Row{hit("", "/x", "/x"), hit("/x", "/x", "/s1"), hit("/s1", "/x", "/s2")}, "1"},
		"out and in again from entry":  {[]Row{hit("", "/s1", "/s1"), hit("/s1", "/s1", "/x"), hit("/x", "/s1", "/s2")}, "1"},
		"out and in again from within": {[]Row{hit("", "/x", "/x"), hit("/x", "/x", "/s1"), hit("/s1", "/x", "/y"), hit("/y", "/x", "/s2")}, "1..2"},
		"two visitors enter":           {[]Row{hit("", "/s1", "/s1"), hit("", "/s2", "/s2")}, "2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			db := mustOpen(t, t.TempDir())
			mustSite(t, db, "example.com")
			for day := range Day(2) { // bounds are of a day; days add up
				rows := append([]Row(nil), tt.rows...)
				for i := range rows {
					rows[i].Day += day
				}
				if err := db.Append(rows...); err != nil {
					t.Fatal(err)
				}
				res := mustQuery(t, db, Query{Site: 1, From: 20000 + day, To: 20000 + day, Metrics: []Metric{Visitors}, Filters: []Filter{{Column: Path, Op: Contains, Values: []string{"/s"}}}})
				if got, want := table(res), (20000+day).String()+"/00 [] "+tt.want+"\n"; got != want {
					t.Errorf("got %s want %s", got, want)
				}
			}
			res := mustQuery(t, db, Query{Site: 1, From: 20000, To: 20001, Metrics: []Metric{Visitors}, Filters: []Filter{{Column: Path, Op: Contains, Values: []string{"/s"}}}})
			if want := map[string]string{"1": "2", "2": "4", "1..2": "2..4"}[tt.want]; table(res) != "2024-10-04/00 [] "+want+"\n" {
				t.Errorf("two days: got %s want %s", table(res), want)
			}
		})
	}
}

// TestNamesThatLookLikePaths: an event may be called anything, also like a path.
func TestNamesThatLookLikePaths(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	mustSite(t, db, "example.com")
	event := pageView(1, 20000, "/a", "DE")[0]
	event.Dims[Kind], event.Dims[Name] = KindEvent, "//a"
	if err := db.Append(append(pageView(1, 20000, "/a", "DE"), event)...); err != nil {
		t.Fatal(err)
	}
	res := mustQuery(t, db, Query{Site: 1, From: 20000, To: 20000, Metrics: []Metric{Visitors}, Filters: []Filter{{Column: Name, Op: IsNot, Values: []string{"other"}}}})
	if got := table(res); got != "2024-10-04/00 [] 1..2\n" {
		t.Errorf("a visitor with a page view and an event is %s", got)
	}
}
