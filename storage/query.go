package storage

import (
	"errors"
	"fmt"
	"slices"
)

// Metric is a number that can be asked for.
type Metric uint8

const (
	// Visitors are distinct visitors of a day; over several days the sum of the daily ones,
	// by hour the distinct visitors of the hour.
	Visitors Metric = iota + 1
	VisitsTotal
	PageViews
	// ViewsPerVisit is page views divided by visits.
	ViewsPerVisit
	// BounceRate is the share of visits with one page view and no interactive event, in percent.
	BounceRate
	// VisitDuration is the mean time from the first to the last hit of a visit, in seconds.
	VisitDuration
	// Events are page views and custom events together.
	Events
	// TimeOnPage is the engaged time of a page divided by the visits that saw it, in seconds; null if none was measured.
	TimeOnPage
	// ScrollDepth is the mean over visits of the deepest scroll position on a page, in percent.
	ScrollDepth

	metrics // one more than the last
)

var metricNames = [metrics]string{
	Visitors: "visitors", VisitsTotal: "visits", PageViews: "pageviews", ViewsPerVisit: "views_per_visit",
	BounceRate: "bounce_rate", VisitDuration: "visit_duration", Events: "events",
	TimeOnPage: "time_on_page", ScrollDepth: "scroll_depth",
}

// String returns the metric's name in the Stats API.
func (m Metric) String() string {
	if m > 0 && m < metrics {
		return metricNames[m]
	}
	return fmt.Sprintf("metric %d", uint8(m))
}

// ParseMetric is the inverse of Metric.String.
func ParseMetric(name string) (Metric, error) {
	for m, n := range metricNames {
		if n == name && n != "" {
			return Metric(m), nil
		}
	}
	return 0, fmt.Errorf("metric %q: unknown; known are visitors, visits, pageviews, views_per_visit, bounce_rate, "+
		"visit_duration, events, time_on_page, scroll_depth", name)
}

// Interval cuts a query's days into buckets.
type Interval uint8

const (
	Whole   Interval = iota // one bucket
	ByHour                  // local clock hours
	ByDay                   // days
	ByWeek                  // weeks, from Monday
	ByMonth                 // calendar months
)

// Order sorts the rows of a result: by a metric, by the bucket, or else by a column.
type Order struct {
	Metric Metric // by this metric, which must be among the query's
	Column Column // by this column, which must be among GroupBy; used if Metric is 0
	Prop   string // key of the property, if Column is Props
	Time   bool   // by the bucket
	Desc   bool
}

// Query asks for metrics of one site over whole days. The dashboard, the Stats API and the command line
// all ask through it.
type Query struct {
	Site     uint32 // Site.ID
	From, To Day    // both inclusive
	Metrics  []Metric
	GroupBy  []Column // at most two
	// PropKeys are the keys of event properties that each Props in GroupBy stands for, in their order.
	PropKeys []string
	Interval Interval
	Filters  []Filter // all of them must hold
	Order    []Order  // default: the bucket ascending if Interval is set, else the first metric descending
	Limit    int      // 0: all rows
	Offset   int
	Totals   bool // Result.Totals is wanted too
}

// Uses reports whether a query groups or filters by a column.
func (q *Query) Uses(c Column) bool {
	return slices.Contains(q.GroupBy, c) || slices.ContainsFunc(q.Filters, func(f Filter) bool { return f.Uses(c) })
}

// Single reports whether each row of the answer speaks of one value of a column: the query groups by it, or its filters
// let only one pass.
func (q *Query) Single(c Column) bool {
	conditions, err := compileFilters(q.Filters)
	p := plan{q: q, conditions: conditions}
	return err == nil && p.single(c)
}

// Result answers a Query.
type Result struct {
	Rows  []ResultRow
	Total int // rows before Limit and Offset
	// Totals is, if asked for, the answer without groups and buckets, from the same state of the store: one for each of
	// Query.Metrics. Distinct visitors and visits of the whole are not the sum of those of the rows.
	Totals []Value
}

// ResultRow is one group. Groups in which all that was asked for is zero are left out: also buckets without hits. A query
// without groups and buckets has always one row.
type ResultRow struct {
	Day    Day // first day of the bucket; Query.From if Interval is Whole
	Hour   int // of the bucket, if Interval is ByHour
	Keys   []string
	Values []Value // one for each of Query.Metrics
}

// Value is the answer for one metric. If Null, the metric has no meaning here (no visits to divide by, or
// a metric of whole visits under a filter over single hits). Where counts of tuples do not hold the exact
// number, AtMost is true: the truth lies between Low and Number.
type Value struct {
	Number float64
	Low    float64
	AtMost bool
	Null   bool
}

// ErrNotTogether says that no table holds the dimensions of a query together, such as an exit page under a
// page filter. The text of the wrapping error names them and can be shown to people.
var ErrNotTogether = errors.New("no table holds these dimensions together")

// ErrTooManyGroups says that an answer has more rows than memory should be spent on. The text of the wrapping error says
// what to do about it.
var ErrTooManyGroups = errors.New("too many groups")

// ErrBadQuery marks a query that is malformed: an unknown column, too many dimensions, a pattern that is none, days in
// the wrong order.
var ErrBadQuery = errors.New("bad query")

// ErrNotKept says that what a query asks about has left the store: hours of combinations, or combinations at all. The text
// of the wrapping error says which and can be shown to people.
var ErrNotKept = errors.New("not kept any more")

// notKept is why a job has no answer: what it asks about has left the store on a day, and all days before it.
type notKept struct {
	day  Day
	left string
}

// What is left where more has been.
const (
	leftHours  = "the totals of each hour are left; ask by day, or without filters and dimensions"
	leftTotals = "totals by one dimension are left; ask without filters, or about later days"
)

func (e *notKept) Error() string {
	return fmt.Sprintf("%v: of %s and before only %s", ErrNotKept, e.day, e.left)
}
func (e *notKept) Unwrap() error { return ErrNotKept }
