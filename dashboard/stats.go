package dashboard

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"dachs/storage"
)

const (
	// defaultPeriod is what a report shows unless asked otherwise; a site that was first seen today starts
	// with today, where its numbers arrive hour by hour.
	defaultPeriod = "30d"
	today         = "day"

	// notTogether stands in place of numbers that no table can give. See storage.ErrNotTogether.
	notTogether = "These numbers are not kept together with the current filters. Remove one of them to see this."
	// noHours and noDetails do where time has passed over them. See storage.ErrNotKept.
	noHours   = "Of these days only the totals of each hour are kept. Remove the filters to see them."
	noDetails = "Of some of these days only totals are kept. Remove the filters, or choose later days, to see this."
	// tooMany stands in place of a list that takes more memory than a page is worth. See storage.ErrTooManyGroups.
	tooMany = "There are too many different values in this period. Choose fewer days, or set a filter."
)

// why says why the store has no answer.
func why(err error, i storage.Interval) string {
	switch {
	case errors.Is(err, storage.ErrTooManyGroups):
		return tooMany
	case errors.Is(err, storage.ErrNotKept) && i == storage.ByHour:
		return noHours
	case errors.Is(err, storage.ErrNotKept):
		return noDetails
	}
	return notTogether
}

// periodLinks are the periods that the page offers beside a custom one.
var periodLinks = []struct{ name, label string }{
	{today, "Today"}, {"7d", "7 days"}, {"30d", "30 days"}, {"month", "This month"}, {"12mo", "12 months"}, {"all", "All"},
}

// reportPage is the view of report.gohtml.
type reportPage struct {
	page
	Domain, Zone string
	Home         string // the report of the same period without filters
	TagLink      string
	Empty        bool // the site has had no hits
	Tag          string

	Periods     []periodLink
	Custom      customForm
	Filter      filterForm
	Chips       []chip
	Span        string // what the numbers speak of
	Before      string // what they are compared with; empty if there is nothing to compare with
	Unfinished  bool   // the period does not end before today
	SeveralDays bool

	Tiles    []tile
	TileNote string // in place of tiles
	Entered  string // says that some tiles speak of other visits than the rest
	Chart    *chart
	Groups   []groupView
	Single   *panelView // the one panel of a full list
	Back     string     // from the full list to the report
	Bounds   bool       // some number is an upper bound
	Refusals []refusalRow
	Replaced []refusalRow
}

type periodLink struct {
	Label, Link string
	Current     bool
}

// hidden is state that a form carries along.
type hidden struct{ Name, Value string }

type customForm struct {
	Action   string
	Hidden   []hidden
	From, To storage.Day
	Last     storage.Day // today
	Current  bool
}

type filterForm struct {
	Action    string
	Hidden    []hidden
	Fields    []option
	Operators []option
}

type option struct{ Value, Label string }

// chip is a filter in force.
type chip struct{ Field, Verb, Value, Remove string }

type groupView struct {
	ID, Title string
	Panels    []panelView
}

// showReport answers GET /sites/{domain}: parse, ask, render.
func (s *Server) showReport(w http.ResponseWriter, r *http.Request) {
	site, ok := s.store.Site(r.PathValue("domain"))
	if !ok {
		s.notFound(w, r)
		return
	}
	first, _, counted, err := s.store.Days(site.ID)
	if err != nil {
		s.fail(w, r, "read days", err)
		return
	}
	now := s.now().In(site.Location())
	if !counted {
		first = storage.DayOf(now)
	}
	st, err := parseState(r, site, now, first)
	if err != nil {
		s.badRequest(w, r, err)
		return
	}
	if r.URL.Query().Has("column") {
		s.redirectFilterForm(w, r, st)
		return
	}
	view := s.reportFrame(r, site, st, now)
	// Filters say nothing of what was not counted.
	if st.panel == "" && len(st.filters) == 0 {
		if view.Refusals, err = s.notes(r.Context(), site, st.period, storage.KindRefused, refusalTexts); err != nil {
			s.fail(w, r, "query refusals", err)
			return
		}
		if view.Replaced, err = s.notes(r.Context(), site, st.period, storage.KindReplaced, replacedTexts); err != nil {
			s.fail(w, r, "query replacements", err)
			return
		}
	}
	if !counted {
		view.Empty, view.Tag = true, s.tag(r, site)
		s.render(w, r, http.StatusOK, "report", view)
		return
	}
	a, err := s.ask(r.Context(), site, st, first)
	switch {
	case errors.Is(err, storage.ErrBadQuery):
		s.badRequest(w, r, err)
	case err != nil:
		s.fail(w, r, "query report", err)
	default:
		s.fillReport(&view, st, a, now)
		s.render(w, r, http.StatusOK, "report", view)
	}
}

// parseState reads what an address says. Errors are worded for people.
func parseState(r *http.Request, site storage.Site, now time.Time, first storage.Day) (state, error) {
	q := r.URL.Query()
	name := q.Get("period")
	if name == "" {
		name = defaultPeriod
		if first >= storage.DayOf(now) {
			name = today
		}
	}
	period, err := ParsePeriod(name, q.Get("from"), q.Get("to"), now, first)
	if err != nil {
		return state{}, err
	}
	filters, err := parseFilters(q["f"])
	if err != nil {
		return state{}, err
	}
	if _, ok := findPanel(q.Get("panel")); !ok && q.Get("panel") != "" {
		return state{}, errors.New("there is no such list")
	}
	return state{domain: site.Domain, period: period, filters: filters, panel: q.Get("panel")}, nil
}

// answer is what the store said to one question; at most one of the two is set.
type answer struct {
	res storage.Result
	err error // wraps storage.ErrNotTogether, ErrNotKept or ErrTooManyGroups
}

// answers is all that a report shows.
type answers struct {
	now, before []storage.Value // one for each of tileMetrics; nil if they cannot be told
	untold      error           // why now cannot
	compared    bool            // there is a period before
	chart       answer
	parts       map[storage.Day]map[string]int64 // days that were counted in parts
	panels      map[string]answer                // by panel.ID
}

// ask puts the questions of a report to the store, all at once: the store reads what they have in common once, and
// all numbers of a page are of the same moment. An error is one of the whole page; what only cannot be told
// together stays in its own answer.
func (s *Server) ask(ctx context.Context, site storage.Site, st state, first storage.Day) (*answers, error) {
	q := storage.Query{Site: site.ID, From: st.period.From, To: st.period.To, Filters: st.filters}
	tiles := q
	tiles.Metrics = tileMetrics()
	queries := []storage.Query{tiles}
	before := st.period.Before()
	compared := before.To >= first
	if compared {
		tiles.From, tiles.To = before.From, before.To
		queries = append(queries, tiles)
	}
	if st.panel == "" {
		series := q
		series.Metrics = []storage.Metric{storage.Visitors, storage.PageViews}
		series.Interval = st.period.Interval
		queries = append(queries, series)
	}
	panels, limit := panelsOf(st)
	for _, p := range panels {
		queries = append(queries, panelQuery(q, p, limit))
	}
	found, err := s.store.QueryAll(ctx, queries)
	if err != nil {
		return nil, err
	}
	a, err := sortAnswers(st, panels, compared, found)
	if err == nil && st.panel == "" {
		a.parts, err = s.store.Notes(ctx, site.ID, storage.KindParts, st.period.From, st.period.To)
		err = tolerate(err)
	}
	return a, err
}

// sortAnswers gives each answer its place, in the order in which ask has put the questions.
func sortAnswers(st state, panels []panel, compared bool, found []storage.Answer) (*answers, error) {
	for _, f := range found {
		if err := tolerate(f.Err); err != nil {
			return nil, err
		}
	}
	next := func() storage.Answer {
		f := found[0]
		found = found[1:]
		return f
	}
	a := &answers{compared: compared, panels: map[string]answer{}}
	a.untold = found[0].Err
	a.now = totals(next(), tileMetrics())
	if compared {
		a.before = totals(next(), tileMetrics())
	}
	if st.panel == "" {
		f := next()
		a.chart = answer{f.Result, f.Err}
	}
	for _, p := range panels {
		f := next()
		a.panels[p.ID] = answer{f.Result, f.Err}
	}
	return a, nil
}

// panelsOf lists the panels that a state shows, and how many rows of each.
func panelsOf(st state) (panels []panel, limit int) {
	if p, ok := findPanel(st.panel); ok {
		return []panel{p}, fullPanelRows
	}
	for _, g := range panelGroups {
		panels = append(panels, g.Panels...)
	}
	return panels, panelRows
}

// tolerate lets pass what the page can say in a sentence.
func tolerate(err error) error {
	if errors.Is(err, storage.ErrNotTogether) || errors.Is(err, storage.ErrNotKept) || errors.Is(err, storage.ErrTooManyGroups) {
		return nil
	}
	return err
}

// totals are the metrics of a whole period, nil if they cannot be told.
func totals(a storage.Answer, metrics []storage.Metric) []storage.Value {
	if a.Err != nil || len(a.Result.Rows) == 0 {
		return nil
	}
	return a.Result.Rows[0].Values[:len(metrics)]
}

// reportFrame fills in what needs no numbers.
func (s *Server) reportFrame(r *http.Request, site storage.Site, st state, now time.Time) reportPage {
	last := storage.DayOf(now)
	view := reportPage{
		page: s.page(r, site.Domain), Domain: site.Domain, Zone: site.TimeZone,
		Home: st.withPanel("").withFilters(nil).link(), TagLink: sitePath(site.Domain) + "/tag",
		Span: span(st.period.From, st.period.To), SeveralDays: st.period.Days() > 1,
		Unfinished: last <= st.period.To,
		Custom: customForm{
			Action: sitePath(site.Domain), Hidden: append([]hidden{{"period", custom}}, hiddenFilters(st)...),
			From: st.period.From, To: st.period.To, Last: last, Current: st.period.Name == custom,
		},
		Filter: filterForm{Action: sitePath(site.Domain), Hidden: append(hiddenPeriod(st), hiddenFilters(st)...)},
	}
	for _, p := range periodLinks {
		view.Periods = append(view.Periods, periodLink{p.label, st.withPeriod(p.name).link(), p.name == st.period.Name})
	}
	for _, f := range fields {
		if f.column == storage.Screen {
			continue // the script sends no width, so there is seldom a value to type; addresses and the API may name it
		}
		view.Filter.Fields = append(view.Filter.Fields, option{f.column.String(), f.label})
	}
	for _, o := range operators {
		view.Filter.Operators = append(view.Filter.Operators, option{o.name, o.verb})
	}
	for i, f := range st.filters {
		view.Chips = append(view.Chips, s.chip(st, i, f))
	}
	return view
}

func (s *Server) chip(st state, i int, f storage.Filter) chip {
	c := chip{Field: fieldLabel(f), Remove: st.withFilters(slices.Delete(slices.Clone(st.filters), i, i+1)).link()}
	for _, o := range operators {
		if o.op == f.Op {
			c.Verb = o.verb
		}
	}
	for j, v := range f.Values {
		if j > 0 {
			c.Value += " or "
		}
		c.Value += s.valueLabel(f.Column, v)
	}
	return c
}

func hiddenPeriod(st state) []hidden {
	h := []hidden{{"period", st.period.Name}}
	if st.period.Name == custom {
		h = append(h, hidden{"from", st.period.From.String()}, hidden{"to", st.period.To.String()})
	}
	return h
}

func hiddenFilters(st state) (h []hidden) {
	for _, f := range st.filters {
		h = append(h, hidden{"f", formatFilter(f)})
	}
	return h
}

// fillReport puts the numbers into the page.
func (s *Server) fillReport(view *reportPage, st state, a *answers, now time.Time) {
	if a.compared {
		before := st.period.Before()
		view.Before = span(before.From, before.To)
	}
	total := storage.Value{Null: true}
	if a.now == nil {
		view.TileNote = why(a.untold, storage.Whole)
	} else {
		total = a.now[0]
		view.Tiles = tiles(a.now, a.before, view.Unfinished)
		view.Entered = enteredNote(storage.Query{Filters: st.filters})
	}
	if st.panel != "" {
		p, _ := findPanel(st.panel)
		single := s.panelView(st, p, a.panels[p.ID], total)
		view.Single, view.Back = &single, st.withPanel("").link()
	} else {
		view.Chart = newChart(st, a.chart, now)
		view.Chart.mark(st.period, a.parts)
		for _, g := range panelGroups {
			group := groupView{ID: g.Panels[0].ID + "-group", Title: g.Title}
			for _, p := range g.Panels {
				group.Panels = append(group.Panels, s.panelView(st, p, a.panels[p.ID], total))
			}
			view.Groups = append(view.Groups, group)
		}
	}
	view.Bounds = hasBounds(view)
}

// hasBounds tells whether the page shows a number that needs the explanation of "≤".
func hasBounds(view *reportPage) bool {
	panels := func(yield func(panelView) bool) {
		for _, g := range view.Groups {
			for _, p := range g.Panels {
				if !yield(p) {
					return
				}
			}
		}
		if view.Single != nil {
			yield(*view.Single)
		}
	}
	for p := range panels {
		if slices.ContainsFunc(p.Rows, func(r panelRow) bool { return r.Visitors.Bound }) {
			return true
		}
	}
	return slices.ContainsFunc(view.Tiles, func(t tile) bool { return t.Value.Bound }) || view.Chart != nil && view.Chart.Bounds
}
