package tracker

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"dachs/storage"
	"dachs/tracker/secret"
	"dachs/tracker/visit"
)

type (
	table  = visit.Table[Attributes, Origin]
	change = visit.Change[Attributes, Origin]
)

// Book counts the hits of one site: it knows who is new on each of a few days, and turns hits into the
// increments that they raise. A live site keeps one day, an import several. One goroutine at a time may use it.
type Book struct {
	store   *storage.DB
	site    storage.Site
	random  io.Reader
	secrets *secret.Memory // of keys
	limits  *limits
	tally   *tally
	other   int64                // hits of which a value was replaced
	uptime  func() time.Duration // the machine's clock, for days that do not end; nil if they need not
	keep    int
	days    []*bookDay           // least recently used first
	closed  map[storage.Day]bool // days that are not opened again; nil if every day is
}

type bookDay struct {
	day      storage.Day
	table    *table
	key      []byte        // the table's
	release  func()        // gives back the key's memory
	opened   time.Time     // by the clock of hits
	openedAt time.Duration // by the machine's
	blind    bool          // see countBlind
	caps     *caps
	full     bool // it has been said that the table is full
	parts    bool // there were visits that the table does not know, and that has not been noted yet
	// unread is why caps does not know all that the store has; nil once that has been said. Hits are counted all the same.
	unread error
}

// NewBook makes a book that holds up to days local days at once. Keys are read from random. From the store it reads
// what values a day has, of which it takes only so many.
func NewBook(store *storage.DB, site storage.Site, days int, random io.Reader) *Book {
	b := newLiveBook(store, site, random)
	b.keep, b.closed = max(days, 1), make(map[storage.Day]bool)
	return b
}

// newLiveBook makes a book of the present day. When the clock goes back over midnight, the day before begins
// anew: its visitors are counted twice, but none of their hits is lost.
func newLiveBook(store *storage.DB, site storage.Site, random io.Reader) *Book {
	return &Book{store: store, site: site, random: random, secrets: new(secret.Memory), limits: &defaultLimits, tally: new(tally), keep: 1}
}

// Other returns how many hits were counted with OtherValue in place of a value, since their day had too many.
func (b *Book) Other() int64 { return b.other }

// Close destroys all keys.
func (b *Book) Close() {
	for _, d := range b.days {
		d.close()
	}
	b.days = nil
}

// expire destroys the keys of all days but that of an instant.
func (b *Book) expire(at time.Time) {
	today := storage.DayOf(at.In(b.site.Location()))
	b.days = slices.DeleteFunc(b.days, func(d *bookDay) bool {
		if d.day == today {
			return false
		}
		d.close()
		return true
	})
}

// Count appends the increments of a hit to rows, or says why there are none: OutOfOrder for a day that the
// book has closed, NoVisit for an engagement without its page view, Overloaded for a day that takes all the memory
// that it may (visit.Budget). Days and hours are those of the site's zone.
func (b *Book) Count(addr netip.Addr, userAgent string, h Hit, at time.Time, rows []storage.Row) ([]storage.Row, Reason) {
	day, local, err := b.day(at)
	if err != nil || day == nil {
		return rows, OutOfOrder
	}
	rows, _, err = b.count(day, addr, userAgent, &h, local, rows)
	switch {
	case errors.Is(err, visit.ErrNoVisit):
		return rows, NoVisit
	case err != nil:
		return rows, Overloaded
	}
	return rows, Accepted
}

// count records a hit in a day's table. The undo takes it back. Errors are those of visit.Table.Record.
func (b *Book) count(d *bookDay, addr netip.Addr, userAgent string, h *Hit, local time.Time, rows []storage.Row) ([]storage.Row, visit.Undo, error) {
	h, r := d.caps.apply(h)
	if d.blind {
		rows, err := b.countBlind(d, h, r, local, rows)
		return rows, visit.Undo{}, err
	}
	vh := visit.Hit[Attributes, Origin]{
		Kind: h.Kind, At: local.UnixMilli(), Hour: uint8(local.Hour()), Name: h.Name, Path: h.Path, Hostname: h.Hostname,
		Props: h.Props, Interactive: h.Interactive, Engaged: h.Engaged, Scroll: h.Scroll,
		Attributes: h.Attributes, Origin: h.Origin,
	}
	c, undo, err := d.table.Record(d.table.ID(addr, userAgent), &vh)
	if err != nil {
		return rows, undo, err
	}
	b.note(r)
	e := entry{site: b.site.ID, day: d.day, hit: h, hour: vh.Hour, change: &c, rows: rows}
	e.bookVisit()
	e.bookVisitor()
	e.bookHit()
	return e.rows, undo, nil
}

// note counts a hit of which values were replaced.
func (b *Book) note(r replaced) {
	if r != 0 {
		b.other++
		b.tally.add(r)
	}
}

// day returns the table of the day of an instant, nil if that day is closed, and the instant in the site's zone.
func (b *Book) day(at time.Time) (*bookDay, time.Time, error) {
	local := at.In(b.site.Location())
	day := storage.DayOf(local)
	for i, d := range b.days {
		if d.day == day {
			if last := len(b.days) - 1; i != last {
				copy(b.days[i:], b.days[i+1:])
				b.days[last] = d
			}
			return d, local, nil
		}
	}
	if b.closed[day] {
		return nil, local, nil
	}
	d, err := b.open(day, at)
	return d, local, err
}

func (b *Book) open(day storage.Day, at time.Time) (*bookDay, error) {
	key, release, err := b.secrets.Fill(b.random)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	d := &bookDay{day: day, table: visit.New[Attributes, Origin](key), key: key, release: release, opened: at, caps: newCaps(b.limits)}
	if b.uptime != nil {
		d.openedAt = b.uptime()
	}
	d.unread = d.caps.read(b.store, b.site.ID, day)
	d.parts = b.closed == nil && b.store.Counted(b.site.ID, day)
	b.days = append(b.days, d)
	if len(b.days) > b.keep {
		old := b.days[0]
		old.close()
		if b.closed != nil {
			b.closed[old.day] = true
		}
		b.days = slices.Delete(b.days, 0, 1)
	}
	return d, nil
}

// close destroys what tells visitors apart.
func (d *bookDay) close() {
	d.table.Close()
	d.release()
}

// entry turns one change into rows.
type entry struct {
	site   uint32
	day    storage.Day
	hit    *Hit
	hour   uint8
	change *change
	rows   []storage.Row
}

// row appends an empty increment.
func (e *entry) row(t storage.Table) *storage.Row {
	e.rows = append(e.rows, storage.Row{Site: e.site, Day: e.day, Table: t})
	r := &e.rows[len(e.rows)-1]
	e.change.Attributes.put(&r.Dims)
	return r
}

// visitRow appends an increment of the table Visits at the place of v.
func (e *entry) visitRow(v *visit.Visit[Origin], hour uint8) *storage.Row {
	r := e.row(storage.Visits)
	r.Dims[storage.Hour] = storage.HourName(int(hour))
	r.Dims[storage.Entry], r.Dims[storage.Exit] = v.Entry, v.Exit
	r.Dims[storage.Hostname] = v.Hostname
	v.Origin.put(&r.Dims)
	return r
}

// moved reports whether a visit is booked under another tuple than before.
func moved(a, b *visit.Visit[Origin]) bool {
	return a.Entry != b.Entry || a.Exit != b.Exit || a.Hour != b.Hour || a.Hostname != b.Hostname || a.Origin != b.Origin
}

// addVisit adds what a visit is booked with, times sign.
func addVisit(sums []int64, v *visit.Visit[Origin], sign int64) {
	sums[storage.VisitCount] += sign
	if v.Bounce {
		sums[storage.Bounces] += sign
	}
	sums[storage.VisitPageViews] += sign * v.PageViews
	sums[storage.VisitEvents] += sign * v.Events
	sums[storage.Seconds] += sign * v.Seconds
}

// bookVisit moves the hit's own visit from what it was to what it is.
func (e *entry) bookVisit() {
	c := e.change
	switch {
	case c.NewVisit:
		addVisit(e.visitRow(&c.After, c.After.Hour).Sums[:], &c.After, 1)
	case moved(&c.Before, &c.After):
		addVisit(e.visitRow(&c.Before, c.Before.Hour).Sums[:], &c.Before, -1)
		addVisit(e.visitRow(&c.After, c.After.Hour).Sums[:], &c.After, 1)
	default:
		r := e.visitRow(&c.After, c.After.Hour)
		addVisit(r.Sums[:], &c.Before, -1)
		addVisit(r.Sums[:], &c.After, 1)
	}
}

// bookVisitor books the visitor, once for the day and once for each clock hour, on the first visit of the day,
// and moves them along while that visit goes on.
func (e *entry) bookVisitor() {
	c := e.change
	if c.NewVisitor {
		e.visitRow(&c.First, c.First.Hour).Sums[storage.VisitVisitors] = 1
	} else if moved(&c.FirstBefore, &c.First) {
		e.visitRow(&c.FirstBefore, c.FirstBefore.Hour).Sums[storage.VisitVisitors] = -1
		e.visitRow(&c.First, c.First.Hour).Sums[storage.VisitVisitors] = 1
		for hour := range uint8(24) {
			if c.HoursBefore&(1<<hour) != 0 {
				e.visitRow(&c.FirstBefore, hour).Sums[storage.VisitHourVisitors] = -1
				e.visitRow(&c.First, hour).Sums[storage.VisitHourVisitors] = 1
			}
		}
	}
	if c.Hours != c.HoursBefore {
		e.visitRow(&c.First, e.hour).Sums[storage.VisitHourVisitors] = 1
	}
}

// hitRow appends an increment of the table Hits. Counts and visits are booked on the hit's own visit,
// visitors on their first visit of the day.
func (e *entry) hitRow(v *visit.Visit[Origin], kind, name, previous string) *storage.Row {
	r := e.row(storage.Hits)
	d := &r.Dims
	d[storage.Hour] = storage.HourName(int(e.hour))
	d[storage.Kind] = kind
	d[storage.Hostname] = e.hit.Hostname
	d[storage.Entry] = v.Entry
	v.Origin.put(d)
	if kind != storage.KindHost {
		d[storage.Name], d[storage.Path], d[storage.Previous] = name, e.hit.Path, previous
		d[storage.Props], d[storage.Currency] = e.hit.Props, e.hit.Revenue.Currency
	}
	return r
}

// bookHit books the hit itself.
func (e *entry) bookHit() {
	c, h := e.change, e.hit
	kind := storage.KindPageView
	switch h.Kind {
	case visit.Engagement:
		e.bookEngagement()
		return
	case visit.Event:
		kind = storage.KindEvent
	}
	own := e.hitRow(&c.After, kind, h.Name, c.PreviousInVisit)
	own.Sums[storage.Count] = 1
	own.Sums[storage.Revenue] = h.Revenue.Amount
	own.Sums[storage.HitVisits] = one(c.It.Visit)
	own.Sums[storage.PropVisits] = one(c.Props.Visit)
	if c.It.Today || c.It.Hour || c.Props.Today {
		r := own
		if c.After != c.First || c.PreviousInVisit != c.PreviousToday {
			r = e.hitRow(&c.First, kind, h.Name, c.PreviousToday)
		}
		r.Sums[storage.HitVisitors] = one(c.It.Today)
		r.Sums[storage.HourVisitors] = one(c.It.Hour)
		r.Sums[storage.PropVisitors] = one(c.Props.Today)
	}
	if c.Host.Visit {
		e.hitRow(&c.After, storage.KindHost, "", "").Sums[storage.HitVisits] = 1
	}
	if c.Host.Today || c.Host.Hour {
		r := e.hitRow(&c.First, storage.KindHost, "", "")
		r.Sums[storage.HitVisitors] = one(c.Host.Today)
		r.Sums[storage.HourVisitors] = one(c.Host.Hour)
	}
}

// bookEngagement adds time and scroll depth to the page's tuple; the page before it is not known any more.
func (e *entry) bookEngagement() {
	r := e.hitRow(&e.change.After, storage.KindPageView, storage.PageViewName, "")
	r.Sums[storage.Engaged] = e.change.Engaged
	r.Sums[storage.ScrollSum] = e.change.Scrolled
	r.Sums[storage.ScrollCount] = one(e.change.FirstScroll)
}

func one(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
