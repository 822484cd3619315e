package tracker

import (
	"hash/maphash"
	"sync/atomic"

	"dachs/storage"
	"dachs/tracker/visit"
)

// OtherValue is what stands for all values of a dimension that come after its cap is reached. No path or hostname can
// be written like this.
const OtherValue = "(other)"

// capped are the dimensions whose values visitors can make up. A site's day takes only so many of each (see limits).
//
// The others need no cap: channel, kind, currency, browser, system, device and screen class come from closed lists, the country,
// region and city of an address from the operator's own table. Entry, exit and previous page are paths.
type capped uint8

const (
	cappedPath capped = iota
	cappedHostname
	cappedName
	cappedProps
	cappedSource
	cappedReferrer
	cappedUTMSource
	cappedUTMMedium
	cappedUTMCampaign
	cappedUTMTerm
	cappedUTMContent
	cappedBrowserVersion
	cappedOSVersion
	cappedLanguage

	cappedDimensions
)

// cappedColumns are the columns of the capped dimensions in the store.
var cappedColumns = [cappedDimensions]storage.Column{
	storage.Path, storage.Hostname, storage.Name, storage.Props, storage.Source, storage.Referrer, storage.UTMSource,
	storage.UTMMedium, storage.UTMCampaign, storage.UTMTerm, storage.UTMContent, storage.BrowserVersion, storage.OSVersion,
	storage.Language,
}

// String returns the name of the dimension in metrics: that of the Stats API without its prefix.
func (c capped) String() string { return cappedNames[c] }

var cappedNames = [cappedDimensions]string{
	"page", "hostname", "name", "props", "source", "referrer", "utm_source", "utm_medium", "utm_campaign", "utm_term",
	"utm_content", "browser_version", "os_version", "language",
}

// limits is how many values of each dimension a site's day takes.
type limits [cappedDimensions]int

// defaultLimits are above what large real sites have, so that only made-up values are replaced. An admitted value takes
// 34 bytes at most, whatever its length (a map of numbers just after it has grown), so all dimensions together take no
// more than 9 MiB for a site's day.
var defaultLimits = limits{
	cappedPath:           100_000, // a large shop or forum shows some ten thousand different pages a day
	cappedHostname:       1_000,   // one tag on all subdomains of a company
	cappedName:           1_000,   // goals are made by hand
	cappedProps:          50_000,  // combinations of all properties of an event, such as articles of a shop
	cappedSource:         10_000,  // referring hosts of a large site
	cappedReferrer:       50_000,  // referring pages
	cappedUTMSource:      1_000,   // tags are made by hand, or by programs that send newsletters and buy advertising:
	cappedUTMMedium:      1_000,   //
	cappedUTMCampaign:    10_000,  // campaigns by number,
	cappedUTMTerm:        20_000,  // words that were bid on,
	cappedUTMContent:     20_000,  // variants of each
	cappedBrowserVersion: 500,     // some 200 are in use; up to four digits can be sent
	cappedOSVersion:      500,     //
	cappedLanguage:       500,     // there are 184 codes of two letters; three can be sent
}

// caps knows which values a site's day has taken. Values are kept as keyed numbers of their text: two with the same
// number would only mean that one value more is let in.
type caps struct {
	seed   maphash.Seed
	limits *limits
	known  [cappedDimensions]map[uint64]struct{}
}

func newCaps(l *limits) *caps { return &caps{seed: maphash.MakeSeed(), limits: l} }

// admit reports whether a value counts as itself. One that has once been refused stays refused: the set never shrinks
// and, once it is full, never grows. The empty value and OtherValue are no values of their own.
func (c *caps) admit(d capped, value string) bool {
	if value == "" || value == OtherValue {
		return true
	}
	known := c.known[d]
	number := maphash.String(c.seed, value)
	if _, ok := known[number]; ok {
		return true
	}
	if len(known) >= c.limits[d] {
		return false
	}
	if known == nil {
		known = make(map[uint64]struct{})
		c.known[d] = known
	}
	known[number] = struct{}{}
	return true
}

// has reports whether a value was admitted, or would be: it differs from admit in that it takes nothing in.
func (c *caps) has(d capped, value string) bool {
	_, ok := c.known[d][maphash.String(c.seed, value)]
	return ok || len(c.known[d]) < c.limits[d]
}

// replaced is the set of dimensions in which a hit had a value that was replaced.
type replaced uint16

// apply returns the hit with OtherValue in place of each value that is not admitted: h itself if there is none, as
// nearly always, else a copy. All that follows, who is new and what the entry page is, then speaks of OtherValue, so
// that totals and distinct counts stay exact.
func (c *caps) apply(h *Hit) (*Hit, replaced) {
	out, r := h, replaced(0)
	for d := range cappedDimensions {
		if c.admits(d, h) {
			continue
		}
		if r == 0 {
			changed := *h
			out = &changed
		}
		*d.of(out) = OtherValue
		r |= 1 << d
	}
	return out, r
}

// admits reports whether a hit keeps its value of a dimension.
func (c *caps) admits(d capped, h *Hit) bool {
	value := *d.of(h)
	if h.Kind != visit.Engagement {
		// All page views have one name.
		return d == cappedName && h.Kind == visit.PageView || c.admit(d, value)
	}
	// An engagement is booked under its path and hostname and nothing else. A path that nobody has seen is not let in by
	// it, since nothing will be counted.
	return d == cappedPath && c.has(d, value) || d == cappedHostname && c.admit(d, value) || d > cappedHostname
}

// of returns the place of a dimension in a hit.
func (d capped) of(h *Hit) *string {
	switch d {
	case cappedPath:
		return &h.Path
	case cappedHostname:
		return &h.Hostname
	case cappedName:
		return &h.Name
	case cappedProps:
		return &h.Props
	case cappedSource:
		return &h.Origin.Source
	case cappedReferrer:
		return &h.Origin.Referrer
	case cappedUTMSource:
		return &h.Origin.UTMSource
	case cappedUTMMedium:
		return &h.Origin.UTMMedium
	case cappedUTMCampaign:
		return &h.Origin.UTMCampaign
	case cappedUTMTerm:
		return &h.Origin.UTMTerm
	case cappedUTMContent:
		return &h.Origin.UTMContent
	case cappedBrowserVersion:
		return &h.Attributes.BrowserVersion
	case cappedOSVersion:
		return &h.Attributes.OSVersion
	case cappedLanguage:
		return &h.Attributes.Language
	}
	panic("BUG: capped dimension without a place in a hit")
}

// read admits what the store has for a day, so that a restart, or an import into a day with counts, does not begin anew.
// After an error what was read until then is admitted.
func (c *caps) read(db *storage.DB, site uint32, day storage.Day) error {
	dimension := make(map[storage.Column]capped, len(cappedColumns))
	for d, column := range cappedColumns {
		dimension[column] = capped(d)
	}
	return db.Values(site, storage.Hits, day, cappedColumns[:], func(column storage.Column, value string) bool {
		return c.admit(dimension[column], value)
	})
}

// tally counts hits by the dimensions in which they had a value replaced.
type tally [cappedDimensions]atomic.Uint64

func (t *tally) add(r replaced) {
	for d := range cappedDimensions {
		if r&(1<<d) != 0 {
			t[d].Add(1)
		}
	}
}
