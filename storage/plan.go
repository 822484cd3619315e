package storage

import (
	"fmt"
	"slices"
	"strings"
)

// maxGroupBy is how many columns a query may group by, besides time.
const maxGroupBy = 2

// unit says what "it" is in "the first of it": which tuples of Hits count visitors and visits, and how those
// of several values add up.
type unit uint8

const (
	unitVisit unit = iota // no column of single hits is involved: the table Visits knows
	unitPath              // page views by path
	unitName              // events by name; page views count as one of them
	unitHost              // hostnames
)

// plan says which table answers which metric of a query. The rules:
//
//   - Without a column of single hits the table Visits answers. By hour, page views and events come from Hits,
//     which knows the hour of each, unless the exit page is involved: then they are those of visits that began
//     in the hour.
//   - With one, visitors and visits come from Hits by the measures "first of it"; bounce rate, visit duration
//     and views per visit by page speak of the visits that entered there, under other columns they are null.
//   - Exit page and columns of single hits are nowhere held together.
type plan struct {
	q           *Query
	unit        unit
	exit        bool // the exit page is involved
	hits        bool // table Hits is read
	visits      bool // table Visits is read
	wants       [metrics]bool
	pageOnly    bool   // the only column of single hits is Path: Visits answers by entry page
	singleWhole bool   // page views and events come from Visits
	filterText  string // the filters of equal texts select the same rows
	set         bool   // several paths, names or hosts may fall into one group: bounds instead of sums
}

// uses reports whether a query groups or filters by a column.
func (q *Query) uses(c Column) bool {
	return slices.Contains(q.GroupBy, c) || slices.ContainsFunc(q.Filters, func(f Filter) bool { return f.Column == c })
}

// single reports whether each group holds only one value of a column.
func (q *Query) single(c Column) bool {
	return slices.Contains(q.GroupBy, c) || slices.ContainsFunc(q.Filters, func(f Filter) bool {
		return f.Column == c && f.Op == Is && len(f.Values) == 1
	})
}

func badQuery(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBadQuery}, args...)...)
}

// validate checks what can be checked without data.
func (q *Query) validate() error {
	if q.From > q.To {
		return badQuery("the first day %s lies after the last day %s", q.From, q.To)
	}
	if len(q.Metrics) == 0 {
		return badQuery("no metrics")
	}
	for _, m := range q.Metrics {
		if m == 0 || m >= metrics {
			return badQuery("unknown metric %d", m)
		}
	}
	if len(q.GroupBy) > maxGroupBy {
		return badQuery("%d dimensions, at most %d besides time", len(q.GroupBy), maxGroupBy)
	}
	for i, c := range q.GroupBy {
		if c >= columns || columnNames[c] == "" {
			return badQuery("unknown dimension %d", c)
		}
		if slices.Contains(q.GroupBy[:i], c) {
			return badQuery("dimension %s twice", c)
		}
	}
	for _, f := range q.Filters {
		if f.Column >= columns || columnNames[f.Column] == "" {
			return badQuery("filter over unknown dimension %d", f.Column)
		}
		if f.Op > Contains || len(f.Values) == 0 {
			return badQuery("filter over %s without values", f.Column)
		}
	}
	return q.validateOrder()
}

func (q *Query) validateOrder() error {
	for _, o := range q.Order {
		switch {
		case o.Metric != 0 && !slices.Contains(q.Metrics, o.Metric):
			return badQuery("order by %s, which is not among the metrics", o.Metric)
		case o.Metric == 0 && o.Time && q.Interval == Whole:
			return badQuery("order by time without an interval")
		case o.Metric == 0 && !o.Time && !slices.Contains(q.GroupBy, o.Column):
			return badQuery("order by %s, which is not among the dimensions", o.Column)
		}
	}
	if q.Limit < 0 || q.Offset < 0 {
		return badQuery("limit and offset must not be negative")
	}
	return nil
}

// newPlan decides where each metric comes from.
func newPlan(q *Query) (*plan, error) {
	if err := q.validate(); err != nil {
		return nil, err
	}
	p := &plan{q: q, exit: q.uses(Exit), filterText: filterText(q.Filters)}
	for _, m := range q.Metrics {
		p.wants[m] = true
	}
	var involved []Column // columns of single hits
	for _, c := range []Column{Path, Name, Hostname} {
		if q.uses(c) && !(c == Name && q.onlyPageViews()) {
			involved = append(involved, c)
		}
	}
	if err := p.chooseUnit(involved, q.uses(Name)); err != nil {
		return nil, err
	}
	p.chooseTables()
	return p, nil
}

// onlyPageViews reports whether the filters over Name let page views pass and nothing else.
func (q *Query) onlyPageViews() bool {
	return slices.ContainsFunc(q.Filters, func(f Filter) bool {
		return f.Column == Name && f.Op == Is && len(f.Values) == 1 && f.Values[0] == PageViewName
	})
}

func (p *plan) chooseUnit(involved []Column, named bool) error {
	if p.exit && (len(involved) > 0 || named) {
		cols := append([]Column{Exit}, involved...)
		if len(involved) == 0 {
			cols = append(cols, Name)
		}
		return notTogether(cols)
	}
	distinct := p.wants[Visitors] || p.wants[VisitsTotal]
	switch {
	case len(involved) == 0 && !named:
		p.unit = unitVisit
	case len(involved) == 0 || len(involved) == 1 && involved[0] == Path:
		p.unit = unitPath
	case named && involved[0] == Hostname && distinct: // the rows of hostnames have no name
		return notTogether([]Column{Name, Hostname})
	case len(involved) > 1 && distinct:
		return notTogether(involved)
	case involved[0] == Name || len(involved) > 1:
		p.unit = unitName
	default:
		p.unit = unitHost
	}
	p.pageOnly = len(involved) == 1 && involved[0] == Path && !named
	switch p.unit {
	case unitPath:
		p.set = !p.q.single(Path)
	case unitName:
		p.set = !p.q.single(Name) || slices.Contains(p.q.GroupBy, Name) // page views are a set of paths
	case unitHost:
		p.set = !p.q.single(Hostname)
	}
	return nil
}

func notTogether(cols []Column) error {
	names := make([]string, len(cols))
	for i, c := range cols {
		names[i] = c.String()
	}
	return fmt.Errorf("%w: %s; ask for them one at a time, or for pageviews and events only where single hits are meant",
		ErrNotTogether, strings.Join(names, ", "))
}

func (p *plan) chooseTables() {
	distinct := p.wants[Visitors] || p.wants[VisitsTotal]
	whole := p.wants[ViewsPerVisit] || p.wants[BounceRate] || p.wants[VisitDuration]
	single := p.wants[PageViews] || p.wants[Events]
	onPage := p.wants[TimeOnPage] || p.wants[ScrollDepth]
	p.singleWhole = p.exit || p.unit == unitVisit && p.q.Interval != ByHour
	p.visits = distinct && p.unit == unitVisit || whole && p.wholeVisits() || single && p.singleWhole
	p.hits = !p.exit && (distinct && p.unit != unitVisit || single && !p.singleWhole || onPage)
}

// wholeVisits reports whether metrics of whole visits have a meaning here.
func (p *plan) wholeVisits() bool { return p.unit == unitVisit || p.pageOnly }

// column says which column of a table stands for c: the page of a visit as a whole is its entry page.
func (p *plan) column(t Table, c Column) Column {
	if t == Visits && c == Path {
		return Entry
	}
	return c
}

// passes reports whether a value of the filter's column passes.
func (f *Filter) passes(value string) bool {
	for _, v := range f.Values {
		if f.Op == Contains && strings.Contains(value, v) || f.Op != Contains && value == v {
			return f.Op != IsNot
		}
	}
	return f.Op == IsNot
}
