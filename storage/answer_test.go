package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// eventWith is an event of one visitor and visit, who came from a country.
func eventWith(day Day, name, props, country string, visitors int64) Row {
	r := Row{Site: 1, Table: Hits, Day: day}
	r.Dims[Hour], r.Dims[Kind], r.Dims[Name], r.Dims[Path], r.Dims[Props], r.Dims[Country] = "09", KindEvent, name, "/", props, country
	r.Sums[Count], r.Sums[PropVisitors], r.Sums[PropVisits] = visitors, visitors, visitors
	return r
}

// TestPropertiesAsDimensions groups and filters events by the values of their properties.
func TestPropertiesAsDimensions(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	mustSite(t, db, "example.com")
	pro1 := EncodeProps([]Prop{{"plan", "pro"}, {"seats", "1"}})
	pro2 := EncodeProps([]Prop{{"plan", "pro"}, {"seats", "2"}})
	rows := []Row{
		eventWith(20000, "Buy", pro1, "DE", 3), eventWith(20000, "Buy", pro2, "DE", 2), eventWith(20000, "Buy", EncodeProps([]Prop{{"plan", "free"}}), "DE", 4),
		eventWith(20000, "Look", pro1, "FR", 1), eventWith(20000, "Buy", "", "DE", 5), eventWith(20001, "Buy", "(other)", "DE", 6),
	}
	if err := db.Append(rows...); err != nil {
		t.Fatal(err)
	}
	plan := func(op Op, values ...string) Filter {
		return Filter{Column: Props, Prop: "plan", Op: op, Values: values}
	}
	for _, tt := range []struct {
		q    Query
		want string
	}{
		{Query{GroupBy: []Column{Props}, PropKeys: []string{"plan"}},
			`["(other)"] 6 6 6;["pro"] 3..6 3..6 6;[""] 5 5 5;["free"] 4 4 4`},
		{Query{GroupBy: []Column{Props, Props}, PropKeys: []string{"plan", "seats"}, Filters: []Filter{plan(Is, "pro")}},
			`["pro" "1"] 3..4 3..4 4;["pro" "2"] 2 2 2`},
		{Query{GroupBy: []Column{Name, Props}, PropKeys: []string{"seats"}, Filters: []Filter{plan(MatchesNot, "^.?$"), is(Country, "DE", "FR")}, To: 20000},
			`["Buy" ""] 4 4 4;["Buy" "1"] 3 3 3;["Buy" "2"] 2 2 2;["Look" "1"] 1 1 1`},
		{Query{GroupBy: []Column{Country, Props}, PropKeys: []string{"plan"}, Filters: []Filter{is(Name, "Buy"), plan(Contains, "r")}, To: 20000,
			Order: []Order{{Column: Props, Prop: "plan"}}}, `["DE" "free"] 4 4 4;["DE" "pro"] 3..5 3..5 5`},
		{Query{Filters: []Filter{{Op: Or, Of: []Filter{plan(Is, "free"), {Column: Props, Prop: "seats", Values: []string{"2"}}}}}}, `[] 4..6 4..6 6`},
	} {
		tt.q.Site, tt.q.From, tt.q.Metrics = 1, 20000, []Metric{Visitors, VisitsTotal, Events}
		if tt.q.To == 0 {
			tt.q.To = 20001
		}
		got := strings.ReplaceAll(strings.TrimSuffix(table(mustQuery(t, db, tt.q)), "\n"), "2024-10-04/00 ", "")
		if got = strings.ReplaceAll(got, "\n", ";"); got != tt.want {
			t.Errorf("%+v:\n got %s\nwant %s", tt.q, got, tt.want)
		}
	}
	q := Query{Site: 1, From: 20000, To: 20001, Metrics: []Metric{Visitors}, GroupBy: []Column{Props}, PropKeys: []string{"plan"}, Interval: ByHour}
	if _, err := db.Query(t.Context(), q); !errors.Is(err, ErrNotTogether) || !strings.Contains(err.Error(), "by the day and not by the hour") {
		t.Errorf("visitors by a property and hour: %v", err)
	}
}

// TestTotals compares the totals of a query with the answer to the same question without groups.
func TestTotals(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	for i := range 30 {
		if err := db.Append(pageView(site.ID, Day(20000+i%3), fmt.Sprintf("/%d", i%7), []string{"DE", "FR"}[i%2])...); err != nil {
			t.Fatal(err)
		}
	}
	q := Query{Site: site.ID, From: 20000, To: 20002, Metrics: testMetrics, Filters: []Filter{is(Country, "DE")}}
	want := table(mustQuery(t, db, q))
	q.GroupBy, q.Interval, q.Order, q.Limit, q.Offset = []Column{Path, Browser}, ByDay, []Order{{Column: Path}}, 2, 3
	if res := mustQuery(t, db, q); res.Totals != nil {
		t.Errorf("totals %v, which nobody asked for", res.Totals)
	}
	q.Totals = true
	for _, settle := range []bool{false, true} {
		if settle {
			mustSettle(t, db)
		}
		res := mustQuery(t, db, q)
		if got := table(Result{Rows: []ResultRow{{Day: q.From, Keys: []string{}, Values: res.Totals}}}); got != want || len(res.Rows) != 2 {
			t.Errorf("totals of %d rows are %s, want %s", len(res.Rows), got, want)
		}
	}
}

// TestLimitsAreThoseOfTheWholeList asks for pages of a list that is longer than what is gathered at once.
func TestLimitsAreThoseOfTheWholeList(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	const n = spareRows*2 + 100
	var rows []Row
	for i := range n {
		rows = append(rows, pageView(site.ID, 20000, fmt.Sprintf("/%05d", i*7919%n), "DE")...)
	}
	for part := range slices.Chunk(rows, 5000) {
		if err := db.Append(part...); err != nil {
			t.Fatal(err)
		}
	}
	q := Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}, GroupBy: []Column{Path}, Order: []Order{{Column: Path}}}
	for _, tt := range []struct{ limit, offset, first, rows int }{
		{0, 0, 0, n}, {3, 0, 0, 3}, {3, 5000, 5000, 3}, {10, n - 4, n - 4, 4}, {10, n, 0, 0}, {1 << 62, 1 << 62, 0, 0}, {0, 5, 5, n - 5},
	} {
		q.Limit, q.Offset = tt.limit, tt.offset
		res := mustQuery(t, db, q)
		if len(res.Rows) != tt.rows || res.Total != n || tt.rows > 0 && res.Rows[0].Keys[0] != fmt.Sprintf("/%05d", tt.first) {
			t.Errorf("limit %d, offset %d: %d of %d rows", tt.limit, tt.offset, len(res.Rows), res.Total)
		}
	}
}

// TestTooManyGroups bounds what a query gathers: its groups, and the pages of a day that bounds are made of.
func TestTooManyGroups(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	for day := range Day(5) {
		for half := range 2 { // two runs, or pages need not be held
			var rows []Row
			for i := range 60 {
				rows = append(rows, pageView(site.ID, 20000+day, fmt.Sprintf("/%d", i), fmt.Sprint(half))...)
			}
			if err := db.Append(rows...); err != nil {
				t.Fatal(err)
			}
		}
	}
	everyPage := Filter{Column: Path, Op: Matches, Values: []string{"/"}}
	q := Query{Site: site.ID, From: 20000, To: 20004, Metrics: []Metric{Visitors}}
	ask := func(most int64, groupBy []Column, interval Interval, filters ...Filter) error {
		db.maxGroups = most
		q := q
		q.GroupBy, q.Interval, q.Filters = groupBy, interval, filters
		answers, err := db.QueryAll(t.Context(), []Query{q, {Site: 1, From: 20000, To: 20004, Metrics: []Metric{PageViews}}})
		if err != nil || answers[1].Err != nil || answers[1].Result.Rows[0].Values[0].Number != 600 {
			t.Errorf("the other query: %v, %+v", err, answers)
		}
		return answers[0].Err
	}
	procs := int64(runtime.GOMAXPROCS(0)) // each may hold the same groups
	for name, err := range map[string]error{
		"groups":                  ask(299, []Column{Path}, ByDay),
		"pages of a bound":        ask(50, nil, Whole, everyPage),
		"pages of a bound by day": ask(60, nil, ByDay, everyPage),
	} {
		if !errors.Is(err, ErrTooManyGroups) || !strings.Contains(err.Error(), "ask for fewer days") {
			t.Errorf("too many %s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"groups":           ask(300, []Column{Path}, ByDay),
		"groups in common": ask(60*procs, []Column{Path}, Whole),
		"pages of a bound": ask(121*procs, nil, Whole, everyPage), // those of one day at a time, from both runs
	} {
		if err != nil {
			t.Errorf("enough %s: %v", name, err)
		}
	}
	// Of one day, which one goroutine reads: the totals hold 60 pages and their own group.
	q.Totals, q.To = true, q.From
	groups, totals := ask(61, []Column{Path}, Whole, everyPage), ask(60, []Column{Path}, Whole, everyPage)
	if groups != nil || !errors.Is(totals, ErrTooManyGroups) {
		t.Errorf("totals that hold enough: %v, too many: %v", groups, totals)
	}
}

// endingContext ends after some looks at it.
type endingContext struct {
	context.Context
	left, looks atomic.Int64
}

func (c *endingContext) Err() error {
	c.looks.Add(1)
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestCancelledWithinABlock: a query whose context ends reads no further block.
func TestCancelledWithinABlock(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	for day := range Day(40) {
		if err := db.Append(pageView(site.ID, 20000+day, "/", "DE")...); err != nil {
			t.Fatal(err)
		}
	}
	ctx := &endingContext{Context: t.Context()}
	ctx.left.Store(7)
	q := Query{Site: site.ID, From: 20000, To: 20039, Metrics: []Metric{Visitors}, GroupBy: []Column{Country}}
	if _, err := db.Query(ctx, q); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if most := int64(7 + runtime.GOMAXPROCS(0)); ctx.looks.Load() > most {
		t.Errorf("%d blocks were begun, want at most %d", ctx.looks.Load(), most)
	}
}

// TestBoundsBeforeAndAfterClosing asks about sets of pages while a day is many runs, and when it is one of several blocks.
func TestBoundsBeforeAndAfterClosing(t *testing.T) {
	now := Day(20000).Date()
	var mu sync.Mutex
	db, err := Open(t.TempDir(), Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	site := mustSite(t, db, "example.com")
	r := rand.New(rand.NewPCG(3, 4))
	paths := make([]string, 30)
	for i := range paths {
		paths[i] = fmt.Sprintf("/%02d", i)
	}
	for range 12 {
		rows := make([]Row, 6000)
		for i := range rows {
			row := &rows[i]
			row.Site, row.Table, row.Day = site.ID, Hits, 20000
			d := &row.Dims
			d[Hour], d[Kind], d[Name], d[Path] = "10", KindPageView, PageViewName, paths[min(r.IntN(30), r.IntN(30), r.IntN(30), r.IntN(30))]
			switch r.IntN(10) {
			case 0, 1, 2, 3, 4:
				d[Path] = paths[0] // more rows than a block has
			case 5, 6:
				d[Path] = paths[20]
			}
			if r.IntN(3) > 0 {
				d[Previous] = paths[r.IntN(30)]
			}
			d[Entry], d[Country], d[Referrer] = paths[r.IntN(30)], fmt.Sprint(r.IntN(5)), fmt.Sprint(r.IntN(2000))
			row.Sums[Count], row.Sums[HitVisits], row.Sums[HitVisitors] = 1, int64(r.IntN(2)), int64(r.IntN(2))
		}
		if err := db.Append(rows...); err != nil {
			t.Fatal(err)
		}
	}
	q := Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{Visitors, VisitsTotal, PageViews},
		Filters: []Filter{{Column: Path, Op: Contains, Values: []string{"1"}}}}
	byCountry := q
	byCountry.GroupBy = []Column{Country}
	zeros := q // with the page that most rows have: it lies in several blocks
	zeros.Filters = []Filter{{Column: Path, Op: Contains, Values: []string{"0"}}}
	ask := func() string {
		return table(mustQuery(t, db, q)) + table(mustQuery(t, db, byCountry)) + table(mustQuery(t, db, zeros))
	}
	want := ask()
	if strings.Count(want, "..") != 14 {
		t.Fatalf("no bounds:\n%s", want)
	}
	mu.Lock()
	now = Day(20001).Date()
	mu.Unlock()
	mustSettle(t, db)
	refs, err := runsIn(db, partition{site.ID, Hits, 20000})
	if err != nil || len(refs) != 1 || len(mustHeader(t, db, refs[0]).blockRows) < 2 {
		t.Fatalf("%d runs, %v; want one of several blocks", len(refs), err)
	}
	if got := ask(); got != want {
		t.Errorf("after closing:\n%swant:\n%s", got, want)
	}
}
