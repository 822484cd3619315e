package tracker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dachs/storage"
)

// aging is a counting with a clock of the machine that the test sets, too.
type aging struct {
	*counting
	uptime atomic.Int64
	log    bytes.Buffer
}

func newAging(t *testing.T) *aging {
	a := &aging{counting: newCounting(t)}
	a.uptime.Store(int64(1000 * time.Hour))
	a.tracker.uptime = func() time.Duration { return time.Duration(a.uptime.Load()) }
	a.tracker.log = slog.New(slog.NewTextHandler(&a.log, nil))
	return a
}

// pass lets time pass. The clock that people see moves by another step.
func (a *aging) pass(seen, real time.Duration) {
	a.wait(seen)
	a.uptime.Add(int64(real))
	a.tracker.endDays()
}

func (a *aging) table() *table {
	l := a.tracker.live(a.site)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.book.days[0].table
}

const (
	aView       = `{"n":"pageview","u":"https://example.com/a","d":"example.com"}`
	anEvent     = `{"n":"Buy","u":"https://example.com/a","d":"example.com","$":{"currency":"EUR","amount":"2.50"}}`
	anEngaged   = `{"n":"engagement","u":"https://example.com/a","d":"example.com","e":1000,"sd":10}`
	justBefore  = maxAge - time.Second
	otherClient = "X-Forwarded-For: 192.0.2.2"
)

// A day that does not end tells nobody apart: whatever keeps it from ending, its key is destroyed.
func TestDayThatDoesNotEnd(t *testing.T) {
	for name, step := range map[string]struct{ seen, real time.Duration }{
		"the clock stands still": {0, justBefore},
		"it is set back":         {-20 * time.Minute, justBefore},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAging(t)
			a.hit(aView)
			a.pass(step.seen, step.real)
			a.hit(aView)
			a.expect([4]int{1, 1, 2, 2})
			tab := a.table()
			if tab.Visitors() != 1 {
				t.Fatalf("%d visitors are known, want 1", tab.Visitors())
			}
			a.pass(0, time.Second)
			if tab.Visitors() != 0 {
				t.Errorf("%d visitors are known after 25 hours", tab.Visitors())
			}
			a.hit(aView)
			a.hit(aView, otherClient)
			a.hit(anEvent)
			a.hit(anEngaged)
			a.expect([4]int{1, 1, 4, 5})
			if got := a.counts(storage.Path)["/a"]; got != [4]int{1, 1, 4, 5} {
				t.Errorf("of the page %v are counted", got)
			}
			if got := a.tracker.Outcomes()[NoVisit]; got != 1 {
				t.Errorf("%d engagements have found no visit, want 1", got)
			}
			if n := strings.Count(a.log.String(), "\n"); n != 1 || !strings.Contains(a.log.String(), "site=example.com") || strings.Contains(a.log.String(), "192.0.2") {
				t.Errorf("the log has %d lines, want one that names the site:\n%s", n, &a.log)
			}
			a.pass(12*time.Hour-min(step.seen, 0), 12*time.Hour) // the date changes
			a.hit(aView)
			a.hit(aView)
			a.expect([4]int{2, 2, 6, 7})
			a.noNegative()
		})
	}
}

// A hit finds out by itself, without waiting for the next look at all days, where its clock does not go back.
func TestHitEndsDayThatIsTooOld(t *testing.T) {
	a := newAging(t)
	a.hit(aView)
	l := a.tracker.live(a.site)
	l.mu.Lock()
	l.book.days[0].opened = l.book.days[0].opened.Add(-maxAge)
	l.mu.Unlock()
	a.hit(aView)
	a.expect([4]int{1, 1, 2, 2})
	if n := a.table().Visitors(); n != 0 {
		t.Errorf("%d visitors are known", n)
	}
}

// noNegative looks at what is stored, whose sums must not be below zero, and at whole and single questions.
func (a *aging) noNegative() {
	a.t.Helper()
	if err := a.db.Settle(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	if err := a.db.Close(); err != nil {
		a.t.Fatal(err)
	}
	report, err := storage.Check(a.t.Context(), a.dir, storage.CheckOptions{})
	if err != nil || len(report.Findings) > 0 {
		a.t.Errorf("the check finds %v, %v", report.Findings, err)
	}
}

// A suspend over midnight ends the day by the clock, not by the age.
func TestSuspendOverMidnight(t *testing.T) {
	a := newAging(t)
	a.hit(aView)
	tab := a.table()
	a.wait(14 * time.Hour) // no look at the days: the machine slept, and the first hit comes before
	a.hit(aView)
	a.expect([4]int{2, 2, 2, 2})
	if tab.Visitors() != 0 {
		t.Error("the day before is still known")
	}
}

// TestDaysAcrossTimeChanges counts some days around each change of the clocks, a hit every minute or so, and compares with
// plain loops over all hits.
func TestDaysAcrossTimeChanges(t *testing.T) {
	for i, tt := range []struct {
		zone string
		day  storage.Day
	}{
		{"Europe/Berlin", storage.DateDay(2026, 3, 29)}, {"Europe/Berlin", storage.DateDay(2026, 10, 25)},
		{"America/New_York", storage.DateDay(2026, 3, 8)}, {"America/New_York", storage.DateDay(2026, 11, 1)},
		{"Australia/Lord_Howe", storage.DateDay(2026, 4, 5)}, {"Australia/Lord_Howe", storage.DateDay(2026, 10, 4)}, // by half an hour
	} {
		t.Run(fmt.Sprint(tt.zone, " ", tt.day), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(i), 3))
			at := tt.day.Date().Add(-30 * time.Hour)
			var now atomic.Int64
			now.Store(at.Unix())
			clock := func() time.Time { return time.Unix(now.Load(), 0) }
			db, err := storage.Open(t.TempDir(), storage.Options{Now: clock})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			site, err := db.AddSite("example.com", tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			tr, err := New(Options{Store: db, Now: clock, Uptime: func() time.Duration { return time.Duration(now.Load()) * time.Second }})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			m := &model{people: make(map[string]*modelPerson)}
			var batches []*storage.Batch
			for clock().Before(at.Add(80 * time.Hour)) {
				now.Add(int64(r.IntN(600)))
				if r.IntN(10) == 0 {
					tr.endDays()
				}
				visitor := r.IntN(12)
				h := pageView(fmt.Sprint("/", r.IntN(3)))
				m.add(visitor, clock().In(site.Location()), h)
				b := new(storage.Batch)
				if reason, err := tr.live(site).submit(tr, &Client{Addr: addrOf(visitor), UserAgent: "Browser"}, &h, b); err != nil || reason != Accepted {
					t.Fatal(reason, err)
				}
				batches = append(batches, b)
			}
			for _, b := range batches {
				if err := b.Wait(); err != nil {
					t.Fatal(err)
				}
			}
			for _, q := range []storage.Query{{Interval: storage.ByDay}, {Interval: storage.ByHour}, {Interval: storage.ByDay, GroupBy: []storage.Column{storage.Path}}} {
				q.Site, q.From, q.To = site.ID, tt.day-3, tt.day+3
				q.Metrics = []storage.Metric{storage.Visitors, storage.VisitsTotal, storage.PageViews, storage.Events}
				res, err := db.Query(context.Background(), q)
				if err != nil {
					t.Fatal(err)
				}
				qs := new(questions)
				qs.compareRows(t, fmt.Sprint("interval ", q.Interval), &q, res.Rows, m.answer(&q))
				if qs.exact < 8 {
					t.Errorf("only %d counts were compared", qs.exact)
				}
			}
		})
	}
}

// The clock jumps over midnight and back: hits go to the day that the clock says, and nobody is known across.
func TestClockJumps(t *testing.T) {
	a := newAging(t)
	jump := func(d time.Duration, want [4]int, known int) {
		t.Helper()
		a.pass(d, time.Second)
		a.hit(aView)
		a.expect(want)
		if n := a.table().Visitors(); n != known {
			t.Errorf("%d visitors are known, want %d", n, known)
		}
	}
	jump(0, [4]int{1, 1, 1, 1}, 1)
	jump(24*time.Hour, [4]int{2, 2, 2, 2}, 1) // a day ahead: the next day, where nobody is known
	tab := a.table()
	a.pass(-24*time.Hour, time.Second)
	if n := tab.Visitors(); n != 0 {
		t.Errorf("%d visitors of a day that is not today are known", n)
	}
	jump(0, [4]int{3, 3, 3, 3}, 1)              // and back: the key of that day is gone
	jump(-time.Hour, [4]int{3, 4, 4, 4}, 1)     // within the day: the same visitor; the visit is one hour away
	jump(2*time.Hour, [4]int{3, 5, 5, 5}, 1)    // ahead
	jump(2*24*time.Hour, [4]int{4, 6, 6, 6}, 1) // days ahead
}
