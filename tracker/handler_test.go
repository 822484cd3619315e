package tracker

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dachs/script"
	"dachs/storage"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
)

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

// counting is a tracker behind a real HTTP server in memory, with a clock that the test sets.
type counting struct {
	t       *testing.T
	dir     string
	db      *storage.DB
	site    storage.Site
	tracker *Tracker
	client  *http.Client

	mu  sync.Mutex
	now time.Time
}

func newCounting(t *testing.T) *counting {
	t.Helper()
	c := &counting{t: t, dir: t.TempDir(), now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
	var err error
	if c.db, err = storage.Open(c.dir, storage.Options{}); err != nil {
		t.Fatal(err)
	}
	if c.site, err = c.db.AddSite("example.com", "Europe/Berlin"); err != nil {
		t.Fatal(err)
	}
	// The in-memory listener has no addresses: its peers appear as 0.0.0.0.
	c.tracker, err = New(Options{Store: c.db, Now: c.clock, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/32")}})
	if err != nil {
		t.Fatal(err)
	}
	ln := fasthttputil.NewInmemoryListener()
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		if !c.tracker.Serve(ctx) {
			ctx.SetStatusCode(fasthttp.StatusNotFound)
		}
	}, NoDefaultServerHeader: true}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	c.client = &http.Client{Transport: &http.Transport{
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return ln.Dial() },
		DisableCompression: true,
	}}
	t.Cleanup(func() {
		c.client.CloseIdleConnections()
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		<-done
		c.tracker.Close()
		c.db.Close()
	})
	return c
}

func (c *counting) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *counting) wait(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// do sends a request; header lines are "Name: value". Without one of their own they come from Firefox at 192.0.2.1.
func (c *counting) do(method, path, body string, header ...string) (*http.Response, string) {
	c.t.Helper()
	req, err := http.NewRequest(method, "http://dachs.test"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("User-Agent", firefox)
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value // the client takes it from nowhere else
			continue
		}
		if values := req.Header[http.CanonicalHeaderKey(name)]; len(values) > 0 && name != "Sec-GPC" {
			req.Header.Del(name)
		}
		req.Header.Add(name, value)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(b)
}

// hit sends an event that has to be answered with 202.
func (c *counting) hit(body string, header ...string) {
	c.t.Helper()
	if resp, text := c.do("POST", "/api/event", body, header...); resp.StatusCode != 202 || text != "ok" {
		c.t.Errorf("%s: %d %s", body, resp.StatusCode, text)
	}
}

// counts returns visitors, visits, page views and events of the days around the clock's.
func (c *counting) counts(by ...storage.Column) map[string][4]int {
	c.t.Helper()
	day := storage.DayOf(c.clock())
	res, err := c.db.Query(context.Background(), storage.Query{Site: c.site.ID, From: day - 3, To: day + 3, GroupBy: by,
		Metrics: []storage.Metric{storage.Visitors, storage.VisitsTotal, storage.PageViews, storage.Events}})
	if err != nil {
		c.t.Fatal(err)
	}
	got := make(map[string][4]int)
	for _, r := range res.Rows {
		var n [4]int
		for i, v := range r.Values {
			n[i] = int(v.Number)
		}
		got[strings.Join(r.Keys, " ")] = n
	}
	return got
}

func (c *counting) expect(want [4]int) {
	c.t.Helper()
	if got := c.counts()[""]; got != want {
		c.t.Errorf("visitors, visits, page views, events are %v, want %v", got, want)
	}
}

func TestEventsCount(t *testing.T) {
	c := newCounting(t)
	c.hit(`{"name":"pageview","url":"https://example.com/a","domain":"example.com"}`)
	c.hit(`{"n":"pageview","u":"https://www.example.com/b","d":"www.example.com"}`, "Content-Type: text/plain")
	c.hit(`{"n":"Signup","u":"https://example.com/b","p":{"plan":"pro"}}`)
	c.hit(`{"n":"pageview","u":"https://example.com/a","d":"example.com"}`, "X-Forwarded-For: 192.0.2.2")
	c.wait(31 * time.Minute)
	c.hit(`{"n":"pageview","u":"https://example.com/a","d":"example.com"}`, "X-Forwarded-For: 10.9.8.7, 192.0.2.2")
	c.expect([4]int{2, 3, 4, 5})
	if resp, _ := c.do("POST", "/d.js", `{"n":"pageview","u":"https://example.com/c","d":"example.com,unknown.example"}`); resp.StatusCode != 202 {
		t.Errorf("the script's own address answers %d", resp.StatusCode)
	}
	if got := c.counts(storage.Path)["/c"]; got != [4]int{1, 1, 1, 1} {
		t.Errorf("/c has %v", got)
	}
	if got := c.counts(storage.Hostname); len(got) != 1 {
		t.Errorf("hostnames are %v", got)
	}
}

func TestSiteListedTwiceCountsOnce(t *testing.T) {
	c := newCounting(t)
	if _, err := c.db.AddSite("example.org", "UTC"); err != nil {
		t.Fatal(err)
	}
	c.hit(`{"n":"pageview","u":"https://example.com/","d":"example.com,www.example.com, EXAMPLE.com,unknown.example,example.org,example.com"}`)
	c.expect([4]int{1, 1, 1, 1})
	if got := c.tracker.Outcomes(); got[Accepted] != 2 || got[UnknownSite] != 1 {
		t.Errorf("outcomes are %v, want 2 accepted and 1 unknown site", got)
	}
	unknown := strings.Repeat("unknown.example,", maxDomains-1)
	c.hit(`{"n":"pageview","u":"https://example.com/","d":"` + unknown + `example.com"}`)
	c.expect([4]int{1, 1, 2, 2})
	c.hit(`{"n":"pageview","u":"https://example.com/","d":"` + unknown + `unknown.example,example.com"}`)
	c.expect([4]int{1, 1, 2, 2}) // one too many
}

func TestVisitorsBeginAnewAtMidnightOfTheSite(t *testing.T) {
	c := newCounting(t)
	const event = `{"n":"pageview","u":"https://example.com/","d":"example.com"}`
	c.wait(9*time.Hour + 59*time.Minute) // 23:59 in Berlin
	c.hit(event)
	c.wait(2 * time.Minute)
	c.hit(event)
	c.expect([4]int{2, 2, 2, 2})
	c.wait(-2 * time.Minute) // the clock goes back: nothing is lost
	c.hit(event)
	c.expect([4]int{3, 3, 3, 3})
}

func TestDroppedHitsLookLikeCountedOnes(t *testing.T) {
	const body = `{"n":"pageview","u":"https://example.com/","d":"example.com"}`
	tests := map[string]struct {
		body   string
		header []string
		reason Reason
	}{
		"GPC":              {body, []string{"Sec-GPC: 1"}, GPC},
		"GPC among others": {body, []string{"Sec-GPC: 0", "Sec-GPC: 1"}, GPC},
		"DNT":              {body, []string{"DNT: 1"}, DNT},
		"GPC and garbage":  {`{`, []string{"Sec-GPC: 1"}, GPC},
		"bot":              {body, []string{"User-Agent: Googlebot/2.1 (+http://www.google.com/bot.html)"}, Bot},
		"no user agent":    {body, []string{"User-Agent: "}, Bot},
		"prefetch":         {body, []string{"Sec-Purpose: prefetch;prerender"}, Prefetch},
		"unknown site":     {strings.ReplaceAll(body, "example.com", "unknown.example"), nil, UnknownSite},
		"hostile site":     {`{"n":"pageview","u":"https://example.com/","d":"../../<x>"}`, nil, UnknownSite},
		"stray engagement": {`{"n":"engagement","u":"https://example.com/","d":"example.com","e":5000}`, nil, NoVisit},
	}
	counted := newCounting(t)
	want, wantText := counted.do("POST", "/api/event", body)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCounting(t)
			resp, text := c.do("POST", "/api/event", tt.body, tt.header...)
			want.Header["Date"] = resp.Header["Date"]
			if resp.StatusCode != want.StatusCode || text != wantText || !equalHeaders(resp.Header, want.Header) {
				t.Errorf("answer %d %q %v, that of a counted hit is %d %q %v", resp.StatusCode, text, resp.Header, want.StatusCode, wantText, want.Header)
			}
			if n := c.tracker.Outcomes()[tt.reason]; n != 1 {
				t.Errorf("%s was counted %d times, outcomes are %v", tt.reason, n, c.tracker.Outcomes())
			}
			c.expect([4]int{})
		})
	}
	for _, value := range []string{"0", " ", "1,1", "true", "11"} {
		c := newCounting(t)
		c.hit(body, "Sec-GPC: "+value, "DNT: "+value)
		c.expect([4]int{1, 1, 1, 1})
	}
}

func equalHeaders(a, b http.Header) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

func TestMalformedEventsAreExplained(t *testing.T) {
	c := newCounting(t)
	for _, body := range []string{``, `{`, `[]`, `{"n":"pageview"}`, `{"u":"https://example.com/"}`, `{"n":"pageview","u":"javascript:alert(1)"}`,
		`{"n":"pageview","u":"https://example.com/` + strings.Repeat("x", 3000) + `"}`, strings.Repeat(`[`, 1000)} {
		resp, text := c.do("POST", "/api/event", body)
		var answer struct{ Error string }
		if err := json.Unmarshal([]byte(text), &answer); err != nil || resp.StatusCode != 400 || len(answer.Error) < 10 {
			t.Errorf("%.40q: %d %s", body, resp.StatusCode, text)
		}
	}
	if resp, text := c.do("PUT", "/api/event", ""); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
		t.Errorf("PUT: %d %s", resp.StatusCode, text)
	}
	c.expect([4]int{})
}

func TestPreflight(t *testing.T) {
	c := newCounting(t)
	for _, path := range []string{"/api/event", "/d.js"} {
		resp, _ := c.do("OPTIONS", path, "", "Origin: https://example.com", "Access-Control-Request-Method: POST")
		if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Origin") != "*" ||
			!strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "content-type") {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
}

func TestScriptIsTheSameForEveryone(t *testing.T) {
	c := newCounting(t)
	for encoding, want := range map[string][]byte{"": script.Bytes(), "gzip": script.Gzip(), "gzip, deflate, br": script.Brotli()} {
		resp, text := c.do("GET", "/d.js", "", "Accept-Encoding: "+encoding)
		if resp.StatusCode != 200 || text != string(want) {
			t.Errorf("%q: %d, %d bytes, want %d", encoding, resp.StatusCode, len(text), len(want))
		}
		for _, name := range []string{"Set-Cookie", "Etag", "Last-Modified", "Server"} {
			if v := resp.Header.Get(name); v != "" {
				t.Errorf("%s: %s", name, v)
			}
		}
		other, _ := c.do("GET", "/d.js", "", "Accept-Encoding: "+encoding, "User-Agent: x", "X-Forwarded-For: 198.51.100.7", "Cookie: a=b")
		other.Header["Date"] = resp.Header["Date"]
		if !equalHeaders(resp.Header, other.Header) {
			t.Errorf("headers differ: %v and %v", resp.Header, other.Header)
		}
	}
}

func TestStoreThatFailsIsNotAnsweredWith202(t *testing.T) {
	c := newCounting(t)
	const event = `{"n":"pageview","u":"https://example.com/","d":"example.com"}`
	c.hit(event)
	if resp, _ := c.do("GET", "/healthz", ""); resp.StatusCode != 200 {
		t.Errorf("healthz of a store that works: %d", resp.StatusCode)
	}
	if err := c.db.Close(); err != nil {
		t.Fatal(err)
	}
	resp, text := c.do("POST", "/api/event", event)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("event: %d %s", resp.StatusCode, text)
	}
	if resp, _ := c.do("GET", "/healthz", ""); resp.StatusCode != 503 {
		t.Errorf("healthz of a store that is closed: %d", resp.StatusCode)
	}
	if _, text := c.do("GET", "/metrics", ""); !strings.Contains(text, `dachs_hits_refused_total{reason="overloaded"} 1`) ||
		!strings.Contains(text, "dachs_hits_accepted_total 1\n") {
		t.Errorf("metrics:\n%s", text)
	}
}

// TestNothingOfTheVisitorReachesTheDisk looks for marks of a visitor in every file of the store, and shows with one
// that is planted in a path that it would find them.
func TestNothingOfTheVisitorReachesTheDisk(t *testing.T) {
	c := newCounting(t)
	marks := []string{"203.0.113.77", "CanaryBrowser", "canaryquery", "canaryfragment", "canaryreferrerquery", "canary@example.org", "cb00714d"}
	c.hit(`{"n":"pageview","u":"https://example.com/page/canary@example.org?q=canaryquery#canaryfragment","d":"example.com",`+
		`"r":"https://other.example/x?y=canaryreferrerquery"}`,
		"User-Agent: "+firefox+" CanaryBrowser/1", "X-Forwarded-For: 203.0.113.77")
	c.hit(`{"n":"pageview","u":"https://example.com/plantedleak","d":"example.com"}`)
	c.expect([4]int{2, 2, 2, 2})
	c.tracker.Close()
	c.tracker.stop = make(chan struct{}) // for the clean-up
	if err := c.db.Close(); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	err := filepath.WalkDir(c.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		for _, mark := range append(marks, "plantedleak") {
			if bytes.Contains(b, []byte(mark)) || bytes.Contains(bytes.ToLower(b), []byte(strings.ToLower(mark))) {
				found[mark] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !found["plantedleak"] {
		t.Error("the search does not find what is there")
	}
	for _, mark := range marks {
		if found[mark] {
			t.Errorf("%s is on disk", mark)
		}
	}
}
