package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"dachs/storage"
)

// In an address a filter is written "op,dimension,value,value...", for example f=is,visit:source,Google.
// A comma or a backslash inside a value is written with a backslash before it.

const (
	// maxFilters and maxFilterValues bound what one address can ask of the store. Nobody reads a report
	// under more conditions than that.
	maxFilters      = 12
	maxFilterValues = 50
	maxFilterLength = 4096 // bytes
)

// operators are the comparisons in the order in which the filter form offers them.
var operators = []struct {
	op         storage.Op
	name, verb string
}{
	{storage.Is, "is", "is"},
	{storage.IsNot, "is_not", "is not"},
	{storage.Contains, "contains", "contains"},
	{storage.ContainsNot, "contains_not", "does not contain"},
	{storage.Matches, "matches", "matches"},
	{storage.MatchesNot, "matches_not", "does not match"},
}

// fields are the dimensions that can be filtered by, in the order of the filter form, with the words that the page
// uses for them.
var fields = []struct {
	column storage.Column
	label  string
}{
	{storage.Path, "Page"}, {storage.Entry, "Entry page"}, {storage.Exit, "Exit page"}, {storage.Hostname, "Host name"},
	{storage.Source, "Source"}, {storage.Channel, "Channel"}, {storage.Referrer, "Referrer"},
	{storage.UTMCampaign, "Campaign"}, {storage.UTMSource, "Campaign source"}, {storage.UTMMedium, "Campaign medium"},
	{storage.UTMTerm, "Campaign term"}, {storage.UTMContent, "Campaign content"},
	{storage.Country, "Country"}, {storage.Region, "Region"}, {storage.City, "City"},
	{storage.Browser, "Browser"}, {storage.BrowserVersion, "Browser version"},
	{storage.OS, "System"}, {storage.OSVersion, "System version"},
	{storage.Device, "Device"}, {storage.Screen, "Screen"}, {storage.Language, "Language"}, {storage.Name, "Event"},
}

func columnLabel(c storage.Column) string {
	for _, f := range fields {
		if f.column == c {
			return f.label
		}
	}
	return c.String()
}

// fieldLabel names what a filter looks at.
func fieldLabel(f storage.Filter) string {
	if f.Column == storage.Props {
		return "Property " + f.Prop
	}
	return columnLabel(f.Column)
}

func operatorName(op storage.Op) string {
	for _, o := range operators {
		if o.op == op {
			return o.name
		}
	}
	return ""
}

// formatFilter writes a filter as parseFilter reads it.
func formatFilter(f storage.Filter) string {
	escape := strings.NewReplacer(`\`, `\\`, `,`, `\,`)
	parts := []string{operatorName(f.Op), escape.Replace(storage.DimensionName(f.Column, f.Prop))}
	for _, v := range f.Values {
		parts = append(parts, escape.Replace(v))
	}
	return strings.Join(parts, ",")
}

// parseFilter reads one filter of an address. Errors are worded for people.
func parseFilter(s string) (storage.Filter, error) {
	var f storage.Filter
	if len(s) > maxFilterLength {
		return f, fmt.Errorf("a filter has at most %d bytes", maxFilterLength)
	}
	parts := splitEscaped(s)
	if len(parts) < 3 {
		return f, fmt.Errorf("filter %q: want an operator, a dimension and a value, such as is,visit:source,Google", s)
	}
	if len(parts)-2 > maxFilterValues {
		return f, fmt.Errorf("a filter has at most %d values", maxFilterValues)
	}
	op, err := parseOperator(parts[0])
	if err != nil {
		return f, err
	}
	column, prop, err := storage.ParseDimension(parts[1])
	if err != nil {
		return f, err
	}
	f = storage.Filter{Column: column, Prop: prop, Op: op, Values: parts[2:]}
	return f, f.Check()
}

func parseOperator(name string) (storage.Op, error) {
	for _, o := range operators {
		if o.name == name {
			return o.op, nil
		}
	}
	return 0, fmt.Errorf("filter operator %q: unknown; known are is, is_not, contains, contains_not, matches, matches_not", name)
}

// splitEscaped cuts s at commas that have no backslash before them, and removes the backslashes.
func splitEscaped(s string) []string {
	var parts []string
	var part strings.Builder
	escaped := false
	for _, b := range []byte(s) {
		switch {
		case escaped:
			part.WriteByte(b)
			escaped = false
		case b == '\\':
			escaped = true
		case b == ',':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(b)
		}
	}
	return append(parts, part.String())
}

// parseFilters reads all filters of an address.
func parseFilters(values []string) ([]storage.Filter, error) {
	if len(values) > maxFilters {
		return nil, fmt.Errorf("a report has at most %d filters", maxFilters)
	}
	var filters []storage.Filter
	for _, v := range values {
		f, err := parseFilter(v)
		if err != nil {
			return nil, err
		}
		filters = append(filters, f)
	}
	return filters, nil
}

// filterOn narrows filters to one value of a column. Other conditions on the column go: the value
// was shown, so it meets them.
func filterOn(filters []storage.Filter, column storage.Column, value string) []storage.Filter {
	return append(without(filters, column), storage.Filter{Column: column, Op: storage.Is, Values: []string{value}})
}

// without returns the filters on other columns.
func without(filters []storage.Filter, column storage.Column) []storage.Filter {
	return slices.DeleteFunc(slices.Clone(filters), func(f storage.Filter) bool { return f.Column == column })
}

// isFilteredOn tells whether filters narrow a column to exactly this value.
func isFilteredOn(filters []storage.Filter, column storage.Column, value string) bool {
	return slices.ContainsFunc(filters, func(f storage.Filter) bool {
		return f.Column == column && f.Op == storage.Is && len(f.Values) == 1 && f.Values[0] == value
	})
}

// redirectFilterForm turns what the filter form sent (three fields) into the address of the report under
// that filter, so that the address in the browser stays one that can be read and shared.
func (s *Server) redirectFilterForm(w http.ResponseWriter, r *http.Request, st state) {
	q := r.URL.Query()
	op, err := parseOperator(q.Get("op"))
	if err == nil && q.Get("column") == "" {
		err = errors.New("choose what to filter by")
	}
	var column storage.Column
	if err == nil {
		column, err = storage.ParseColumn(q.Get("column"))
	}
	if err != nil {
		s.badRequest(w, r, err)
		return
	}
	value := strings.TrimSpace(q.Get("value"))
	if column == storage.Country {
		value = s.countryCode(value)
	}
	f := storage.Filter{Column: column, Op: op, Values: []string{value}}
	if err := f.Check(); err != nil {
		s.badRequest(w, r, err)
		return
	}
	st.filters = append(slices.Clone(st.filters), f)
	http.Redirect(w, r, st.link(), http.StatusSeeOther)
}

// state is everything that the address of a report says.
type state struct {
	domain  string
	period  Period
	filters []storage.Filter
	panel   string // the only panel to show, in full; empty: all of them
}

// link writes the state as an address. Colons, commas and slashes are left as they are: they are allowed
// in a query, and an address is read by people too.
func (st state) link() string {
	var b strings.Builder
	b.WriteString(sitePath(st.domain))
	b.WriteString("?period=" + st.period.Name)
	if st.period.Name == custom {
		b.WriteString("&from=" + st.period.From.String() + "&to=" + st.period.To.String())
	}
	for _, f := range st.filters {
		b.WriteString("&f=" + escapeQuery(formatFilter(f)))
	}
	if st.panel != "" {
		b.WriteString("&panel=" + url.QueryEscape(st.panel))
	}
	return b.String()
}

func escapeQuery(s string) string {
	return strings.NewReplacer("%3A", ":", "%2C", ",", "%2F", "/").Replace(url.QueryEscape(s))
}

// withPeriod, withFilters and withPanel return a changed copy, for links.
func (st state) withPeriod(name string) state               { st.period = Period{Name: name}; return st }
func (st state) withFilters(filters []storage.Filter) state { st.filters = filters; return st }
func (st state) withPanel(id string) state                  { st.panel = id; return st }
