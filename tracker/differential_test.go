package tracker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"dachs/storage"
)

// TestAddressAndSecondsLeaveNoTrace counts the same stream twice. In the second run one visitor has another address of the
// same country, and all that happens happens some seconds later: what can be asked of the store afterwards is the same, to
// the letter. A third run, in which two visitors share an address, must not be.
func TestAddressAndSecondsLeaveNoTrace(t *testing.T) {
	run := func(later time.Duration, address func(visitor int) string) string {
		c := newCounting(t)
		c.wait(later)
		r := rand.New(rand.NewPCG(7, 7))
		for range 120 {
			c.wait(time.Duration(r.IntN(40)) * time.Minute)
			visitor := r.IntN(6)
			body := fmt.Sprintf(`{"n":%q,"u":"https://example.com/%d","d":"example.com","r":"https://r%d.example/"}`,
				[]string{"pageview", "pageview", "pageview", "Buy"}[r.IntN(4)], r.IntN(5), r.IntN(3))
			c.hit(body, "X-Forwarded-For: "+address(visitor))
		}
		return everything(t, c.db, c.site.ID)
	}
	german := func(visitor int) string { return fmt.Sprintf("91.0.%d.7", visitor) } // Deutsche Telekom
	moved := func(visitor int) string {
		if visitor == 3 {
			return "91.10.200.99"
		}
		return german(visitor)
	}
	shared := func(visitor int) string { return german(visitor % 5) }
	first := run(0, german)
	if !strings.Contains(first, "[DE]") || strings.Count(first, "\n") < 300 {
		t.Fatalf("the stream is not what the test needs:\n%.2000s", first)
	}
	if second := run(17*time.Second, moved); second != first {
		t.Errorf("another address or other seconds show:\n%s", difference(first, second))
	}
	if third := run(0, shared); third == first {
		t.Error("two visitors at one address do not show: the test cannot fail")
	}
}

// everything is what can be asked about one dimension by the hour, and about two by the day.
func everything(t *testing.T, db *storage.DB, site uint32) string {
	t.Helper()
	first, last, _, err := db.Days(site)
	if err != nil {
		t.Fatal(err)
	}
	var columns []storage.Column
	for c := range storage.Column(64) {
		if !strings.HasPrefix(c.String(), "column") {
			columns = append(columns, c)
		}
	}
	var queries []storage.Query
	ask := func(interval storage.Interval, metrics []storage.Metric, groupBy ...storage.Column) {
		for _, m := range metrics { // some cannot be told together with others
			queries = append(queries, storage.Query{Site: site, From: first, To: last, Metrics: []storage.Metric{m}, GroupBy: groupBy, Interval: interval})
		}
	}
	all := []storage.Metric{storage.Visitors, storage.VisitsTotal, storage.PageViews, storage.Events, storage.ViewsPerVisit,
		storage.BounceRate, storage.VisitDuration, storage.TimeOnPage, storage.ScrollDepth}
	ask(storage.ByHour, all)
	for i, c := range columns {
		ask(storage.ByHour, all, c)
		for _, other := range columns[:i] {
			ask(storage.ByDay, []storage.Metric{storage.Visitors, storage.Events}, c, other)
		}
	}
	answers, err := db.QueryAll(t.Context(), queries)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for i, a := range answers {
		fmt.Fprintln(&out, queries[i].GroupBy, queries[i].Metrics, a.Err)
		for _, row := range a.Result.Rows {
			fmt.Fprintln(&out, row.Day, row.Hour, row.Keys, row.Values)
		}
	}
	return out.String()
}

// difference returns the first lines that differ.
func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] + "\n" + y[i]
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}
