package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"dachs/storage"
	"dachs/tracker"
)

const (
	demoDomain = "fernhill.example"
	demoZone   = "Europe/Berlin"
	demoDays   = 90
	demoSeed   = 0xDAC5
	// demoSteps ends walks that would go round in circles.
	demoSteps = 25
)

// traffic makes up the visits of the demo shop. The same seed and end give the same hits.
type traffic struct {
	people   people
	goods    goods
	enricher *tracker.Enricher
	zone     *time.Location
	until    time.Time
}

// timedHit is a hit that is about to be counted.
type timedHit struct {
	at    time.Time
	addr  netip.Addr
	agent string
	hit   tracker.Hit
}

// fillDemo counts demoDays days of made-up traffic up to now, through the same enrichment and the same visit
// rules as real hits. tell is called after each day.
func fillDemo(ctx context.Context, store *storage.DB, geo *tracker.Geo, site storage.Site, now time.Time, tell func(day int, hits int64)) error {
	t, err := newTraffic(geo, site.Location(), now)
	if err != nil {
		return fmt.Errorf("fill demo: %w", err)
	}
	book := tracker.NewBook(store, site, 2, rand.Reader)
	defer book.Close()
	into, err := store.BeginImport(site.ID)
	if err != nil {
		return fmt.Errorf("fill demo: %w", err)
	}
	defer into.Rollback()

	var hits int64
	var rows []storage.Row
	for index := range demoDays {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rows = rows[:0]
		for _, h := range t.day(index) {
			// NoVisit cannot happen to a walk that begins with a page view, but at midnight: then it is right.
			rows, _ = book.Count(h.addr, h.agent, h.hit, h.at, rows)
			hits++
		}
		if err := into.Append(rows...); err != nil {
			return fmt.Errorf("fill demo: %w", err)
		}
		tell(index+1, hits)
	}
	first, last := t.midnight(0), now.In(t.zone)
	err = into.Commit(storage.Fingerprint{Lines: hits, First: storage.DayOf(first), Last: storage.DayOf(last)}, true)
	if err != nil {
		return fmt.Errorf("fill demo: %w", err)
	}
	return nil
}

func newTraffic(geo *tracker.Geo, zone *time.Location, until time.Time) (*traffic, error) {
	enricher, err := tracker.NewEnricher(tracker.EnricherOptions{Geo: geo})
	if err != nil {
		return nil, err
	}
	return &traffic{demoPeople(), demoGoods(), enricher, zone, until}, nil
}

// midnight returns the start of a day; index demoDays-1 is today.
func (t *traffic) midnight(index int) time.Time {
	y, m, d := t.until.In(t.zone).Date()
	return time.Date(y, m, d+index-demoDays+1, 0, 0, 0, 0, t.zone)
}

// day returns the hits of a day in order of time.
func (t *traffic) day(index int) []timedHit {
	r := mathrand.New(mathrand.NewPCG(demoSeed, uint64(index)))
	start, end := t.midnight(index), t.midnight(index+1)
	var hits []timedHit
	walks := 0
	visit := func(o origin) {
		walks++
		w := t.visitor(o, index, walks, r)
		hits = append(hits, w.walk(o, t.moment(start, r))...)
		if last := len(hits) - 1; r.Float64() < .13 {
			// Comes back later that day, mostly by the address this time.
			pause := time.Duration(50+r.IntN(400)) * time.Minute
			if r.Float64() < .6 {
				o = t.people.origins[0].value
			}
			hits = append(hits, w.walk(o, hits[last].at.Add(pause))...)
		}
	}
	for range t.people.visitsOn(start, index, r) {
		visit(t.people.origins.draw(r))
	}
	special, n := t.people.special(start, index)
	for range int(n) {
		visit(special)
	}
	if t.until.Before(end) {
		end = t.until
	}
	hits = slices.DeleteFunc(hits, func(h timedHit) bool { return !h.at.Before(end) })
	slices.SortStableFunc(hits, func(a, b timedHit) int { return a.at.Compare(b.at) })
	return hits
}

// moment draws a time of day.
func (t *traffic) moment(midnight time.Time, r *mathrand.Rand) time.Time {
	y, m, d := midnight.Date()
	return time.Date(y, m, d, t.people.hours.draw(r), r.IntN(60), r.IntN(60), 0, t.zone)
}

// walker is one visitor of the demo shop on one day.
type walker struct {
	*traffic
	r       *mathrand.Rand
	addr    netip.Addr
	device  device
	country string
	lang    string
	at      time.Time
	hits    []timedHit
	shelf   *category
	item    *product
	url     string // of the page that the walker is on
}

func (t *traffic) visitor(o origin, day, number int, r *mathrand.Rand) *walker {
	w := &walker{traffic: t, r: r}
	if w.device = t.people.desktops.draw(r); r.Float64() < o.mobile {
		w.device = t.people.phones.draw(r)
	}
	w.country, w.lang, _ = strings.Cut(t.people.countries.draw(r), " ")
	// Addresses of the block for documentation (RFC 3849), a network for each visitor.
	var addr [16]byte
	binary.BigEndian.PutUint32(addr[:], 0x20010db8)
	binary.BigEndian.PutUint16(addr[4:], uint16(day))
	binary.BigEndian.PutUint16(addr[6:], uint16(number))
	addr[15] = 1
	w.addr = netip.AddrFrom16(addr)
	return w
}

// walk returns the hits of one visit.
func (w *walker) walk(o origin, at time.Time) []timedHit {
	w.at, w.hits, w.url = at, nil, o.referrer
	query := strings.ReplaceAll(o.query, "LETTER", w.week())
	for here := o.lands.draw(w.r); here != leave && len(w.hits) < 3*demoSteps; {
		w.visitPage(here, query)
		query = ""
		next := w.people.next[here].draw(w.r)
		if here == atCheckout && next == atThanks {
			w.event("Purchase", w.item)
		}
		if here == atItem && next == atCart {
			w.event("Add to cart", w.item)
		}
		here = next
	}
	return w.hits
}

// week names the letter that somebody clicks on.
func (w *walker) week() string {
	_, week := w.at.ISOWeek()
	return strconv.Itoa(week)
}

// visitPage looks at a page for a while.
func (w *walker) visitPage(here step, query string) {
	referrer := w.url
	w.url = "https://" + demoDomain + w.pathOf(here)
	if query != "" {
		w.url += "?" + query
	}
	w.hit(&tracker.Payload{Name: storage.PageViewName, URL: w.url, Referrer: referrer, Interactive: true, Scroll: -1})
	if (here == atHome || here == atArticle || here == atThanks) && w.r.Float64() < .014 {
		w.event("Newsletter", nil)
	}
	seconds := 6 + 38*w.r.ExpFloat64()
	if here == atArticle {
		seconds *= 2.4
	}
	seconds = min(seconds, 20*60)
	w.at = w.at.Add(time.Duration(seconds) * time.Second)
	w.hit(&tracker.Payload{
		Name: "engagement", URL: w.url, Interactive: true,
		Engaged: int64(seconds * (600 + 350*w.r.Float64())),
		Scroll:  min(100, 28+w.r.IntN(90)),
	})
	w.at = w.at.Add(time.Second)
}

// pathOf moves to a page of the given kind. People look around on the shelf where they are.
func (w *walker) pathOf(here step) string {
	switch here {
	case atShelf:
		w.shelf = &w.goods.Categories[min(w.r.IntN(4), w.r.IntN(4), 2)]
		return "/" + w.shelf.Slug
	case atItem:
		if w.shelf == nil || w.r.Float64() < .2 {
			w.shelf = &w.goods.Categories[w.r.IntN(len(w.goods.Categories))]
		}
		n := len(w.shelf.Products)
		w.item = &w.shelf.Products[min(w.r.IntN(n), w.r.IntN(n))]
		return w.item.Path()
	case atCart:
		return "/cart"
	case atCheckout:
		return "/checkout"
	case atThanks:
		return "/thanks"
	case atJournal:
		return "/journal"
	case atArticle:
		n := len(w.goods.Articles)
		return w.goods.Articles[min(w.r.IntN(n), w.r.IntN(n))].Path()
	}
	return "/"
}

// event sends what a button of the shop sends.
func (w *walker) event(name string, item *product) {
	p := &tracker.Payload{Name: name, URL: w.url, Interactive: true, Scroll: -1}
	if item != nil {
		p.Props = []tracker.Prop{{Key: "product", Value: item.Slug}}
	}
	if name == "Purchase" {
		p.Revenue = tracker.Money{Amount: item.Cents, Currency: "EUR"}
	}
	w.hit(p)
}

func (w *walker) hit(p *tracker.Payload) {
	p.Domain = demoDomain
	hit, why, _ := w.enricher.Enrich(p, &tracker.Client{Addr: w.addr, UserAgent: w.device.agent, Language: w.lang}, &storage.Site{Domain: demoDomain})
	if why != tracker.Accepted {
		return
	}
	// The addresses are nowhere; the country is drawn.
	hit.Attributes.Country = w.country
	w.hits = append(w.hits, timedHit{w.at, w.addr, w.device.agent, hit})
}
