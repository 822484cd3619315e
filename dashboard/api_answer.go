package dashboard

import (
	"math"
	"slices"

	"dachs/storage"
)

// apiAnswer is the JSON of an answer.
type apiAnswer struct {
	Results []apiRow `json:"results"`
	Meta    apiMeta  `json:"meta"`
	Query   apiEcho  `json:"query"`
}

// apiRow is one group. LowerBounds stands beside Metrics where at least one of them is an upper bound; it is
// null for those that are exact.
type apiRow struct {
	Metrics     []any    `json:"metrics"`
	Dimensions  []string `json:"dimensions"`
	LowerBounds []any    `json:"lower_bounds,omitempty"`
}

// apiMeta says how to read the numbers. Notes are ours: a sentence for a metric whose meaning depends on
// the period or the dimensions that were asked for.
type apiMeta struct {
	ImportsIncluded bool                     `json:"imports_included,omitzero"`
	MetricWarnings  map[string]metricWarning `json:"metric_warnings,omitempty"`
	Notes           map[string]string        `json:"notes,omitempty"`
	TimeLabels      []string                 `json:"time_labels,omitempty"`
	TotalRows       *int                     `json:"total_rows,omitempty"`
	Totals          *apiTotals               `json:"totals,omitempty"`
}

// apiTotals are the metrics of the query without its dimensions, as a row has them.
type apiTotals struct {
	Metrics     []any `json:"metrics"`
	LowerBounds []any `json:"lower_bounds,omitempty"`
}

type metricWarning struct {
	Code    string `json:"code"`
	Warning string `json:"warning"`
}

// upperBound is the warning for numbers that the counts do not hold exactly.
var upperBound = metricWarning{
	Code:    "upper_bound",
	Warning: "The counts do not hold these numbers exactly: each is at most this, and at least the one in lower_bounds.",
}

const (
	noteSumOfDays = "Visitors are told apart within a day only: over several days this is the sum of the daily visitors."
	noteByHour    = "Visitors are distinct within their hour: one who comes in two hours counts in both."
)

// apiEcho is the query that was answered; sent again, it asks for the same.
type apiEcho struct {
	SiteID     string      `json:"site_id"`
	Metrics    []string    `json:"metrics"`
	DateRange  [2]string   `json:"date_range"`
	Filters    []apiFilter `json:"filters"`
	Dimensions []string    `json:"dimensions"`
	OrderBy    [][2]string `json:"order_by"`
	Include    apiInclude  `json:"include"`
	Pagination apiPage     `json:"pagination"`
}

func (q *apiQuery) answer(p Period, res storage.Result) apiAnswer {
	a := apiAnswer{Results: make([]apiRow, len(res.Rows)), Meta: q.meta(p, res), Query: q.echo(p)}
	for i, row := range res.Rows {
		a.Results[i] = q.row(p, row)
	}
	return a
}

func (q *apiQuery) row(p Period, row storage.ResultRow) apiRow {
	r := apiRow{Dimensions: make([]string, len(q.dimensions))}
	for i := range q.dimensions {
		if i == q.time {
			r.Dimensions[i] = p.label(row.Day, row.Hour, q.query.Interval)
			continue
		}
		c := q.columnIndex(i)
		r.Dimensions[i] = shownValue(q.query.GroupBy[c], row.Keys[c])
	}
	r.Metrics, r.LowerBounds = q.numbers(row.Values)
	return r
}

// numbers writes values as numbers, null where they have no meaning, and the lower bounds of those that are bounds.
func (q *apiQuery) numbers(values []storage.Value) (numbers, lower []any) {
	numbers = make([]any, len(values))
	for i, v := range values {
		if v.Null {
			continue
		}
		m := q.query.Metrics[i]
		numbers[i] = shownNumber(m, v.Number)
		if v.AtMost {
			if lower == nil {
				lower = make([]any, len(values))
			}
			lower[i] = shownNumber(m, v.Low)
		}
	}
	return numbers, lower
}

// shownNumber rounds as Plausible does: views per visit to cents, everything else to whole visitors, percent or seconds.
func shownNumber(m storage.Metric, n float64) any {
	if m == storage.ViewsPerVisit {
		return math.Round(n*100) / 100
	}
	return int64(math.Round(n))
}

func (q *apiQuery) meta(p Period, res storage.Result) apiMeta {
	m := apiMeta{ImportsIncluded: q.include.Imports}
	if q.include.TimeLabels {
		m.TimeLabels = p.labels(q.query.Interval)
	}
	if q.include.TotalRows {
		m.TotalRows = &res.Total
	}
	if res.Totals != nil {
		numbers, lower := q.numbers(res.Totals)
		m.Totals = &apiTotals{numbers, lower}
	}
	for i, metric := range q.query.Metrics {
		isBound := func(values []storage.Value) bool { return values[i].AtMost && !values[i].Null }
		if slices.ContainsFunc(res.Rows, func(r storage.ResultRow) bool { return isBound(r.Values) }) || res.Totals != nil && isBound(res.Totals) {
			if m.MetricWarnings == nil {
				m.MetricWarnings = map[string]metricWarning{}
			}
			m.MetricWarnings[metric.String()] = upperBound
		}
		if note := q.note(p, metric); note != "" {
			if m.Notes == nil {
				m.Notes = map[string]string{}
			}
			m.Notes[metric.String()] = note
		}
	}
	return m
}

// note says of what a metric speaks, where that is not plain.
func (q *apiQuery) note(p Period, m storage.Metric) string {
	switch {
	case m == storage.Visitors:
		return visitorsNote(p, q.query.Interval)
	case ofEntries(m):
		return enteredNote(q.query)
	}
	return ""
}

// visitorsNote says what "distinct" means for visitors in a bucket, where it is not plainly within a day.
func visitorsNote(p Period, i storage.Interval) string {
	switch {
	case i == storage.ByHour:
		return noteByHour
	case i == storage.ByDay || p.Days() == 1:
		return ""
	}
	return noteSumOfDays
}

func (q *apiQuery) echo(p Period) apiEcho {
	e := apiEcho{
		SiteID:     q.siteID,
		Metrics:    make([]string, len(q.query.Metrics)),
		DateRange:  [2]string{p.From.String(), p.To.String()},
		Filters:    append([]apiFilter{}, q.filters...), // a list in JSON, never null
		Dimensions: append([]string{}, q.dimensions...),
		OrderBy:    q.orderBy,
		Include:    q.include,
		Pagination: apiPage{Limit: q.query.Limit, Offset: q.query.Offset},
	}
	for i, m := range q.query.Metrics {
		e.Metrics[i] = m.String()
	}
	return e
}
