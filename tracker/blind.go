package tracker

import (
	"time"

	"dachs/storage"
	"dachs/tracker/visit"
)

// maxAge is how long a day may be: the longest that a change from summer time makes. A table that is older is still
// there because a clock was set back, stands still or slept, and not because the day is not over.
const maxAge = 25 * time.Hour

// A day that is blind tells nobody apart: its key and its visitors are destroyed, and until the date changes its hits
// raise counts alone. Nobody is new then, and no visit begins; so visitors and visits are too few rather than
// counted with a key that lives for longer than was promised.

// age returns for how long a day has been open, by the longer of two clocks: that of the hits, which is the monotonic one of
// the process where the system has one, and the machine's, which goes on while the machine sleeps.
func (b *Book) age(d *bookDay, at time.Time) time.Duration {
	age := at.Sub(d.opened)
	if b.uptime == nil {
		return age
	}
	return max(age, b.uptime()-d.openedAt)
}

// blindAt destroys the table of a day whose age is not allowed, and returns whether it has.
func (d *bookDay) blindAt(age time.Duration) bool {
	if d.blind || age < maxAge {
		return false
	}
	d.close()
	d.blind = true
	return true
}

// countBlind appends what a hit raises where nobody is told apart: its count, and that of the page views or events of
// all visits, under no entry and exit page. Engagements raise nothing, since no page is known to be open.
func (b *Book) countBlind(d *bookDay, h *Hit, r replaced, local time.Time, rows []storage.Row) ([]storage.Row, error) {
	if h.Kind == visit.Engagement {
		return rows, visit.ErrNoVisit
	}
	b.note(r)
	c := change{Attributes: h.Attributes}
	e := entry{site: b.site.ID, day: d.day, hit: h, hour: uint8(local.Hour()), change: &c, rows: rows}
	v := visit.Visit[Origin]{Hour: e.hour, Hostname: h.Hostname, Origin: h.Origin}
	kind, column := storage.KindPageView, storage.VisitPageViews
	if h.Kind == visit.Event {
		kind, column = storage.KindEvent, storage.VisitEvents
	}
	e.visitRow(&v, v.Hour).Sums[column] = 1
	own := e.hitRow(&v, kind, h.Name, "")
	own.Sums[storage.Count], own.Sums[storage.Revenue] = 1, h.Revenue.Amount
	return e.rows, nil
}

// logBlind says that the visitors of a site are not told apart any more.
func (t *Tracker) logBlind(site storage.Site, at time.Time) {
	t.log.Error("a day has lasted for more than 25 hours, so its visitors are forgotten; until the site's midnight page views and events are counted, "+
		"visitors and visits are not: look whether the clock of this machine is right",
		"site", site.Domain, "clock", at.In(site.Location()).Format(time.DateTime))
}
