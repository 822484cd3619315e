package dashboard

import (
	"dachs/storage"
)

// panel is one table of the report: visitors by the values of a column.
type panel struct {
	ID     string // in addresses
	Title  string
	Column storage.Column
	// Empty is what the value "" is called. If it is itself empty, tuples without a value are left out.
	Empty string
}

// panelGroup is a row of panels under a common heading.
type panelGroup struct {
	Title  string
	Panels []panel
}

// panelGroups is the report from top to bottom. A new panel is a new line here.
var panelGroups = []panelGroup{
	{"What they read", []panel{
		{"pages", "Pages", storage.Path, "(none)"},
		{"entries", "Entry pages", storage.Entry, "(none)"},
		{"exits", "Exit pages", storage.Exit, "(none)"},
	}},
	{"How they came", []panel{
		{"sources", "Sources", storage.Source, "Direct / none"},
		{"channels", "Channels", storage.Channel, "(none)"},
		{"campaigns", "Campaigns", storage.UTMCampaign, ""},
	}},
	{"Where they are and what they use", []panel{
		{"countries", "Countries", storage.Country, "(unknown)"},
		{"browsers", "Browsers", storage.Browser, "(unknown)"},
		{"systems", "Systems", storage.OS, "(unknown)"},
		{"devices", "Devices", storage.Device, "(unknown)"},
	}},
}

const (
	panelRows     = 10   // of a panel among others
	fullPanelRows = 1000 // of a panel on a page of its own: as much as a browser shows without effort
)

// panelView is a panel with its numbers.
type panelView struct {
	panel
	Rows    []panelRow
	Heading string // of the first column
	Total   int    // rows that there are
	More    string // address of the full list; empty if nothing is missing
	Shares  bool   // shares of all visitors can be told
	Note    string // in place of rows: why there are none
	Clipped bool   // even the full list is not complete
}

// panelRow is one line of a panel.
type panelRow struct {
	Label    string
	Flag     string // emoji, decoration only
	Link     string // the report narrowed to this row, or without that filter if it is there
	Active   bool   // the report is narrowed to this row
	Visitors number
	Share    string // of all visitors in percent, empty if it cannot be told
	Width    string // of the bar in percent of the longest
}

// findPanel returns the panel with an ID.
func findPanel(id string) (panel, bool) {
	for _, g := range panelGroups {
		for _, p := range g.Panels {
			if p.ID == id {
				return p, true
			}
		}
	}
	return panel{}, false
}

// emptyLabel is what the value "" of a column is called.
func emptyLabel(c storage.Column) string {
	for _, g := range panelGroups {
		for _, p := range g.Panels {
			if p.Column == c && p.Empty != "" {
				return p.Empty
			}
		}
	}
	return "(none)"
}

// valueLabel is what people read for a value of a column.
func (s *Server) valueLabel(c storage.Column, value string) string {
	switch {
	case value == "":
		return emptyLabel(c)
	case c == storage.Country:
		return s.countryName(value)
	}
	return value
}

// panelQuery asks for one panel's rows.
func panelQuery(q storage.Query, p panel, limit int) storage.Query {
	q.Metrics = []storage.Metric{storage.Visitors}
	q.GroupBy = []storage.Column{p.Column}
	q.Limit = limit
	// The value breaks ties, so that the same numbers always make the same page.
	q.Order = []storage.Order{{Metric: storage.Visitors, Desc: true}, {Column: p.Column}}
	if p.Empty == "" {
		q.Filters = append(q.Filters[:len(q.Filters):len(q.Filters)],
			storage.Filter{Column: p.Column, Op: storage.IsNot, Values: []string{""}})
	}
	return q
}

// panelView makes the rows of a panel from what the store answered. total is the number of all visitors.
func (s *Server) panelView(st state, p panel, a answer, total storage.Value) panelView {
	res := a.res
	view := panelView{panel: p, Heading: columnLabel(p.Column), Total: res.Total}
	if a.err != nil {
		view.Note = why(a.err, storage.Whole)
		return view
	}
	if len(res.Rows) == 0 {
		view.Note = "Nothing in this period."
		return view
	}
	longest := 0.0
	for _, row := range res.Rows {
		longest = max(longest, row.Values[0].Number)
	}
	for _, row := range res.Rows {
		r := s.panelRow(st, p, row, total, longest)
		view.Shares = view.Shares || r.Share != ""
		view.Rows = append(view.Rows, r)
	}
	if len(res.Rows) < res.Total {
		view.Clipped = st.panel != ""
		if !view.Clipped {
			view.More = st.withPanel(p.ID).link()
		}
	}
	return view
}

func (s *Server) panelRow(st state, p panel, row storage.ResultRow, total storage.Value, longest float64) panelRow {
	value, visitors := row.Keys[0], row.Values[0]
	r := panelRow{
		Label: s.valueLabel(p.Column, value), Visitors: count(visitors), Share: share(visitors, total),
		Width: barWidth(visitors.Number, longest), Active: isFilteredOn(st.filters, p.Column, value),
	}
	if p.Column == storage.Country {
		r.Flag = countryFlag(value)
	}
	target := st.withPanel("")
	if r.Active {
		r.Link = target.withFilters(without(st.filters, p.Column)).link()
	} else {
		r.Link = target.withFilters(filterOn(st.filters, p.Column, value)).link()
	}
	return r
}
