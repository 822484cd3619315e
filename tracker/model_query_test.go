package tracker

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dachs/storage"
)

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

// modelColumns are the columns that the model knows, by what can be asked for together.
var (
	modelAttributes = []storage.Column{
		storage.Entry, storage.Source, storage.Channel, storage.Referrer, storage.UTMSource, storage.UTMMedium, storage.UTMCampaign,
		storage.UTMTerm, storage.UTMContent, storage.Country, storage.Region, storage.City, storage.Browser, storage.BrowserVersion,
		storage.OS, storage.OSVersion, storage.Device, storage.Screen, storage.Language,
	}
	modelSubjects = [][]storage.Column{
		{}, {storage.Exit}, {storage.Path}, {storage.Name}, {storage.Hostname}, {storage.Props}, {storage.Props, storage.Name},
		{storage.Path, storage.Name, storage.Hostname, storage.Props, storage.Exit}, // much of it impossible
	}
	modelValues = map[storage.Column][]string{
		storage.Path: {"/a", "/b", "/c", "/d", "/e", "/f", ""}, storage.Entry: {"/a", "/b", "/c", "/d", "/e", "/f", ""},
		storage.Exit: {"/a", "/b", "/c", ""}, storage.Name: {"pageview", "pageview", "Signup", "Buy"},
		storage.Hostname: {"example.com", "shop.example.com"}, storage.Props: {"pro", "Basic", `a "b"\`, "", "1", "2", "10"},
		storage.Source: {"", "Google", "Bing"}, storage.Channel: {"Direct", "Organic Search"}, storage.Referrer: {"", "google.com/"},
		storage.UTMSource: {"", "letter", "Letter"}, storage.UTMMedium: {"", "email"}, storage.UTMCampaign: {"", "summer"},
		storage.UTMTerm: {"", "boots"}, storage.UTMContent: {"", "top", "bottom"}, storage.Country: {"DE", "FR", ""},
		storage.Region: {"", "Bavaria"}, storage.City: {"", "Munich", "Paris"}, storage.Browser: {"Firefox", "Chrome"},
		storage.BrowserVersion: {"120", "121"}, storage.OS: {"Linux", "iOS"}, storage.OSVersion: {"", "17"},
		storage.Device: {"Desktop", "Mobile"}, storage.Screen: {"", "xl"}, storage.Language: {"de", "fr"},
	}
	modelPatterns = compilePatterns("^/[ab]$", "o", "(?:^|s)e", "^$", "[0-9]", "[^a-m]$", "I")
)

// compilePatterns compiles patterns, and for questions that ignore the case each a second time.
func compilePatterns(patterns ...string) map[string]*regexp.Regexp {
	compiled := make(map[string]*regexp.Regexp)
	for _, p := range patterns {
		compiled[p], compiled["(?i)"+p] = regexp.MustCompile(p), regexp.MustCompile("(?i)"+p)
	}
	return compiled
}

// randomQueries makes queries: pairs of a filter and a dimension, and trees.
type randomQueries struct{ *rand.Rand }

// column picks one of the subject's columns or an attribute.
func (r randomQueries) column(subject []storage.Column) storage.Column {
	if len(subject) > 0 && r.IntN(2) == 0 {
		return subject[r.IntN(len(subject))]
	}
	return modelAttributes[r.IntN(len(modelAttributes))]
}

func (r randomQueries) prop(c storage.Column) string {
	if c != storage.Props {
		return ""
	}
	return []string{"plan", "seats", "none"}[r.IntN(10)/4]
}

func (r randomQueries) filter(subject []storage.Column, depth int) storage.Filter {
	if depth > 0 && r.IntN(2) == 0 {
		f := storage.Filter{Op: []storage.Op{storage.And, storage.Or, storage.Or, storage.Not}[r.IntN(4)]}
		f.Of = append(f.Of, r.filter(subject, depth-1))
		for f.Op != storage.Not && len(f.Of) < 3 && r.IntN(3) > 0 {
			f.Of = append(f.Of, r.filter(subject, depth-1))
		}
		return f
	}
	c := r.column(subject)
	f := storage.Filter{Column: c, Prop: r.prop(c), Op: storage.Op(r.IntN(int(storage.And))), AnyCase: r.IntN(5) == 0}
	for len(f.Values) == 0 || r.IntN(3) == 0 {
		value := modelValues[c][r.IntN(len(modelValues[c]))]
		switch f.Op {
		case storage.Contains, storage.ContainsNot:
			value = value[min(len(value), r.IntN(3)):]
		case storage.Matches, storage.MatchesNot:
			patterns := slices.Sorted(maps.Keys(modelPatterns)) // in an order that does not change from run to run
			value = strings.TrimPrefix(patterns[r.IntN(len(patterns))], "(?i)")
		}
		f.Values = append(f.Values, value)
	}
	return f
}

func (r randomQueries) query() storage.Query {
	subject := modelSubjects[r.IntN(len(modelSubjects))]
	q := storage.Query{Interval: []storage.Interval{storage.Whole, storage.ByDay, storage.ByHour}[r.IntN(3)], Totals: r.IntN(3) == 0}
	for range r.IntN(3) {
		c := r.column(subject)
		if slices.Contains(q.GroupBy, c) {
			continue
		}
		if q.GroupBy = append(q.GroupBy, c); c == storage.Props {
			q.PropKeys = append(q.PropKeys, r.prop(c))
		}
	}
	for range r.IntN(3) {
		q.Filters = append(q.Filters, r.filter(subject, 3))
	}
	return q
}

// questions are queries with their true answers.
type questions struct {
	names   []string
	queries []storage.Query
	want    []map[string]truth
	totals  []map[string]truth // of those that ask for them
	// How often a distinct count was exact and a bound, so that a test that proves little is seen.
	exact, bounds int
}

// newQuestions asks the model the named queries and random ones.
func newQuestions(r *rand.Rand, m *model, site storage.Site) *questions {
	qs := &questions{}
	for name, q := range modelQueries {
		qs.add(m, site, name, q)
	}
	n := 70
	if os.Getenv("DACHS_SOAK") != "" {
		n = 3000
	}
	for range n {
		q := randomQueries{r}.query()
		qs.add(m, site, fmt.Sprintf("by %v %q, interval %d, filters %+v", q.GroupBy, q.PropKeys, q.Interval, q.Filters), q)
	}
	return qs
}

func (qs *questions) add(m *model, site storage.Site, name string, q storage.Query) {
	q.Site, q.From, q.To = site.ID, storage.DateDay(2026, 3, 28), storage.DateDay(2026, 4, 2)
	q.Metrics = []storage.Metric{storage.Visitors, storage.VisitsTotal, storage.PageViews, storage.Events}
	qs.names, qs.queries, qs.want, qs.totals = append(qs.names, name), append(qs.queries, q), append(qs.want, m.answer(&q)), append(qs.totals, nil)
	if _, impossible := subjectOf(&q); q.Totals && !impossible {
		whole := q
		whole.GroupBy, whole.PropKeys, whole.Interval = nil, nil, storage.Whole
		qs.totals[len(qs.totals)-1] = m.answer(&whole)
	}
}

// compare asks the store all questions at once. Once the days are coarse, hours have left the combinations.
func (qs *questions) compare(t *testing.T, db *storage.DB, coarse bool) {
	t.Helper()
	qs.exact, qs.bounds = 0, 0
	answers, err := db.QueryAll(t.Context(), qs.queries)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		q := &qs.queries[i]
		var want error
		if _, impossible := subjectOf(q); impossible {
			want = storage.ErrNotTogether
		} else if coarse && q.Interval == storage.ByHour && (q.Filters != nil || q.GroupBy != nil) {
			want = storage.ErrNotKept
		}
		if !errors.Is(a.Err, want) {
			t.Errorf("%s: error %v, want %v", qs.names[i], a.Err, want)
		}
		if a.Err != nil {
			continue
		}
		qs.compareRows(t, qs.names[i], q, a.Result.Rows, qs.want[i])
		if q.Totals {
			total := []storage.ResultRow{{Day: q.From, Values: a.Result.Totals}}
			whole := *q
			whole.Interval = storage.Whole
			qs.compareRows(t, "totals of "+qs.names[i], &whole, total, qs.totals[i])
		}
	}
	if qs.exact < 100 || qs.bounds < 20 {
		t.Errorf("only %d exact and %d bounded counts were compared", qs.exact, qs.bounds)
	}
}

func (qs *questions) compareRows(t *testing.T, name string, q *storage.Query, rows []storage.ResultRow, want map[string]truth) {
	t.Helper()
	seen := make(map[string]bool)
	for _, row := range rows {
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
		seen[key] = true
		truth := want[key]
		for i, v := range row.Values {
			n := float64(truth.n[i])
			if v.Low > n || v.Number < n || v.AtMost != (v.Low < v.Number) {
				t.Errorf("%s, %s: %s is %g, got %g to %g", name, key, q.Metrics[i], n, v.Low, v.Number)
			}
			switch {
			case v.AtMost && (i > 1 || truth.exact[i]):
				t.Errorf("%s, %s: %s is a bound, %g to %g", name, key, q.Metrics[i], v.Low, v.Number)
			case v.AtMost:
				qs.bounds++
			case i < 2:
				qs.exact++
			}
		}
	}
	for key, truth := range want {
		if truth.n != [4]int{} && !seen[key] {
			t.Errorf("%s: row %s is missing, want %v", name, key, truth.n)
		}
	}
}
