package tracker

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"dachs/storage"

	"github.com/valyala/fasthttp"
)

// soak says that the long versions of tests are wanted.
func soak() bool { return os.Getenv("DACHS_SOAK") != "" }

// pages returns the page views of each page of a site today.
func (c *counting) pages(site storage.Site) map[string]float64 {
	c.t.Helper()
	today := storage.DayOf(c.clock().In(site.Location()))
	res, err := c.db.Query(context.Background(), storage.Query{Site: site.ID, From: today, To: today,
		Metrics: []storage.Metric{storage.PageViews}, GroupBy: []storage.Column{storage.Path}})
	if err != nil {
		c.t.Fatal(err)
	}
	views := make(map[string]float64)
	for _, r := range res.Rows {
		views[r.Keys[0]] = r.Values[0].Number
	}
	return views
}

// sender sends events to the handler without a connection in between.
type sender struct {
	c   *counting
	req fasthttp.Request
	ctx fasthttp.RequestCtx
}

func newSender(c *counting) *sender {
	s := &sender{c: c}
	s.req.Header.SetMethod("POST")
	s.req.SetRequestURI(EventPath)
	s.req.Header.SetUserAgent(firefox)
	return s
}

// view sends a page view of a visitor.
func (s *sender) view(domain, path string, visitor int) {
	s.req.SetBodyString(fmt.Sprintf(`{"n":"pageview","u":"https://%s%s","d":"%s"}`, domain, path, domain))
	addr := &net.TCPAddr{IP: net.IPv4(198, 51, byte(visitor>>8), byte(visitor))}
	s.ctx.Init(&s.req, addr, nil)
	if !s.c.tracker.Serve(&s.ctx) || s.ctx.Response.StatusCode() != fasthttp.StatusAccepted {
		s.c.t.Errorf("%s%s: status %d", domain, path, s.ctx.Response.StatusCode())
	}
}

// letters writes a number so that it looks like a word and not like a number that might be somebody's.
func letters(n int) string {
	var word []byte
	for range 5 {
		word = append(word, "bdfgklmnprstvz"[n%14], "aeiou"[n/14%5])
		n /= 70
	}
	return "/" + string(word[:4]) + "/" + string(word[4:])
}

// A flood of made-up pages on one site keeps its totals exact, takes no more pages than the cap, and does not touch
// another site.
func TestFloodOfPages(t *testing.T) {
	c := newCounting(t)
	total, most := 12_000, 1_000
	if soak() {
		total, most = 1_000_000, c.tracker.limits[cappedPath]
	}
	c.tracker.limits[cappedPath] = most
	quiet, err := c.db.AddSite("quiet.example", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	const (
		workers  = 64
		visitors = 500 // of the flood; each has one visit
		between  = 100 // hits of the flood for each of the other site
	)
	before := heapInUse()
	var owned sync.WaitGroup
	var mu sync.Mutex // guards took
	var took []time.Duration
	for w := range workers {
		owned.Go(func() {
			s := newSender(c)
			for i := w; i < total && !t.Failed(); i += workers {
				s.view("example.com", letters(i), i%visitors)
				if i%between == 0 {
					start := time.Now()
					s.view("quiet.example", fmt.Sprint("/", i/between%5), i/between%7)
					mu.Lock()
					took = append(took, time.Since(start))
					mu.Unlock()
				}
			}
		})
	}
	owned.Wait()
	grown := heapInUse() - before
	slices.Sort(took)
	t.Logf("%d page views: the heap has grown by %.1f MiB; one of the other site took %s, the slowest of a hundred %s", total,
		float64(grown)/(1<<20), took[len(took)/2], took[len(took)*99/100])

	c.expect([4]int{visitors, visitors, total, total})
	pages, sum := c.pages(c.site), 0.0
	for _, n := range pages {
		sum += n
	}
	if len(pages) != most+1 || pages[OtherValue] != float64(total-most) || sum != float64(total) {
		t.Errorf("%d pages with %g views, %g of them on %s; want %d, %d, %d", len(pages), sum, pages[OtherValue], OtherValue, most+1, total, total-most)
	}
	if n := c.tracker.capped[cappedPath].Load(); n != uint64(total-most) {
		t.Errorf("%d replaced pages are counted, want %d", n, total-most)
	}
	other := c.pages(quiet)
	for i := range 5 {
		if got := other[fmt.Sprint("/", i)]; got != float64(total/between/5) || len(other) != 5 {
			t.Errorf("the other site has %v on page %d of %d, want %d of 5", got, i, len(other), total/between/5)
		}
	}
	l := c.tracker.live(c.site)
	l.mu.Lock() // a slow machine takes long enough for the tracker to look for days that are over
	defer l.mu.Unlock()
	day := l.book.days[0]
	if n := len(day.caps.known[cappedPath]); n != most {
		t.Errorf("%d pages are kept, want %d", n, most)
	}
	// A page costs its name once; what a visitor saw costs a number each, for admitted pages and (other).
	if size, bound := day.table.Size(), most*(200+64)+visitors*(400+64); size > bound {
		t.Errorf("the table takes %d bytes after the flood, want at most %d", size, bound)
	}
}

// heapInUse returns how many bytes the program holds.
func heapInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
