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
	unitProp              // events by name and properties; page views have none
)

// plan says which table answers which metric of a query. The rules:
//
//   - Without a column of single hits the table Visits answers. By hour, page views and events come from Hits,
//     which knows the hour of each, unless the exit page is involved: then they are those of visits that began
//     in the hour.
//   - With one, visitors and visits come from Hits by the measures "first of it"; bounce rate, visit duration
//     and views per visit by page speak of the visits that entered there, under other columns they are null.
//   - Exit page and columns of single hits are nowhere held together.
//   - Visitors by properties are not counted by the hour.
//
// A filter counts by the columns that stand anywhere in its tree: what an "or" joins must be held together too.
type plan struct {
	q           *Query
	conditions  []*condition // all of them must hold
	texts       []string     // of the conditions up to each
	props       []string     // for each of GroupBy: key of the property
	unit        unit
	exit        bool // the exit page is involved
	hits        bool // table Hits is read
	visits      bool // table Visits is read
	wants       [metrics]bool
	notes       string // kind of the notes that are counted in place of hits
	pageOnly    bool   // the only column of single hits is Path: Visits answers by entry page
	singleWhole bool   // page views and events come from Visits
	set         bool   // several paths, names, hosts or tuples of properties may fall into one group: bounds instead of sums
	oneMember   bool   // but of events each group has one name
}

// single reports whether each group holds only one value of a column.
func (p *plan) single(c Column) bool {
	_, pinned := pinned(p.conditions, c)
	return pinned || slices.Contains(p.q.GroupBy, c)
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
	props, err := q.groupProps()
	if err != nil {
		return err
	}
	for i, c := range q.GroupBy {
		if err := checkColumn(c, props[i]); err != nil {
			return badQuery("group by %w", err)
		}
		for k := range i {
			if q.GroupBy[k] == c && props[k] == props[i] {
				return badQuery("dimension %s twice", DimensionName(c, props[i]))
			}
		}
	}
	return q.validateOrder()
}

// groupProps gives each of GroupBy the key of its property, which is empty for other columns.
func (q *Query) groupProps() ([]string, error) {
	props, keys := make([]string, len(q.GroupBy)), q.PropKeys
	for i, c := range q.GroupBy {
		if c == Props && len(keys) > 0 {
			props[i], keys = keys[0], keys[1:]
		}
	}
	if len(keys) > 0 {
		return nil, badQuery("more keys of properties than dimensions that are properties")
	}
	return props, nil
}

// dimension returns where a dimension stands in GroupBy, -1 if it does not.
func (q *Query) dimension(c Column, prop string) int {
	props, err := q.groupProps()
	if err != nil {
		return -1
	}
	for i, g := range q.GroupBy {
		if g == c && props[i] == prop {
			return i
		}
	}
	return -1
}

func (q *Query) validateOrder() error {
	for _, o := range q.Order {
		switch {
		case o.Metric != 0 && !slices.Contains(q.Metrics, o.Metric):
			return badQuery("order by %s, which is not among the metrics", o.Metric)
		case o.Metric == 0 && o.Time && q.Interval == Whole:
			return badQuery("order by time without an interval")
		case o.Metric == 0 && !o.Time && q.dimension(o.Column, o.Prop) < 0:
			return badQuery("order by %s, which is not among the dimensions", DimensionName(o.Column, o.Prop))
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
	p := &plan{q: q}
	var err error
	if p.conditions, err = compileFilters(q.Filters); err != nil {
		return nil, err
	}
	p.props, _ = q.groupProps() // validated above
	text := ""
	for _, c := range p.conditions {
		text += c.text
		p.texts = append(p.texts, text)
	}
	for _, m := range q.Metrics {
		p.wants[m] = true
	}
	p.exit = p.q.Uses(Exit)
	named, name := p.q.Uses(Name), ""
	if value, ok := pinned(p.conditions, Name); ok {
		name = value
	}
	var involved []Column // columns of single hits
	for _, c := range []Column{Path, Name, Props, Hostname} {
		if p.q.Uses(c) && !(c == Name && name == PageViewName) {
			involved = append(involved, c)
		}
	}
	if err := p.chooseUnit(involved, named); err != nil {
		return nil, err
	}
	p.chooseTables()
	return p, nil
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
	last := Column(0)
	if len(involved) > 0 {
		last = involved[len(involved)-1]
	}
	switch {
	case len(involved) == 0 && !named:
		p.unit = unitVisit
	case len(involved) == 0 || len(involved) == 1 && last == Path:
		p.unit = unitPath
	case named && last == Hostname && distinct: // the rows of hostnames have no name
		return notTogether(slices.Compact(append([]Column{Name}, involved...)))
	case last == Props && (len(involved) == 1 || len(involved) == 2 && involved[0] == Name):
		p.unit = unitProp
		if p.wants[Visitors] && p.q.Interval == ByHour {
			return fmt.Errorf("%w: visitors by a property of events are counted by the day and not by the hour; "+
				"ask by day, or for visits, pageviews or events", ErrNotTogether)
		}
	case len(involved) > 1 && distinct:
		return notTogether(involved)
	case last == Hostname && len(involved) == 1:
		p.unit = unitHost
	default:
		p.unit = unitName
	}
	p.pageOnly = len(involved) == 1 && last == Path && !named
	switch p.unit {
	case unitPath:
		p.set = !p.single(Path)
	case unitName:
		p.oneMember = p.single(Name)
		p.set = !p.oneMember || slices.Contains(p.q.GroupBy, Name) // page views are a set of paths
	case unitHost:
		p.set = !p.single(Hostname)
	case unitProp:
		p.set = true // several tuples may have the value
	}
	return nil
}

func notTogether(cols []Column) error {
	names := make([]string, len(cols))
	for i, c := range cols {
		if names[i] = c.String(); c == Props {
			names[i] = "event:props"
		}
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

// countsSingle reports whether single hits are counted in the table Hits, besides visitors and visits.
func (p *plan) countsSingle() bool {
	return !p.singleWhole && (p.wants[PageViews] || p.wants[Events]) || p.wants[TimeOnPage] || p.wants[ScrollDepth]
}
