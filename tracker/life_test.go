package tracker

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dachs/storage"
	"dachs/tracker/visit"
)

// pageView is a hit of the page.
func pageView(path string) Hit {
	return Hit{Name: storage.PageViewName, Path: path, Hostname: "example.com", Scroll: -1, Origin: Origin{Channel: "Direct"}}
}

// open counts a page view into the site's present day, and returns the table of that day.
func (t *Tracker) open(tb testing.TB, site storage.Site) *table {
	tb.Helper()
	l := t.live(site)
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, reason := l.book.Count(addrOf(1), "Browser", pageView("/"), t.now(), nil); reason != Accepted {
		tb.Fatal(reason)
	}
	return l.book.days[0].table
}

// Keys must not outlive midnight because nobody comes any more.
func TestKeysEndAtMidnightWithoutHits(t *testing.T) {
	db, site := openStore(t)
	// The store lives outside, and a book asks it when a day begins: at the instant at which synctest begins.
	book := newLiveBook(db, site, rand.NewChaCha8([32]byte{}))
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, reason := book.Count(addrOf(1), "Browser", pageView("/"), start, nil); reason != Accepted {
		t.Fatal(reason)
	}
	tab := book.days[0].table
	synctest.Test(t, func(t *testing.T) {
		tr, err := New(Options{Store: db})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		tr.lives.Store(site.ID, &live{book: book})
		known := func() (visitors, days int) {
			l := tr.live(site)
			l.mu.Lock()
			defer l.mu.Unlock()
			return tab.Visitors(), len(l.book.days)
		}
		now := time.Now().In(site.Location())
		midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, now.Location())
		time.Sleep(midnight.Sub(now) - time.Second)
		synctest.Wait()
		if visitors, days := known(); visitors != 1 || days != 1 {
			t.Errorf("before midnight %d visitors and %d days are known, want 1 and 1", visitors, days)
		}
		time.Sleep(time.Second + expireEvery)
		synctest.Wait()
		if visitors, days := known(); visitors != 0 || days != 0 {
			t.Errorf("%d visitors and %d days are known %v after midnight", visitors, days, expireEvery)
		}
	})
}

func TestCloseDestroysKeys(t *testing.T) {
	db, site := openStore(t)
	other, err := db.AddSite("example.org", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := New(Options{Store: db})
	if err != nil {
		t.Fatal(err)
	}
	tabs := []*table{tr.open(t, site), tr.open(t, other)}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	for i, tab := range tabs {
		if tab.Visitors() != 0 {
			t.Errorf("site %d: %d visitors are known after Close", i, tab.Visitors())
		}
	}
}

// A visitor whose hit was not stored is new with the next one.
func TestRefusedHitIsTakenBack(t *testing.T) {
	c := newCounting(t)
	client := &Client{Addr: addrOf(1), UserAgent: "Browser"}
	count := func(h Hit) error {
		reason, err := c.tracker.count(c.site, client, &h, new(storage.Batch))
		if err == nil && reason != Accepted {
			t.Fatal(reason)
		}
		return err
	}
	// More than one transaction takes, and nothing that compression could save.
	noise := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	if err := count(pageView("/" + string(noise))); err == nil {
		t.Fatal("the store took a path of 16 MiB")
	}
	c.expect([4]int{})
	if err := count(pageView("/")); err != nil {
		t.Fatal(err)
	}
	c.expect([4]int{1, 1, 1, 1})

	tab := c.tracker.live(c.site).book.days[0].table
	if err := c.db.Close(); err != nil {
		t.Fatal(err)
	}
	client.Addr = addrOf(2)
	if err := count(pageView("/")); !errors.Is(err, storage.ErrClosed) {
		t.Fatalf("a closed store: %v", err)
	}
	if n := tab.Visitors(); n != 1 {
		t.Errorf("%d visitors are known, 1 is stored", n)
	}
}

// A commit may fail after the day has ended; there is nothing to take back then.
func TestRevertAfterMidnight(t *testing.T) {
	db, site := openStore(t)
	tr, err := New(Options{Store: db})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	tr.open(t, site)
	var b storage.Batch
	h := pageView("/again")
	if _, err := tr.live(site).submit(tr, &Client{Addr: addrOf(1), UserAgent: "Browser"}, &h, &b); err != nil {
		t.Fatal(err)
	}
	if err := b.Wait(); err != nil {
		t.Fatal(err)
	}
	l := tr.live(site)
	l.mu.Lock()
	l.book.expire(tr.now().Add(48 * time.Hour))
	l.mu.Unlock()
	b.Revert()
}

// fill uses up what the table of a site's present day may take. The paths share their memory.
func (c *counting) fill() {
	c.t.Helper()
	long := strings.Repeat("x", 1<<20)
	l := c.tracker.live(c.site)
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range 2 * visit.Budget / len(long) {
		if _, reason := l.book.Count(addrOf(1), "Browser", pageView(long[n:]), c.clock(), nil); reason == Overloaded {
			return
		}
	}
	c.t.Fatal("the table is never full")
}

func TestNoRoomForVisitors(t *testing.T) {
	c := newCounting(t)
	var log bytes.Buffer
	c.tracker.log = slog.New(slog.NewTextHandler(&log, nil))
	const event = `{"n":"pageview","u":"https://example.com/secretpath","d":"example.com"}`
	c.hit(event)
	c.fill()
	for n := range uint64(3) {
		resp, text := c.do("POST", "/api/event", event)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("event: %d %s", resp.StatusCode, text)
		}
		if got := c.tracker.Outcomes()[Overloaded]; got != n+1 {
			t.Errorf("%d refusals are counted, want %d", got, n+1)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "site=example.com") || strings.Contains(log.String(), "secret") {
		t.Errorf("the log has %d lines, want one that names the site:\n%s", n, &log)
	}
	c.expect([4]int{1, 1, 1, 1})
	c.wait(24 * time.Hour)
	c.hit(event)
	c.expect([4]int{2, 2, 2, 2})
}

// What a request leaves in the pool until the next one must be nothing.
func TestReleasedRequestIsEmpty(t *testing.T) {
	db, site := openStore(t)
	tr, err := New(Options{Store: db})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	r := new(request)
	for round, rows := range []int{8, 2} { // the second time fewer than the first
		r.payload = Payload{Name: "canary", URL: "https://canary/", Props: []Prop{{"canary", "canary"}}}
		r.client = Client{Addr: netip.MustParseAddr("203.0.113.77"), UserAgent: "canary", Language: "canary", Purpose: "canary"}
		r.batch.Rows = r.batch.Rows[:0]
		for range rows {
			r.batch.Rows = append(r.batch.Rows, storage.Row{Site: site.ID, Dims: dims{storage.Path: "/canary"}})
		}
		if round == 1 { // as left by a release that clears too little
			r.batch.Rows[:8][7].Dims[storage.Path] = "/canary"
		}
		r.batch.Revert = func() {}
		tr.release(r)
		all := r.batch.Rows[:cap(r.batch.Rows)]
		for i := range all {
			if all[i] != (storage.Row{}) {
				t.Errorf("round %d: row %d of %d is left: %+v", round, i, len(all), all[i])
			}
		}
		if !reflect.DeepEqual(r.payload, Payload{}) || r.client != (Client{}) || len(r.batch.Rows) != 0 || r.batch.Revert != nil {
			t.Errorf("round %d: left are %+v, %+v", round, r.payload, r.client)
		}
	}
}
