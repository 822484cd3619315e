// Package tracker turns one HTTP request into increments of counters, or into a counted refusal.
//
// The way of a page view: Serve reads the request within limits (decode), asks whether it may be counted,
// turns it into the terms of the cube (Enricher, which is pure: a Draft of the request, then a Hit for each site), learns who is new (Book, in memory only), and
// waits until the increments are stored before it answers 202. What identifies a visitor, the address and the
// user agent, is used in memory while the request lasts, to make a keyed number that lives until the site's
// midnight at most; see package visit.
package tracker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"dachs/storage"
	"dachs/tracker/secret"
	"dachs/tracker/visit"

	"github.com/valyala/fastjson"
)

// expireEvery is how often days that are over are looked for where no hit comes to end them.
const expireEvery = 5 * time.Second

// Options configures New. Store is required.
type Options struct {
	Store          *storage.DB
	TrustedProxies []netip.Prefix   // networks whose ClientHeader is believed
	ClientHeader   string           // as CleanClientHeader writes it; empty: X-Forwarded-For
	Geo            *Geo             // nil: the embedded table of countries
	Logger         *slog.Logger     // nil: silent
	Now            func() time.Time // nil: time.Now
	Random         io.Reader        // nil: crypto/rand; the source of the visitors' keys
	// Uptime is a clock that nobody can set, for days that do not end since somebody set the other one. nil: since the
	// machine started, also while it slept.
	Uptime      func() time.Duration
	DataCentres *Networks // nil: none are known; for sites that leave their hits out
	// RateLimit is how many hits a second a site takes from one public address or IPv6 /64, and six times as many at once. 0 is
	// no limit.
	RateLimit int
}

// Tracker counts hits. Its methods may be called from many goroutines.
type Tracker struct {
	store    *storage.DB
	proxies  Proxies
	enricher *Enricher
	log      *slog.Logger
	now      func() time.Time
	random   io.Reader
	uptime   func() time.Duration
	secrets  secret.Memory // of all sites' keys

	lives    sync.Map // *live by storage.Site.ID
	outcomes [reasons]atomic.Uint64
	limits   limits // of a site's day
	capped   tally
	notes    notes
	rulings  sync.Map // *ruling by storage.Site.ID
	limiter  *limiter
	replaced replacedTally
	parsers  fastjson.ParserPool
	routes   map[string]route
	requests sync.Pool // *request

	dataCentres *Networks

	stop  chan struct{}
	owned sync.WaitGroup // the goroutines that end days and keep notes
}

// New makes a tracker. The Store and the Geo stay the caller's to close.
func New(o Options) (*Tracker, error) {
	enricher, err := NewEnricher(EnricherOptions{Geo: o.Geo})
	if err != nil {
		return nil, err
	}
	t := &Tracker{
		store: o.Store, proxies: Proxies{o.TrustedProxies, o.ClientHeader}, enricher: enricher,
		log: o.Logger, now: o.Now, random: o.Random, uptime: o.Uptime, limits: defaultLimits, stop: make(chan struct{}),
		dataCentres: o.DataCentres,
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.now == nil {
		t.now = time.Now
	}
	if t.random == nil {
		t.random = rand.Reader
	}
	t.routes = t.routing()
	if t.uptime == nil {
		t.uptime = machineClock()
	}
	t.limiter = newLimiter(o.RateLimit, t.now())
	t.owned.Go(t.expire)
	t.owned.Go(t.keepNotes)
	return t, nil
}

// Close stores the last notes and destroys all visitors' keys. No Serve may be under way, and the Store has to be open still.
func (t *Tracker) Close() error {
	close(t.stop)
	t.owned.Wait()
	t.lives.Range(func(_, l any) bool {
		l.(*live).close()
		return true
	})
	return nil
}

// Outcomes returns how many hits had which outcome since the start, by Reason.
func (t *Tracker) Outcomes() []uint64 {
	all := make([]uint64, reasons)
	for i := range all {
		all[i] = t.outcomes[i].Load()
	}
	return all
}

// live is the present day of one site.
type live struct {
	mu   sync.Mutex // guards book; held while a batch is queued, so that batches are stored in the order of the book
	book *Book
}

func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.Close()
}

func (t *Tracker) live(site storage.Site) *live {
	if l, ok := t.lives.Load(site.ID); ok {
		return l.(*live)
	}
	book := newLiveBook(t.store, site, t.random)
	book.limits, book.tally, book.secrets = &t.limits, &t.capped, &t.secrets
	book.uptime = t.uptime
	l, _ := t.lives.LoadOrStore(site.ID, &live{book: book})
	return l.(*live)
}

// expire ends days at the sites' midnight also where no hit comes, and forgets who has sent hits lately.
func (t *Tracker) expire() {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.stop:
			return
		}
		t.endDays()
		t.limiter.forget(t.now())
	}
}

// endDays destroys the keys of all days that are over, or should be, and lets idle visits go.
func (t *Tracker) endDays() {
	t.lives.Range(func(_, v any) bool {
		l := v.(*live)
		l.mu.Lock()
		defer l.mu.Unlock()
		now := t.now()
		l.book.expire(now)
		for _, d := range l.book.days {
			if d.blindAt(l.book.age(d, now)) {
				t.logBlind(l.book.site, now)
			}
			d.table.Fold(now.UnixMilli())
		}
		return true
	})
}

// count stores the increments of a hit, or says why there are none. An error means that the store refused, or that
// there is no room in memory; then nothing has changed.
func (t *Tracker) count(site storage.Site, c *Client, h *Hit, b *storage.Batch) (Reason, error) {
	l := t.live(site)
	reason, err := l.submit(t, c, h, b)
	if err == nil && reason == Accepted {
		err = b.Wait()
	}
	if err != nil {
		return Overloaded, fmt.Errorf("count hit: %w", err)
	}
	return reason, nil
}

// submit books a hit and queues its increments in one step.
func (l *live) submit(t *Tracker, c *Client, h *Hit, b *storage.Batch) (Reason, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := t.now() // under the lock: time must not run backwards from hit to hit
	day, local, err := l.book.day(now)
	if err != nil {
		return Overloaded, err
	}
	if day.blindAt(now.Sub(day.opened)) {
		t.logBlind(l.book.site, now)
	}
	t.logUnread(l.book.site, day)
	if day.parts {
		day.parts = false
		t.note(l.book.site, storage.KindParts, "restart", 1)
	}
	rows, undo, err := l.book.count(day, c.Addr, c.UserAgent, h, local, b.Rows[:0])
	b.Rows = rows
	switch {
	case errors.Is(err, visit.ErrNoVisit):
		return NoVisit, nil
	case err != nil:
		t.logFull(l.book.site, day, err)
		return Overloaded, err
	}
	b.Revert = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		day.table.Revert(&undo)
	}
	if err := t.store.Submit(b); err != nil {
		day.table.Revert(&undo)
		return Overloaded, err
	}
	return Accepted, nil
}

// logFull says once a day that a site's hits are refused until midnight.
func (t *Tracker) logFull(site storage.Site, day *bookDay, err error) {
	if day.full {
		return
	}
	day.full = true
	t.log.Error("cannot count hits of a site until its midnight: look for a program that makes up pages or visitors",
		"site", site.Domain, "error", err)
}

// logUnread says once that the values which a site's day has could not be read.
func (t *Tracker) logUnread(site storage.Site, day *bookDay) {
	if day.unread == nil {
		return
	}
	t.log.Warn("cannot read what pages, referrers and so on a site has today: it may take up to twice as many as else",
		"site", site.Domain, "error", day.unread)
	day.unread = nil
}
