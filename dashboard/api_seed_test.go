package dashboard

import (
	"testing"
	"time"

	"dachs/storage"
)

// apiVisit is a visit of which the numbers in api_test.go can be counted by hand.
type apiVisit struct {
	day     string
	hour    string
	first   *apiVisit // the visitor's first visit of the day, in the same hour, on none of these pages; nil: this one
	pages   []string
	event   string // sent from the last page
	seconds int64
	engaged int64 // milliseconds on each page
	scroll  int64 // percent of each page
	dims    map[storage.Column]string
}

// rows books the visit as the tracker does: visitors on the first visit of their day, all else on this one.
func (v apiVisit) rows(tb testing.TB, site uint32) []storage.Row {
	tb.Helper()
	base := storage.Row{Site: site, Day: day(tb, v.day)}
	base.Dims[storage.Hour] = v.hour
	rows := v.booked(base, storage.KindHost, "", "", "")
	rows[0].Sums[storage.Count] = 0
	previous := ""
	for _, p := range v.pages {
		hits := v.booked(base, storage.KindPageView, storage.PageViewName, p, previous)
		hits[0].Sums[storage.Engaged], hits[0].Sums[storage.ScrollSum], hits[0].Sums[storage.ScrollCount] = v.engaged, v.scroll, 1
		rows = append(rows, hits...)
		previous = p
	}
	events := int64(0)
	if v.event != "" {
		events = 1
		rows = append(rows, v.booked(base, storage.KindEvent, v.event, previous, previous)...)
	}

	whole := v.dressed(base, storage.Visits)
	whole.Dims[storage.Exit] = previous
	whole.Sums[storage.VisitCount] = 1
	whole.Sums[storage.VisitPageViews], whole.Sums[storage.VisitEvents] = int64(len(v.pages)), events
	whole.Sums[storage.Seconds] = v.seconds
	if v.first == nil {
		whole.Sums[storage.VisitVisitors], whole.Sums[storage.VisitHourVisitors] = 1, 1
	}
	if len(v.pages) == 1 && events == 0 {
		whole.Sums[storage.Bounces] = 1
	}
	return append(rows, whole)
}

// dressed gives a row the attributes and the entry page of the visit.
func (v apiVisit) dressed(r storage.Row, t storage.Table) storage.Row {
	r.Table = t
	for c, value := range v.dims {
		r.Dims[c] = value
	}
	r.Dims[storage.Entry] = v.pages[0]
	return r
}

// booked returns two rows: the hit, the first of it in this visit, and the visitor, the first of it today.
func (v apiVisit) booked(base storage.Row, kind, name, path, previous string) []storage.Row {
	first, today := v, previous
	if v.first != nil {
		first = *v.first
		if previous == "" {
			today = first.pages[len(first.pages)-1]
		}
	}
	hit, visitor := v.dressed(base, storage.Hits), first.dressed(base, storage.Hits)
	for _, r := range []*storage.Row{&hit, &visitor} {
		r.Dims[storage.Kind], r.Dims[storage.Name], r.Dims[storage.Path] = kind, name, path
		r.Dims[storage.Hostname] = v.dims[storage.Hostname]
	}
	if kind == storage.KindEvent {
		props := storage.EncodeProps([]storage.Prop{{Key: "plan", Value: "pro"}})
		hit.Dims[storage.Props], visitor.Dims[storage.Props] = props, props
		hit.Sums[storage.PropVisits], visitor.Sums[storage.PropVisitors] = 1, 1
	}
	hit.Dims[storage.Previous], visitor.Dims[storage.Previous] = previous, today
	hit.Sums[storage.Count], hit.Sums[storage.HitVisits] = 1, 1
	visitor.Sums[storage.HitVisitors], visitor.Sums[storage.HourVisitors] = 1, 1
	return []storage.Row{hit, visitor}
}

// apiVisits are the visits of the site example.com.
func apiVisits() []apiVisit {
	google := map[storage.Column]string{
		storage.Hostname: "example.com", storage.Source: "Google", storage.Channel: "Organic Search", storage.Referrer: "google.com",
		storage.Country: "DE", storage.Region: "Bavaria", storage.City: "Munich", storage.Browser: "Chrome", storage.BrowserVersion: "120",
		storage.OS: "Linux", storage.OSVersion: "6", storage.Device: "Desktop", storage.Screen: "xl", storage.Language: "de",
	}
	direct := map[storage.Column]string{
		storage.Hostname: "example.com", storage.Channel: "Direct", storage.Country: "AT", storage.Browser: "Firefox", storage.Device: "Mobile",
		storage.OS: "Android", storage.Language: "de",
	}
	campaign := map[storage.Column]string{
		storage.Hostname: "shop.example.com", storage.Channel: "Email", storage.Source: "letter", storage.Country: "AT", storage.Browser: "Firefox",
		storage.Device: "Mobile", storage.OS: "Android", storage.Language: "de", storage.UTMSource: "letter", storage.UTMMedium: "email",
		storage.UTMCampaign: "spring & summer", storage.UTMTerm: "boots", storage.UTMContent: "top",
	}
	bounce := apiVisit{day: "2026-03-30", hour: "10", pages: []string{"/"}, engaged: 5000, scroll: 25, dims: direct}
	return []apiVisit{
		{day: "2026-03-30", hour: "09", pages: []string{"/", "/docs", "/docs/api"}, seconds: 120, engaged: 20000, scroll: 80, dims: google},
		bounce,
		{day: "2026-03-30", hour: "10", first: &bounce, pages: []string{"/pricing"}, event: "Signup", seconds: 31, engaged: 9000, scroll: 100, dims: campaign},
		{day: "2026-03-29", hour: "23", pages: []string{"/docs"}, engaged: 1000, scroll: 50, dims: google},
		{day: "2026-02-10", hour: "08", pages: []string{"/"}, dims: direct},
		// In and out of /docs twice: the counts of tuples cannot tell that from two visitors.
		{day: "2025-01-05", hour: "12", pages: []string{"/a", "/docs", "/b", "/docs/api"}, seconds: 9, dims: direct},
		{day: "2024-02-10", hour: "00", pages: []string{"/"}, dims: direct},
	}
}

// apiNow is just after midnight in the time zone of example.com, and the day before in UTC.
func apiNow() time.Time { return time.Date(2026, 3, 29, 22, 30, 0, 0, time.UTC) }

// apiStore opens a store with the site example.com and its visits, and the empty site other.example.
func apiStore(tb testing.TB) *storage.DB {
	tb.Helper()
	db, err := storage.Open(tb.TempDir(), storage.Options{Now: apiNow})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	site, err := db.AddSite("example.com", "Europe/Berlin")
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := db.AddSite("other.example", ""); err != nil {
		tb.Fatal(err)
	}
	for _, v := range apiVisits() {
		if err := db.Append(v.rows(tb, site.ID)...); err != nil {
			tb.Fatal(err)
		}
	}
	return db
}
