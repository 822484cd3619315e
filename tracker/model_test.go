package tracker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dachs/storage"
	"dachs/tracker/visit"
)

// modelHit is one hit of the naive model: nothing is summed, everything is a loop over all hits.
type modelHit struct {
	visitor int
	at      time.Time // in the site's zone
	hit     Hit
	visit   *modelVisit
	person  *modelPerson
	// Entry pages as they were known at the time of the hit: none before the first page view.
	entry, firstEntry string
	props             map[string]string
}

type modelVisit struct {
	first, last       time.Time
	entry, exit, host string
	columns           map[storage.Column]string // of its origin
	views, events     int
	active            bool
}

// modelPerson is a visitor on one day.
type modelPerson struct {
	columns map[storage.Column]string // of the attributes
	visits  []*modelVisit
}

type model struct {
	hits   []*modelHit
	people map[string]*modelPerson // by day and visitor
}

func (m *model) add(visitor int, at time.Time, h Hit) {
	key := fmt.Sprint(at.Format(time.DateOnly), " ", visitor)
	p := m.people[key]
	if p == nil {
		p = &modelPerson{columns: columnsOfAttributes(&h.Attributes)}
		m.people[key] = p
	}
	if len(p.visits) == 0 || at.Sub(p.visits[len(p.visits)-1].last) > 30*time.Minute {
		p.visits = append(p.visits, &modelVisit{first: at, columns: columnsOfOrigin(&h.Origin), host: h.Hostname})
	}
	v := p.visits[len(p.visits)-1]
	v.last = at
	if h.Kind == visit.PageView {
		if v.views == 0 {
			v.entry = h.Path
		}
		v.exit = h.Path
		v.views++
	} else {
		v.events++
		v.active = v.active || h.Interactive
	}
	props := make(map[string]string)
	if h.Props != "" && h.Props != OtherValue {
		if err := json.Unmarshal([]byte(h.Props), &props); err != nil {
			panic(err)
		}
	}
	m.hits = append(m.hits, &modelHit{visitor, at, h, v, p, v.entry, p.visits[0].entry, props})
}

// booking is a tuple under which a hit is booked: its own visit or the visitor's first one of the day, with the entry page
// that was known then.
type booking struct {
	*modelHit
	visit *modelVisit
	entry string
}

// value returns a column of a booking.
func (b *booking) value(c storage.Column, prop string) string {
	switch c {
	case storage.Path:
		return b.hit.Path
	case storage.Name:
		return b.hit.Name
	case storage.Hostname:
		return b.hit.Hostname
	case storage.Props:
		if b.hit.Props == OtherValue {
			return OtherValue
		}
		return b.props[prop]
	case storage.Entry:
		return b.entry
	case storage.Exit:
		return b.visit.exit
	}
	if value, ok := b.person.columns[c]; ok {
		return value
	}
	return b.visit.columns[c]
}

func columnsOfOrigin(o *Origin) map[storage.Column]string {
	return map[storage.Column]string{
		storage.Source: o.Source, storage.Channel: o.Channel, storage.Referrer: o.Referrer,
		storage.UTMSource: o.UTMSource, storage.UTMMedium: o.UTMMedium, storage.UTMCampaign: o.UTMCampaign,
		storage.UTMTerm: o.UTMTerm, storage.UTMContent: o.UTMContent,
	}
}

func columnsOfAttributes(a *Attributes) map[storage.Column]string {
	return map[storage.Column]string{
		storage.Country: a.Country, storage.Region: a.Region, storage.City: a.City, storage.Browser: a.Browser,
		storage.BrowserVersion: a.BrowserVersion, storage.OS: a.OS, storage.OSVersion: a.OSVersion,
		storage.Device: a.Device, storage.Screen: a.Screen, storage.Language: a.Language,
	}
}

// passes evaluates a filter as its documentation says.
func (b *booking) passes(f *storage.Filter) bool {
	switch f.Op {
	case storage.And:
		return !slices.ContainsFunc(f.Of, func(inner storage.Filter) bool { return !b.passes(&inner) })
	case storage.Or:
		return slices.ContainsFunc(f.Of, func(inner storage.Filter) bool { return b.passes(&inner) })
	case storage.Not:
		return !b.passes(&f.Of[0])
	}
	value := b.value(f.Column, f.Prop)
	any := slices.ContainsFunc(f.Values, func(want string) bool {
		value := value
		if f.AnyCase && f.Op != storage.Matches && f.Op != storage.MatchesNot {
			value, want = strings.ToUpper(value), strings.ToUpper(want)
		} else if f.AnyCase {
			want = "(?i)" + want
		}
		switch f.Op {
		case storage.Is, storage.IsNot:
			return value == want
		case storage.Contains, storage.ContainsNot:
			return strings.Contains(value, want)
		}
		return modelPatterns[want].MatchString(value)
	})
	return any == (f.Op == storage.Is || f.Op == storage.Contains || f.Op == storage.Matches)
}

// in tells whether a booking passes the filters of a query, and its values of the grouped columns.
func (b *booking) in(q *storage.Query) (keys string, ok bool) {
	for i := range q.Filters {
		if !b.passes(&q.Filters[i]) {
			return "", false
		}
	}
	props := q.PropKeys
	for _, c := range q.GroupBy {
		prop := ""
		if c == storage.Props {
			prop, props = props[0], props[1:]
		}
		keys += " " + strconv.Quote(b.value(c, prop))
	}
	return keys, true
}

// bucket names the bucket of a time.
func bucket(q *storage.Query, at time.Time) string {
	switch q.Interval {
	case storage.ByDay:
		return at.Format(time.DateOnly)
	case storage.ByHour:
		return at.Format("2006-01-02 15")
	}
	return "-"
}

// subject is what a query speaks of.
type subject struct {
	whole  bool // whole visits only
	exit   bool // the exit page is involved
	byHour bool
	views  bool // pages: only page views make visitors
	host   bool // hostnames
	props  bool // events by their properties
	single bool // each group has at most one page, name or hostname
}

func uses(q *storage.Query, c storage.Column) bool {
	return slices.Contains(q.GroupBy, c) || slices.ContainsFunc(q.Filters, func(f storage.Filter) bool { return f.Uses(c) })
}

// only returns the one value of a column that a filter lets pass.
func only(f *storage.Filter, negated bool, c storage.Column) (string, bool) {
	if f.Op == storage.Not {
		return only(&f.Of[0], !negated, c)
	}
	if !f.Op.Joins() {
		is := f.Op == storage.Is && !negated || f.Op == storage.IsNot && negated
		return f.Values[0], is && f.Column == c && len(f.Values) == 1 && !f.AnyCase
	}
	all := make(map[string]int)
	for i := range f.Of {
		value, ok := only(&f.Of[i], negated, c)
		if ok && (f.Op == storage.And) != negated {
			return value, true
		}
		if ok {
			all[value]++
		}
	}
	for value, n := range all {
		return value, n == len(f.Of)
	}
	return "", false
}

func onlyOf(q *storage.Query, c storage.Column) (string, bool) {
	return only(&storage.Filter{Op: storage.And, Of: q.Filters}, false, c)
}

// subjectOf tells what a query speaks of, and whether no table holds it.
func subjectOf(q *storage.Query) (s subject, impossible bool) {
	single := func(c storage.Column) bool {
		_, ok := onlyOf(q, c)
		return ok || slices.Contains(q.GroupBy, c)
	}
	name, _ := onlyOf(q, storage.Name)
	named, viewsOnly := uses(q, storage.Name), name == storage.PageViewName
	path, host, props := uses(q, storage.Path), uses(q, storage.Hostname), uses(q, storage.Props)
	s = subject{byHour: q.Interval == storage.ByHour, exit: uses(q, storage.Exit), host: host, props: props, whole: !named && !path && !host && !props}
	distinct := slices.Contains(q.Metrics, storage.Visitors)
	byName := named && !viewsOnly
	s.views = !byName && !host && !props && !s.whole
	switch {
	case s.views:
		s.single = single(storage.Path)
	case host:
		s.single = single(storage.Hostname)
	case !props:
		s.single = single(storage.Name)
	}
	return s, s.exit && !s.whole ||
		distinct && (path && (byName || host || props) || host && (named || props) || props && s.byHour)
}

// it names what a hit can be the first of.
func (s *subject) it(h *modelHit) string {
	switch {
	case s.host:
		return h.hit.Hostname
	case h.hit.Kind == visit.PageView:
		return "page " + h.hit.Path
	case s.props:
		return "event " + h.hit.Name + h.hit.Props
	}
	return "event " + h.hit.Name
}

// truth is what the model says of one group.
type truth struct {
	n     [4]int  // visitors, visits, page views and events
	exact [2]bool // the documentation promises visitors and visits to the unit
}

// distinct counts things by group, and the members of the set for which they are counted.
type distinct struct {
	things  map[string]map[any]bool
	members map[string]map[string]map[string]bool // by group and day
}

func newDistinct() *distinct {
	return &distinct{make(map[string]map[any]bool), make(map[string]map[string]map[string]bool)}
}

func (d *distinct) add(group, day, member string, thing any) {
	if d.things[group] == nil {
		d.things[group], d.members[group] = make(map[any]bool), make(map[string]map[string]bool)
	}
	if d.members[group][day] == nil {
		d.members[group][day] = make(map[string]bool)
	}
	d.things[group][thing] = true
	d.members[group][day][member] = true
}

// alone tells whether the group has one member on each day.
func (d *distinct) alone(group string) bool {
	for _, members := range d.members[group] {
		if len(members) > 1 {
			return false
		}
	}
	return true
}

// answer is the truth: for each group visitors, visits, page views and events.
func (m *model) answer(q *storage.Query) map[string]truth {
	s, _ := subjectOf(q)
	n := m.countHits(q, &s)
	visits, visitors := m.visits(q, &s), m.visitors(q, &s)
	res := make(map[string]truth)
	get := func(group string) {
		var t truth
		t.n = [4]int{len(visitors.things[group]), len(visits.things[group]), n[group][0], n[group][1]}
		sure := s.whole || s.single
		for i, d := range []*distinct{visitors, visits} {
			t.exact[i] = sure || !s.byHour && d.alone(group)
		}
		// Page views are a set of pages, which is exact by the day only, and by the hour for visits.
		if s.single && s.byHour && !s.views && !s.host {
			t.exact[0] = false
		}
		res[group] = t
	}
	for group := range n {
		get(group)
	}
	for _, d := range []*distinct{visitors, visits} {
		for group := range d.things {
			get(group)
		}
	}
	return res
}

// countHits counts page views, and these and events together. Those of whole visits are booked when the visit began.
func (m *model) countHits(q *storage.Query, s *subject) map[string][2]int {
	groups := make(map[string][2]int)
	for _, h := range m.hits {
		b, at := booking{h, h.visit, h.entry}, h.at
		if s.exit || s.whole && !s.byHour {
			b.entry, at = h.visit.entry, h.visit.first
		}
		if keys, ok := b.in(q); ok {
			n := groups[bucket(q, at)+keys]
			if h.hit.Kind == visit.PageView {
				n[0]++
			}
			n[1]++
			groups[bucket(q, at)+keys] = n
		}
	}
	return groups
}

// visits counts visits, in the hour in which they began, or in which they first saw what the query speaks of. Each is
// booked by the first hit of it.
func (m *model) visits(q *storage.Query, s *subject) *distinct {
	type in struct {
		visit *modelVisit
		what  string
	}
	d, seen, counted := newDistinct(), make(map[in]bool), make(map[in]bool)
	for _, h := range m.hits {
		b, at, it := booking{h, h.visit, h.entry}, h.at, s.it(h)
		if s.whole {
			b.entry, at, it = h.visit.entry, h.visit.first, ""
		} else if s.views && h.hit.Kind != visit.PageView {
			continue
		}
		if seen[in{h.visit, it}] {
			continue
		}
		seen[in{h.visit, it}] = true
		keys, ok := b.in(q)
		if !ok || s.byHour && counted[in{h.visit, keys}] {
			continue
		}
		counted[in{h.visit, keys}] = true
		d.add(bucket(q, at)+keys, at.Format(time.DateOnly), it, h.visit)
	}
	return d
}

// visitors counts visitors of a day, or of an hour. Each is booked on the first visit of the day, by the first hit of it.
func (m *model) visitors(q *storage.Query, s *subject) *distinct {
	type in struct {
		person *modelPerson
		hour   int // of the day; 0 for the whole day
		what   string
	}
	d, seen := newDistinct(), make(map[in]bool)
	for _, h := range m.hits {
		first, it := h.person.visits[0], s.it(h)
		b := booking{h, first, h.firstEntry}
		if s.whole {
			b.entry, it = first.entry, ""
		} else if s.views && h.hit.Kind != visit.PageView {
			continue
		}
		key := in{h.person, 0, it}
		if s.byHour {
			key.hour = h.at.Hour()
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		if keys, ok := b.in(q); ok {
			d.add(bucket(q, h.at)+keys, h.at.Format(time.DateOnly), it, h.person)
		}
	}
	return d
}

// randomStream makes hits of a small site: few values, so that everything meets everything.
func randomStream(r *rand.Rand, n int, loc *time.Location, add func(visitor int, at time.Time, h Hit)) {
	start := time.Date(2026, 3, 28, 20, 0, 0, 0, loc) // two days around a change to summer time in Berlin
	at := start
	for range n {
		at = at.Add(time.Duration(r.IntN(100)) * time.Second)
		visitor := r.IntN(40)
		pick := func(values ...string) string { return values[r.IntN(len(values))] }
		h := Hit{
			Kind: visit.PageView, Name: storage.PageViewName, Path: fmt.Sprintf("/%c", 'a'+r.IntN(6)), Scroll: -1,
			Hostname: []string{"example.com", "shop.example.com"}[r.IntN(8)/7],
			Origin: Origin{
				Source: pick("", "Google", "Bing"), Channel: pick("Direct", "Organic Search", "Email"), Referrer: pick("", "google.com/"),
				UTMSource: pick("", "letter", "Letter"), UTMMedium: pick("", "email"), UTMCampaign: pick("", "summer"),
				UTMTerm: pick("", "boots"), UTMContent: pick("", "top", "bottom"),
			},
			// Attributes change between a visitor's hits here: those of the first count.
			Attributes: Attributes{
				Country: pick("DE", "FR", ""), Region: pick("", "Bavaria"), City: pick("", "Munich", "Paris"),
				Browser: pick("Firefox", "Chrome"), BrowserVersion: pick("120", "121"), OS: pick("Linux", "iOS"), OSVersion: pick("", "17"),
				Device: pick("Desktop", "Mobile", "Tablet"), Screen: pick("", "xl"), Language: pick("de", "fr", "en"),
			},
		}
		if r.IntN(5) == 0 {
			h.Kind, h.Name, h.Interactive = visit.Event, pick("Signup", "Buy"), r.IntN(2) == 0
			var props []storage.Prop
			if r.IntN(2) == 0 {
				props = append(props, storage.Prop{Key: "plan", Value: pick("pro", "Basic", `a "b"\`)})
			}
			if r.IntN(3) == 0 {
				props = append(props, storage.Prop{Key: "seats", Value: pick("1", "2", "10")})
			}
			h.Props = storage.EncodeProps(props)
		}
		add(visitor, at, h)
	}
}

func addrOf(visitor int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(visitor)}) }

func openStore(tb testing.TB) (*storage.DB, storage.Site) {
	tb.Helper()
	return openStoreAt(tb, time.Now)
}

func openStoreAt(tb testing.TB, now func() time.Time) (*storage.DB, storage.Site) {
	tb.Helper()
	db, err := storage.Open(tb.TempDir(), storage.Options{Now: now})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	site, err := db.AddSite("example.com", "Europe/Berlin")
	if err != nil {
		tb.Fatal(err)
	}
	return db, site
}

// TestBooksAgreeWithNaiveModel counts random streams through a book and a store, and by plain loops.
func TestBooksAgreeWithNaiveModel(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			var now atomic.Int64 // days
			db, site := openStoreAt(t, func() time.Time { return storage.Day(now.Load()).Date().Add(12 * time.Hour) })
			now.Store(int64(storage.DateDay(2026, 3, 28)))
			refusals := modelRefusals{rand.New(rand.NewPCG(seed, 8)), make(map[storage.Day]map[string]int64)}
			m := &model{people: make(map[string]*modelPerson)}
			book := NewBook(db, site, 3, rand.NewChaCha8([32]byte{byte(seed)}))
			defer book.Close()
			var rows []storage.Row
			randomStream(r, 1500, site.Location(), func(visitor int, at time.Time, h Hit) {
				m.add(visitor, at, h)
				rows = refusals.random(site.ID, at, rows)
				var reason Reason
				if rows, reason = book.Count(addrOf(visitor), "Browser", h, at.UTC(), rows); reason != Accepted {
					t.Fatal(reason)
				}
				if len(rows) > r.IntN(30) {
					if err := db.Append(rows...); err != nil {
						t.Fatal(err)
					}
					rows = nil
				}
			})
			if err := db.Append(rows...); err != nil {
				t.Fatal(err)
			}
			questions := newQuestions(r, m, site)
			compare := func(coarse bool) {
				t.Helper()
				questions.compare(t, db, coarse)
				compareVisits(t, db, m, site)
				refusals.compare(t, db, site)
			}
			compare(false)
			if err := db.SetRetention(site.Domain, storage.Retention{Hours: 3}); err != nil {
				t.Fatal(err)
			}
			for _, today := range []storage.Day{storage.DateDay(2026, 3, 31), storage.DateDay(2026, 5, 1)} {
				now.Store(int64(today)) // the days are over: their runs become one, and rollups answer; then hours leave them
				if err := db.Settle(t.Context()); err != nil {
					t.Fatal(err)
				}
				compare(today == storage.DateDay(2026, 5, 1))
			}
			db = restoredCopy(t, db)
			compare(true)
		})
	}
}

// restoredCopy backs a store up, restores it elsewhere, and opens and closes that once before.
func restoredCopy(t *testing.T, db *storage.DB) *storage.DB {
	t.Helper()
	var backup bytes.Buffer
	if _, err := db.Backup(t.Context(), &backup, nil); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	o := storage.Options{Now: func() time.Time { return storage.DateDay(2026, 5, 1).Date() }}
	if _, err := storage.Restore(t.Context(), dir, o, storage.BackupFile{Name: "backup", Reader: &backup}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		opened, err := storage.Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		if db != nil {
			if err := opened.Close(); err != nil {
				t.Fatal(err)
			}
			db = nil
			continue
		}
		db = opened
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// compareVisits checks the metrics of whole visits by entry page.
func compareVisits(t *testing.T, db *storage.DB, m *model, site storage.Site) {
	t.Helper()
	type sums struct{ visits, bounces, views, seconds float64 }
	want := make(map[string]*sums)
	for _, p := range m.people {
		for _, v := range p.visits {
			s := want[v.entry]
			if s == nil {
				s = &sums{}
				want[v.entry] = s
			}
			s.visits++
			s.views += float64(v.views)
			s.seconds += v.last.Sub(v.first).Seconds()
			if v.views == 1 && !v.active {
				s.bounces++
			}
		}
	}
	for _, c := range []storage.Column{storage.Entry, storage.Path} {
		res, err := db.Query(context.Background(), storage.Query{Site: site.ID, From: storage.DateDay(2026, 3, 28), To: storage.DateDay(2026, 4, 2),
			Metrics: []storage.Metric{storage.ViewsPerVisit, storage.BounceRate, storage.VisitDuration}, GroupBy: []storage.Column{c}})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Rows) < 6 {
			t.Errorf("%s: %d rows", c, len(res.Rows))
		}
		for _, row := range res.Rows {
			s := want[row.Keys[0]]
			got := [3]float64{row.Values[0].Number, row.Values[1].Number, row.Values[2].Number}
			if truth := [3]float64{s.views / s.visits, 100 * s.bounces / s.visits, s.seconds / s.visits}; got != truth {
				t.Errorf("%s %q: views per visit, bounce rate, duration are %v, want %v", c, row.Keys[0], got, truth)
			}
		}
	}
}
