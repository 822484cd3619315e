package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// queryCmd asks for numbers as the Stats API does, and through the same code.
type queryCmd struct {
	Site       string   `help:"Domain of the site." required:"" placeholder:"DOMAIN"`
	Metrics    []string `help:"What to count: visitors, visits, pageviews, views_per_visit, bounce_rate, visit_duration, events, time_on_page, scroll_depth (default ${default})." default:"visitors,visits,pageviews" placeholder:"NAME"`
	Range      string   `help:"Period: day, 7d, 30d, month, 12mo, all, a date, or two dates separated by a comma (default ${default})." default:"7d" placeholder:"PERIOD"`
	Dimensions []string `help:"Group by these: event:page, visit:source, visit:country, event:props:KEY, time:day and so on." placeholder:"NAME"`
	Filter     []string `help:"Keep only this: is, is_not, contains, contains_not, matches or matches_not (regular expressions), then a dimension, then values, one of which must fit. /i after the operator ignores the case. A comma or backslash in a value takes a backslash before it. May be repeated; all must hold." sep:"none" placeholder:"OP,DIMENSION,VALUE,..."`
	Where      string   `help:"Keep only this too, in words: comparisons DIMENSION OPERATOR VALUE,VALUE... joined by and, or, not and parentheses; and binds closer than or. Values with spaces, commas, parentheses or quotes stand in double quotes, with a backslash before quotes and backslashes: visit:country is DE,AT and (event:page matches/i \"^/docs(/|$)\" or not event:props:plan is free)." placeholder:"EXPRESSION"`
	OrderBy    []string `help:"Sort by a metric or dimension; add :asc or :desc (default :desc)." placeholder:"NAME"`
	Totals     bool     `help:"Add a last line with the numbers of all rows together, also of those beyond the limit; not in CSV."`
	Limit      int      `help:"Rows at most (default ${default})." default:"100" placeholder:"N"`
	Format     string   `help:"table, json or csv (default ${default}). Where the counts do not hold a number exactly, a table shows LOWER..UPPER; CSV has the upper bound under the metric's name and the lower one in a column METRIC_at_least after it, which is there if any row needs it, and equals the metric where that is exact." enum:"table,json,csv" default:"table" placeholder:"FORMAT"`
}

// statsQuery is the body of a Stats API request, as far as the command line can ask.
type statsQuery struct {
	SiteID     string     `json:"site_id"`
	Metrics    []string   `json:"metrics"`
	DateRange  any        `json:"date_range"` // a period's name, or two dates
	Dimensions []string   `json:"dimensions,omitempty"`
	Filters    []any      `json:"filters,omitempty"`
	OrderBy    [][]string `json:"order_by,omitempty"`
	Include    *include   `json:"include,omitempty"`
	Pagination pagination `json:"pagination"`
}

type include struct {
	Totals bool `json:"totals"`
}

type pagination struct {
	Limit int `json:"limit"`
}

// statsAnswer is what of a Stats API answer a table needs.
type statsAnswer struct {
	Results []statsRow `json:"results"`
	Meta    struct {
		Totals         *statsRow         `json:"totals"`
		Notes          map[string]string `json:"notes"`
		MetricWarnings map[string]struct {
			Warning string `json:"warning"`
		} `json:"metric_warnings"`
	} `json:"meta"`
}

type statsRow struct {
	Dimensions []string   `json:"dimensions"`
	Metrics    []*float64 `json:"metrics"` // nil: has no meaning here
	// LowerBounds is set where at least one metric is an upper bound; nil in it stands for an exact one.
	LowerBounds []*float64 `json:"lower_bounds"`
}

// Run implements the command.
func (c *queryCmd) Run(ctx context.Context, a *app) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	return a.with(ctx, local{}, func(cl *client) error {
		var raw json.RawMessage
		if err := cl.call(ctx, http.MethodPost, "/query", q, &raw); err != nil {
			return fmt.Errorf("query: %w", err)
		}
		if c.Format == "json" {
			_, err := fmt.Fprintf(a.stdout, "%s\n", raw)
			return err
		}
		return c.write(a.stdout, a.stderr, raw)
	})
}

// query translates the flags.
func (c *queryCmd) query() (statsQuery, error) {
	q := statsQuery{
		SiteID: c.Site, Metrics: c.Metrics, DateRange: c.Range, Dimensions: c.Dimensions,
		Pagination: pagination{Limit: c.Limit},
	}
	if c.Limit < 1 {
		return q, usagef("--limit %d: want at least 1", c.Limit)
	}
	if from, to, two := strings.Cut(c.Range, ","); two {
		q.DateRange = []string{strings.TrimSpace(from), strings.TrimSpace(to)}
	} else if isDate(c.Range) {
		q.DateRange = []string{c.Range, c.Range}
	}
	for _, f := range c.Filter {
		parts := splitFilter(f)
		if len(parts) < 3 {
			return q, usagef("--filter %q: want OP,DIMENSION,VALUE such as is,visit:country,DE", f)
		}
		filter, err := comparison(parts[0], parts[1], parts[2:])
		if err != nil {
			return q, usagef("--filter %q: %w", f, err)
		}
		q.Filters = append(q.Filters, filter)
	}
	if c.Where != "" {
		filter, err := parseWhere(c.Where)
		if err != nil {
			return q, usagef("--where: %w", err)
		}
		q.Filters = append(q.Filters, filter)
	}
	if c.Totals {
		if c.Format == "csv" {
			return q, usagef("--totals: not with --format csv, where the totals would look like one more row; use json, or ask again without --dimensions")
		}
		q.Include = &include{Totals: true}
	}
	for _, o := range c.OrderBy {
		name, direction := o, "desc"
		if i := strings.LastIndexByte(o, ':'); i > 0 && slices.Contains([]string{"asc", "desc"}, o[i+1:]) {
			name, direction = o[:i], o[i+1:]
		}
		q.OrderBy = append(q.OrderBy, []string{name, direction})
	}
	return q, nil
}

// splitFilter cuts a filter at its commas and takes the backslashes away that keep commas within values,
// the same way as in the dashboard's addresses.
func splitFilter(f string) []string {
	parts, escaped := []string{""}, false
	for _, r := range f {
		last := &parts[len(parts)-1]
		switch {
		case !escaped && r == '\\':
			escaped = true
			continue
		case !escaped && r == ',':
			parts = append(parts, "")
		default:
			*last += string(r)
		}
		escaped = false
	}
	return parts
}

// isDate tells a single day such as 2026-01-31 from a period's name.
func isDate(s string) bool { return len(s) == 10 && s[4] == '-' && s[7] == '-' }

// write prints the answer as a table or CSV, and what must be said of a metric as a line beside it.
func (c *queryCmd) write(stdout, stderr io.Writer, raw []byte) error {
	var ans statsAnswer
	if err := json.Unmarshal(raw, &ans); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	rows := c.rows(&ans)
	for _, metric := range c.Metrics {
		if w, ok := ans.Meta.MetricWarnings[metric]; ok {
			fmt.Fprintf(stderr, "%s: %s\n", metric, printable(w.Warning))
		}
		if note, ok := ans.Meta.Notes[metric]; ok {
			fmt.Fprintf(stderr, "%s: %s\n", metric, printable(note))
		}
	}
	if c.Format == "csv" {
		w := csv.NewWriter(stdout)
		return w.WriteAll(rows)
	}
	return writeTable(stdout, rows)
}

// rows returns the cells, the column names first.
func (c *queryCmd) rows(ans *statsAnswer) [][]string {
	head, bounded := slices.Clone(c.Dimensions), ans.bounded()
	for i, m := range c.Metrics {
		head = append(head, m)
		if c.Format == "csv" && bounded[i] {
			head = append(head, m+"_at_least")
		}
	}
	rows := [][]string{head}
	for i := range ans.Results {
		rows = append(rows, c.row(&ans.Results[i], bounded))
	}
	if t := ans.Meta.Totals; t != nil && len(c.Dimensions) > 0 {
		t.Dimensions = make([]string, len(c.Dimensions))
		t.Dimensions[0] = "(total)"
		rows = append(rows, c.row(t, bounded))
	}
	return rows
}

// row returns the cells of one row. Metrics that are bounds in any row have two in CSV.
func (c *queryCmd) row(r *statsRow, bounded map[int]bool) (row []string) {
	for _, d := range r.Dimensions {
		row = append(row, c.cell(d))
	}
	for i, m := range r.Metrics {
		lower := m // an exact number is its own lower bound
		if i < len(r.LowerBounds) && r.LowerBounds[i] != nil {
			lower = r.LowerBounds[i]
		}
		switch {
		case c.Format == "csv" && bounded[i]:
			row = append(row, c.number(m), c.number(lower))
		case c.Format == "table" && lower != m:
			row = append(row, c.number(lower)+".."+c.number(m))
		default:
			row = append(row, c.number(m))
		}
	}
	return row
}

// bounded says which metrics, by their place, have a lower bound in any row.
func (ans *statsAnswer) bounded() map[int]bool {
	found := map[int]bool{}
	for _, r := range ans.Results {
		for i, lower := range r.LowerBounds {
			found[i] = found[i] || lower != nil
		}
	}
	return found
}

// number writes a metric: whole if it is, with one digit if not, and "-" or nothing where it has no meaning.
func (c *queryCmd) number(v *float64) string {
	switch {
	case v == nil && c.Format == "csv":
		return ""
	case v == nil:
		return "-"
	case *v == float64(int64(*v)):
		return strconv.FormatInt(int64(*v), 10)
	case c.Format == "csv":
		return strconv.FormatFloat(*v, 'f', -1, 64)
	}
	return strconv.FormatFloat(*v, 'f', 1, 64)
}

// cell writes a dimension's value, which a stranger may have chosen: it must neither steer a terminal nor
// run as a formula in a spreadsheet.
func (c *queryCmd) cell(s string) string {
	s = printable(s)
	if c.Format == "csv" && s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}

// printable replaces characters that control a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
