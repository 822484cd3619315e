package tracker

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"dachs/storage"
	"dachs/tracker/visit"
)

// few are limits of so many values of every dimension.
func few(n int) *limits {
	var l limits
	for d := range l {
		l[d] = n
	}
	return &l
}

func TestCapOfEachDimension(t *testing.T) {
	for d := range cappedDimensions {
		t.Run(d.String(), func(t *testing.T) {
			c := newCaps(few(2))
			for i, tt := range []struct{ value, want string }{
				{"a", "a"}, {"b", "b"}, {"c", OtherValue}, {"a", "a"}, {"", ""}, {"c", OtherValue}, {"b", "b"}, {OtherValue, OtherValue},
			} {
				h := Hit{Kind: visit.Event, Interactive: true, Revenue: Money{3, "EUR"}}
				*d.of(&h) = tt.value
				before := h
				got, r := c.apply(&h)
				if *d.of(got) != tt.want || (r == 1<<d) != (tt.want == OtherValue && tt.value != OtherValue) {
					t.Errorf("step %d: %q became %q (%b), want %q", i, tt.value, *d.of(got), r, tt.want)
				}
				if h != before {
					t.Errorf("step %d: the caller's hit is changed", i)
				}
				*d.of(got) = tt.value
				if *got != before {
					t.Errorf("step %d: more than the value changed: %+v, before %+v", i, *got, before)
				}
			}
			if n := len(c.known[d]); n != 2 {
				t.Errorf("%d values are kept, want 2", n)
			}
		})
	}
}

// What a site's day takes at most is documented, however long its values are.
func TestFullCapsTakeLittle(t *testing.T) {
	before := heapInUse()
	c := newCaps(&defaultLimits)
	for d := range cappedDimensions {
		long := []byte(strings.Repeat("x", 2000))
		for i := range 2 * defaultLimits[d] {
			long[0], long[1], long[2] = byte(i), byte(i>>8), byte(i>>16)
			c.admit(d, string(long))
		}
		if n := len(c.known[d]); n != defaultLimits[d] {
			t.Errorf("%s: %d values are kept, want %d", d, n, defaultLimits[d])
		}
	}
	if size := heapInUse() - before; size > 9<<20 {
		t.Errorf("full caps take %d bytes, want at most 9 MiB", size)
	}
	runtime.KeepAlive(c)
}

// All page views have one name, which has room always; and what comes with a page view is no event's name.
func TestPageViewKeepsItsName(t *testing.T) {
	c := newCaps(few(1))
	for _, h := range []Hit{pageView("/"), {Kind: visit.Event, Name: "Buy"}, pageView("/")} {
		if got, r := c.apply(&h); got != &h || r != 0 {
			t.Errorf("%+v became %+v", h, *got)
		}
	}
}

// An engagement goes to the page under which its page view was counted, and takes no room for pages.
func TestEngagementsOfReplacedPages(t *testing.T) {
	c := newCaps(few(1))
	ping := func(path string) *Hit {
		h, _ := c.apply(&Hit{Kind: visit.Engagement, Name: engagementName, Path: path, Hostname: "example.com", Origin: Origin{Source: path}})
		return h
	}
	if h := ping("/made-up"); h.Path != "/made-up" || len(c.known[cappedPath]) != 0 {
		t.Errorf("a page that nobody has seen: %q, %d pages", h.Path, len(c.known[cappedPath]))
	}
	h := pageView("/a")
	c.apply(&h)
	for path, want := range map[string]string{"/a": "/a", "/b": OtherValue} {
		if h := ping(path); h.Path != want || h.Name != engagementName || h.Hostname != "example.com" {
			t.Errorf("%s: %+v", path, h)
		}
	}
	if n := len(c.known[cappedSource]); n != 0 {
		t.Errorf("engagements have brought %d sources", n)
	}
}

// naiveCaps replaces values by the plainest rule: of each day the first few stay.
type naiveCaps struct {
	paths, most int
	seen        map[string]map[string]bool // by day and dimension
}

func (c *naiveCaps) apply(day string, h Hit) Hit {
	replace := func(what string, most int, s *string) {
		of := c.seen[day+what]
		if of == nil {
			of = make(map[string]bool)
			c.seen[day+what] = of
		}
		if *s != "" && !of[*s] && len(of) >= most {
			*s = OtherValue
		} else if *s != "" {
			of[*s] = true
		}
	}
	replace("path", c.paths, &h.Path)
	replace("host", c.most, &h.Hostname)
	for what, s := range map[string]*string{
		"source": &h.Origin.Source, "referrer": &h.Origin.Referrer, "utm_source": &h.Origin.UTMSource, "utm_medium": &h.Origin.UTMMedium,
		"campaign": &h.Origin.UTMCampaign, "term": &h.Origin.UTMTerm, "content": &h.Origin.UTMContent, "props": &h.Props,
		"browser version": &h.Attributes.BrowserVersion, "os version": &h.Attributes.OSVersion, "language": &h.Attributes.Language,
	} {
		replace(what, c.most, s)
	}
	if h.Kind == visit.Event {
		replace("name", c.most, &h.Name)
	}
	return h
}

// Where values are replaced before anything is derived from them, every distinct count of (other) is exact: visitors and
// visits of it, entries, exits, and all in any combination.
func TestCappedBookAgreesWithNaiveModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 11))
	// No day of the stream is over: hours are in all combinations.
	db, site := openStoreAt(t, func() time.Time { return storage.DateDay(2026, 3, 28).Date() })
	m := &model{people: make(map[string]*modelPerson)}
	naive := &naiveCaps{paths: 3, most: 1, seen: make(map[string]map[string]bool)}
	book := NewBook(db, site, 3, rand.NewChaCha8([32]byte{}))
	defer book.Close()
	book.limits = few(naive.most)
	book.limits[cappedPath] = naive.paths
	randomStream(r, 900, site.Location(), func(visitor int, at time.Time, h Hit) {
		m.add(visitor, at, naive.apply(at.Format(time.DateOnly), h))
		rows, reason := book.Count(addrOf(visitor), "Browser", h, at.UTC(), nil)
		if reason != Accepted {
			t.Fatal(reason)
		}
		if err := db.Append(rows...); err != nil {
			t.Fatal(err)
		}
	})
	if book.tally[cappedPath].Load() == 0 || book.tally[cappedSource].Load() == 0 {
		t.Fatal("the stream fits its caps: it shows nothing")
	}
	newQuestions(r, m, site).compare(t, db, false)
}

// Whatever was admitted before a restart, or by another book of the day, takes room after it.
func TestCapsGoOnAfterRestart(t *testing.T) {
	c := newCounting(t)
	count := func(path, source string) {
		t.Helper()
		h := pageView(path)
		h.Origin.Source = source
		if _, err := c.tracker.count(c.site, &Client{Addr: addrOf(1), UserAgent: "Browser"}, &h, new(storage.Batch)); err != nil {
			t.Fatal(err)
		}
	}
	c.tracker.limits = *few(3)
	count("/a", "x")
	count("/b", "")
	c.tracker.lives.Clear() // as a restart does
	for _, path := range []string{"/c", "/d", "/a", "/b", "/e"} {
		count(path, path)
	}
	got := c.pages(c.site)
	want := map[string]float64{"/a": 2, "/b": 2, "/c": 1, OtherValue: 2}
	if len(got) != len(want) {
		t.Errorf("pages are %v, want %v", got, want)
	}
	for path, n := range want {
		if got[path] != n {
			t.Errorf("page %s has %v views, want %v", path, got[path], n)
		}
	}
	if n := c.tracker.capped[cappedPath].Load(); n != 2 {
		t.Errorf("%d replaced paths are counted, want 2", n)
	}
	if _, text := c.do("GET", "/metrics", ""); !strings.Contains(text, "\ndachs_values_replaced_total{dimension=\"page\"} 2\n") {
		t.Errorf("the metrics do not say so:\n%s", text)
	}
}

// A store whose values cannot be read still gets its hits.
func TestHitsCountWhereValuesCannotBeRead(t *testing.T) {
	c := newCounting(t)
	var log bytes.Buffer
	c.tracker.log = slog.New(slog.NewTextHandler(&log, nil))
	other, err := storage.Open(t.TempDir(), storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	c.tracker.live(c.site).book.store = other
	for range 3 {
		h := pageView("/secretpath")
		if reason, err := c.tracker.count(c.site, &Client{Addr: addrOf(1), UserAgent: "Browser"}, &h, new(storage.Batch)); err != nil || reason != Accepted {
			t.Fatal(reason, err)
		}
	}
	c.expect([4]int{1, 1, 3, 3})
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "site=example.com") || strings.Contains(log.String(), "secret") {
		t.Errorf("the log has %d lines, want one that names the site:\n%s", n, &log)
	}
}

// BenchmarkBook counts page views of known visitors and pages, as most are.
func BenchmarkBook(b *testing.B) {
	db, site := openStore(b)
	book := NewBook(db, site, 1, rand.NewChaCha8([32]byte{}))
	defer book.Close()
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	hits := make([]Hit, 500)
	for i := range hits {
		hits[i] = pageView(fmt.Sprintf("/blog/%d-some-title-of-a-page", i))
		hits[i].Origin = Origin{Source: "Google", Channel: "Organic Search", Referrer: "google.com"}
		hits[i].Attributes = Attributes{Country: "DE", Browser: "Chrome", BrowserVersion: "141", OS: "Windows", OSVersion: "10", Device: "Desktop", Language: "de"}
	}
	rows := make([]storage.Row, 0, 8)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, reason := book.Count(addrOf(i%200), firefox, hits[i%len(hits)], at, rows); reason != Accepted {
			b.Fatal(reason)
		}
	}
}
