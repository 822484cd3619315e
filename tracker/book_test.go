package tracker

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"dachs/storage"
	"dachs/tracker/visit"
)

// counter counts hits of one visitor into a store, and looks at the increments.
type counter struct {
	t    *testing.T
	db   *storage.DB
	site storage.Site
	book *Book
	now  time.Time
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	db, site := openStore(t)
	book := NewBook(db, site, 1, rand.NewChaCha8([32]byte{}))
	t.Cleanup(book.Close)
	return &counter{t, db, site, book, time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
}

// count stores a hit and returns the sum of its increments of the table Hits that are about something of a name.
func (c *counter) count(visitor int, h Hit, name string) (sums [len(storage.Row{}.Sums)]int64) {
	c.t.Helper()
	rows, reason := c.book.Count(addrOf(visitor), "Browser", h, c.now, nil)
	if reason != Accepted {
		c.t.Fatal(reason)
	}
	for _, r := range rows {
		if r.Table == storage.Hits && r.Dims[storage.Name] == name && r.Dims[storage.Kind] != storage.KindHost {
			for i, n := range r.Sums {
				sums[i] += n
			}
		}
	}
	if err := c.db.Append(rows...); err != nil {
		c.t.Fatal(err)
	}
	return sums
}

func (c *counter) wait(d time.Duration) { c.now = c.now.Add(d) }

func TestIncrementsOfEvents(t *testing.T) {
	c := newCounter(t)
	for i, s := range []struct {
		wait           time.Duration
		visitor        int
		name, props    string
		revenue        int64
		today, byProps int64 // first of the event, and with its properties
		visits         int64 // and that in the visit
	}{
		{0, 1, "Buy", `{"a":"1"}`, 1250, 1, 1, 1},
		{0, 1, "Buy", `{"a":"1"}`, 300, 0, 0, 0},
		{0, 1, "Buy", `{"a":"2"}`, -99, 0, 1, 1},
		{0, 1, "Buy", "", 0, 0, 1, 1},
		{0, 1, "Look", `{"a":"1"}`, 0, 1, 1, 1},
		{0, 2, "Buy", `{"a":"1"}`, 7, 1, 1, 1},
		{time.Hour, 1, "Buy", `{"a":"1"}`, 1, 0, 0, 1}, // the next visit
		{0, 1, "Buy", `{"a":"1"}`, 2, 0, 0, 0},
	} {
		c.wait(s.wait)
		h := pageView("/")
		h.Kind, h.Name, h.Props, h.Revenue = visit.Event, s.name, s.props, Money{s.revenue, "EUR"}
		sums := c.count(s.visitor, h, s.name)
		if sums[storage.Count] != 1 || sums[storage.Revenue] != s.revenue || sums[storage.HitVisitors] != s.today || sums[storage.PropVisitors] != s.byProps ||
			sums[storage.PropVisits] != s.visits {
			t.Errorf("event %d: count %d, revenue %d, visitors %d, by properties %d, visits %d; want 1, %d, %d, %d, %d", i, sums[storage.Count],
				sums[storage.Revenue], sums[storage.HitVisitors], sums[storage.PropVisitors], sums[storage.PropVisits], s.revenue, s.today, s.byProps, s.visits)
		}
	}
}

func TestIncrementsHaveCurrencyAndProps(t *testing.T) {
	c := newCounter(t)
	h := pageView("/")
	h.Kind, h.Name, h.Props, h.Revenue = visit.Event, "Buy", `{"a":"1"}`, Money{5, "EUR"}
	rows, _ := c.book.Count(addrOf(1), "Browser", h, c.now, nil)
	n := 0
	for _, r := range rows {
		if r.Table == storage.Hits && r.Dims[storage.Kind] == storage.KindEvent {
			n++
			if r.Dims[storage.Currency] != "EUR" || r.Dims[storage.Props] != h.Props || r.Dims[storage.Path] != "/" {
				t.Errorf("increment of %q", r.Dims)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d increments, want 1", n)
	}
}

// Time and scroll depth go all the way to the report, and no more than the time that has passed.
func TestEngagementIsReported(t *testing.T) {
	c := newCounter(t)
	ping := func(visitor int, path string, engaged int64, scroll int) {
		t.Helper()
		h := pageView(path)
		h.Kind, h.Name, h.Engaged, h.Scroll = visit.Engagement, engagementName, engaged, scroll
		if sums := c.count(visitor, h, storage.PageViewName); sums[storage.Engaged] == 0 || sums[storage.Count] != 0 {
			t.Errorf("an engagement of %s raises %v of the page view", path, sums)
		}
		if h.Name != engagementName {
			t.Error("the hit of the caller is changed")
		}
	}
	c.count(1, pageView("/a"), storage.PageViewName)
	c.count(2, pageView("/a"), storage.PageViewName)
	c.wait(10 * time.Second)
	ping(1, "/a", 8000, 40)
	c.count(1, pageView("/b"), storage.PageViewName)
	c.wait(30 * time.Second)
	ping(1, "/b", 30_000, -1)
	ping(1, "/a", 4000, 70) // back in another tab
	c.wait(20 * time.Second)
	ping(2, "/a", 2_500_000_000, 20) // a forged one: 60 seconds have passed
	res, err := c.db.Query(context.Background(), storage.Query{Site: c.site.ID, From: storage.DateDay(2026, 5, 4), To: storage.DateDay(2026, 5, 4),
		Metrics: []storage.Metric{storage.TimeOnPage, storage.ScrollDepth, storage.PageViews, storage.Events}, GroupBy: []storage.Column{storage.Path}})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string][]storage.Value)
	for _, r := range res.Rows {
		got[r.Keys[0]] = r.Values
	}
	if len(got) != 2 {
		t.Fatalf("pages are %v", got)
	}
	a, b := got["/a"], got["/b"]
	if a[0].Number != 36 || a[1].Number != 45 || a[2].Number != 2 || a[3].Number != 2 {
		t.Errorf("/a: time on page, scroll depth, page views, events are %v, want 36, 45, 2, 2", a)
	}
	if b[0].Number != 30 || !b[1].Null || b[2].Number != 1 {
		t.Errorf("/b: %v, want 30, null, 1", b)
	}
}

func TestBookWithoutRoom(t *testing.T) {
	c := newCounting(t)
	c.fill()
	rows := make([]storage.Row, 3)
	got, reason := c.tracker.live(c.site).book.Count(addrOf(2), "Browser", pageView("/"), c.clock(), rows)
	if reason != Overloaded || len(got) != len(rows) {
		t.Errorf("%v with %d increments", reason, len(got)-len(rows))
	}
}
