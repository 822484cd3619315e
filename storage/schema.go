package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Table names one cube of counts. A table is a schema, the engine is one.
type Table uint8

const (
	// Hits counts page views and events, one tuple for each combination of Hour, Kind, Name, Path and so on.
	Hits Table = 1
	// Visits counts visits as wholes: entry and exit page, bounces, seconds.
	Visits Table = 2
)

// Column is one dimension of a tuple. Both tables share the names; each has its own choice of them.
// Numbers are part of the format on disk: never reorder, only append.
type Column uint8

const (
	Hour     Column = iota // local clock hour, "00" to "23"; in Visits that of the visit's start; empty in days that are coarse
	Kind                   // KindPageView, KindEvent, KindHost, or that of a note
	Name                   // event name; "pageview" for page views, empty for KindHost; of a note what it counts
	Path                   // path of the page that the hit speaks of
	Previous               // path of the page view before it: of the visit, or of the day where Visitors are booked; empty if none
	Hostname               // host of the page; in Visits that of the first hit
	Props                  // canonical encoding of an event's properties
	Currency               // ISO 4217 code of Revenue
	Entry                  // path of the visit's first page view; empty while there is none
	Exit                   // path of the visit's last page view; Visits only
	Source
	Channel
	Referrer // host and path
	UTMSource
	UTMMedium
	UTMCampaign
	UTMTerm
	UTMContent
	Country // ISO 3166-1 alpha-2
	Region
	City
	Browser
	BrowserVersion // major
	OS
	OSVersion // major
	Device
	Screen
	Language
	RollupOf // rollups only: which column RollupValue is one of
	RollupValue

	columns // count of the above
)

// Values of the column Kind.
const (
	KindPageView = "pageview"
	KindEvent    = "event"
	// KindHost marks tuples with no count of their own: the first hit of a hostname in a visit,
	// a day or an hour, which makes visitors by hostname exact.
	KindHost = "host"
	// KindRefused marks notes of how many hits were not counted: Name is the reason, and nothing else is set but the hour.
	KindRefused = "refused"
	// KindReplaced marks notes of how many texts were replaced in hits that were counted: Name says of what kind.
	KindReplaced = "replaced"
	// KindParts marks notes that a day goes on without knowing who was there before, since the server was restarted: Name is
	// "restart". Who came before and after is counted twice.
	KindParts = "parts"
)

// PageViewName is the value of the column Name for page views, as in Plausible's API.
const PageViewName = "pageview"

// Measure is one sum of a tuple. The numbers are per table and part of the format on disk.
type Measure uint8

// Measures of the table Hits. "It" is the tuple's page for page views, its event name for events, its
// hostname for KindHost.
const (
	Count        Measure = iota // hits
	HitVisits                   // visits for which this was the first of it
	HitVisitors                 // visitors for whom this was the first of it today
	PropVisitors                // visitors for whom this was the first of it with these properties today
	HourVisitors                // visitors for whom this was the first of it in this clock hour
	Engaged                     // milliseconds that the page was visible and in focus
	ScrollSum                   // sum of the deepest scroll position of each visit, percent of the page
	ScrollCount                 // visits that ScrollSum speaks of
	Revenue                     // minor units of Currency
	PropVisits                  // visits for which this was the first of it with these properties

	hitMeasures
)

// Measures of the table Visits.
const (
	VisitCount        Measure = iota // visits
	VisitVisitors                    // visitors whose first visit of the day this was
	VisitHourVisitors                // visitors seen in this clock hour, booked on their first visit of the day
	Bounces                          // visits with one page view and no interactive event
	VisitPageViews                   // page views
	VisitEvents                      // custom events
	Seconds                          // seconds from the first hit to the last

	visitMeasures
)

// maxMeasures is the number of sums that a Row has room for.
const maxMeasures = int(hitMeasures)

// relativeTo returns the column that a column's codes refer to: it often has the same value.
func (s *schema) relativeTo(c Column) (base Column, ok bool) {
	switch {
	case s.table == Hits && c == Entry: // most pages are entry pages
		return Path, true
	case s.table == Hits && c == Previous: // the second page of a visit
		return Entry, true
	case s.table == Visits && c == Exit: // visits of one page
		return Entry, true
	}
	return 0, false
}

// schema is what the engine knows of a table.
type schema struct {
	table    Table
	name     string
	columns  []Column // in sort order of a run
	measures int
}

// attributeColumns are in both tables: where a visit came from, and what is known of its visitor.
//
// The order of columns is the order in which runs are sorted. What is filtered by most comes first, so that few blocks
// hold what a filter wants; then values that repeat, and last those that differ from row to row. Of 15 orders that
// were tried on a million page views of dachs bench this one takes the fewest bytes, 9.2 a page view; with hour, entry
// and previous page in front of the attributes it was 11.0.
var attributeColumns = []Column{
	Channel, Source, Referrer, UTMMedium, UTMSource, UTMCampaign, UTMTerm, UTMContent,
	Device, OS, Browser, OSVersion, BrowserVersion, Language, Country, Region, City, Screen,
}

// bundle is a range of a schema's columns that are looked up together where tuples are added up: where a visit came from, and
// what is known of its visitor, have few combinations for their many columns.
type bundle struct{ from, to int }

// maxBundles is more than any schema has.
const maxBundles = 16

// bundles cuts the columns into bundles.
func (s *schema) bundles() (all []bundle) {
	for i := 0; i < len(s.columns); {
		u := bundle{i, i + 1}
		switch s.columns[i] {
		case Channel:
			u.to = slices.Index(s.columns, UTMContent) + 1
		case Device:
			u.to = slices.Index(s.columns, Screen) + 1
		}
		all = append(all, u)
		i = u.to
	}
	return all
}

var (
	// The hour is last: without it a run is still sorted, and tuples that have become equal are neighbours (coarsening).
	hitsSchema = &schema{Hits, "hits", slices.Concat(
		[]Column{Kind, Name, Path, Hostname, Props, Currency}, attributeColumns, []Column{Entry, Previous, Hour}), int(hitMeasures)}
	visitsSchema = &schema{Visits, "visits", slices.Concat(
		[]Column{Entry, Hostname}, attributeColumns, []Column{Exit, Hour}), int(visitMeasures)}
)

// schemas lists every table once, for loops over all of them.
var schemas = []*schema{hitsSchema, visitsSchema, hitRollupSchema, visitRollupSchema, hitMonthSchema, visitMonthSchema}

func schemaOf(t Table) (*schema, error) {
	for _, s := range schemas {
		if s.table == t {
			return s, nil
		}
	}
	return nil, fmt.Errorf("table %d: unknown", t)
}

// Row is one increment: a tuple of a table on one day of one site, and what to add to its measures.
// Measures may be negative. Columns that the table does not have are ignored.
type Row struct {
	Site  uint32 // Site.ID
	Table Table
	Day   Day
	Dims  [columns]string
	Sums  [maxMeasures]int64
}

// check refuses rows of tables that one cannot append to.
func (r *Row) check() error {
	if r.Table != Hits && r.Table != Visits {
		return fmt.Errorf("%w: table %d", ErrBadRows, r.Table)
	}
	return nil
}

// columnNames are the names of dimensions as Plausible's Stats API writes them.
// Columns without a name here cannot be asked for.
var columnNames = [columns]string{
	Name: "event:name", Path: "event:page", Hostname: "event:hostname",
	Entry: "visit:entry_page", Exit: "visit:exit_page",
	Source: "visit:source", Channel: "visit:channel", Referrer: "visit:referrer",
	UTMSource: "visit:utm_source", UTMMedium: "visit:utm_medium", UTMCampaign: "visit:utm_campaign",
	UTMTerm: "visit:utm_term", UTMContent: "visit:utm_content",
	Country: "visit:country", Region: "visit:region", City: "visit:city",
	Browser: "visit:browser", BrowserVersion: "visit:browser_version",
	OS: "visit:os", OSVersion: "visit:os_version",
	Device: "visit:device", Screen: "visit:screen", Language: "visit:language",
}

// String returns the column's name in the Stats API, such as visit:country.
func (c Column) String() string {
	if c < columns && columnNames[c] != "" {
		return columnNames[c]
	}
	return fmt.Sprintf("column %d", uint8(c))
}

// ParseColumn is the inverse of Column.String for columns that can be asked for.
func ParseColumn(name string) (Column, error) {
	for c, n := range columnNames {
		if n == name && n != "" {
			return Column(c), nil
		}
	}
	return 0, fmt.Errorf("dimension %q: unknown; known are event:page, event:name, event:hostname, event:props:KEY and visit:* "+
		"(source, channel, referrer, utm_*, entry_page, exit_page, country, region, city, browser, os, device, screen, language)", name)
}

// propPrefix stands before the key of an event's property, where it is a dimension.
const propPrefix = "event:props:"

// ParseDimension reads the name of a column, or of an event's property such as event:props:plan: the column is Props then,
// and prop its key.
func ParseDimension(name string) (c Column, prop string, err error) {
	if key, ok := strings.CutPrefix(name, propPrefix); ok {
		if key == "" {
			return 0, "", fmt.Errorf("dimension %q: want the key of a property after the colon, such as event:props:plan", name)
		}
		return Props, key, nil
	}
	c, err = ParseColumn(name)
	return c, "", err
}

// DimensionName is the inverse of ParseDimension.
func DimensionName(c Column, prop string) string {
	if c == Props {
		return propPrefix + prop
	}
	return c.String()
}

// checkColumn tells whether a column, or a property if there is a key, can be asked for.
func checkColumn(c Column, prop string) error {
	switch {
	case c == Props && prop == "":
		return errors.New("event properties without a key")
	case c != Props && prop != "":
		return fmt.Errorf("property %q of another column than the properties", prop)
	case c != Props && (c >= columns || columnNames[c] == ""):
		return fmt.Errorf("unknown dimension %d", c)
	}
	return nil
}
