package dashboard

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"dachs/storage"
)

const testPassword = "correct horse battery"

// board is a server over a real store, with a browser's memory for cookies.
type board struct {
	tb      testing.TB
	db      *storage.DB
	server  *Server
	now     time.Time
	cookies map[string]string
}

// newBoard opens a store and a dashboard over it, late on a Monday afternoon in Berlin.
func newBoard(tb testing.TB, o Options) *board {
	tb.Helper()
	b := &board{tb: tb, now: time.Date(2026, 11, 23, 15, 20, 0, 0, time.UTC), cookies: map[string]string{}}
	now := func() time.Time { return b.now }
	db, err := storage.Open(tb.TempDir(), storage.Options{Now: now})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	b.db, o.Store, o.Now = db, db, now
	if b.server, err = New(o); err != nil {
		tb.Fatal(err)
	}
	return b
}

// site adds a site in Berlin with the given visits.
func (b *board) site(domain string, visits ...seedVisit) storage.Site {
	b.tb.Helper()
	site, err := b.db.AddSite(domain, "Europe/Berlin")
	if err != nil {
		b.tb.Fatal(err)
	}
	var rows []storage.Row
	for _, v := range visits {
		rows = append(rows, v.rows(site.ID)...)
	}
	for len(rows) > 0 {
		n := min(len(rows), 2000)
		if err := b.db.Append(rows[:n]...); err != nil {
			b.tb.Fatal(err)
		}
		rows = rows[n:]
	}
	return site
}

func (b *board) today() storage.Day { return storage.DateDay(2026, 11, 23) }

// request sends a request as a browser does that came from the same site.
func (b *board) request(method, target string, form url.Values, change ...func(*http.Request)) *httptest.ResponseRecorder {
	b.tb.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	b.server.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w
}

func (b *board) get(target string) *httptest.ResponseRecorder {
	b.tb.Helper()
	return b.request(http.MethodGet, target, nil)
}

// page returns the HTML of a page that must be there.
func (b *board) page(target string) string {
	b.tb.Helper()
	w := b.get(target)
	if w.Code != http.StatusOK {
		b.tb.Fatalf("GET %s: status %d: %s", target, w.Code, w.Body)
	}
	return w.Body.String()
}

// setUp sets the password, adds a site and leaves the browser logged in.
func (b *board) setUp(domain string) {
	b.tb.Helper()
	secret, err := b.db.CreateSetup(30 * time.Minute)
	if err != nil {
		b.tb.Fatal(err)
	}
	w := b.request(http.MethodPost, "/setup/"+secret, setupForm(domain))
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/sites/"+domain+"/tag" {
		b.tb.Fatalf("set-up: status %d to %q: %s", w.Code, w.Header().Get("Location"), w.Body)
	}
}

func setupForm(domain string) url.Values {
	return url.Values{"password": {testPassword}, "again": {testPassword}, "domain": {domain}, "timezone": {"Europe/Berlin"}}
}

var (
	tagPattern   = regexp.MustCompile(`<[a-zA-Z][^>]*>`)
	quotedValues = regexp.MustCompile(`"[^"]*"`)
	handlerNames = regexp.MustCompile(`\s(style|on[a-z]+)\b`)
	scriptTag    = regexp.MustCompile(`^<script type="module" src="/static/app\.[0-9a-f]{12}\.js">$`)
)

// checkStrict fails if a page holds anything that its content policy would have to block.
func checkStrict(tb testing.TB, where, html string) {
	tb.Helper()
	for _, tag := range tagPattern.FindAllString(html, -1) {
		name := strings.ToLower(strings.Fields(strings.Trim(tag, "</>"))[0])
		bare := quotedValues.ReplaceAllString(tag, `""`)
		switch {
		case name == "script" && !scriptTag.MatchString(tag):
			tb.Errorf("%s: script that is not ours: %s", where, tag)
		case name == "style" || name == "iframe" || name == "object" || name == "embed" || name == "base":
			tb.Errorf("%s: element %s", where, tag)
		case handlerNames.MatchString(bare):
			tb.Errorf("%s: inline style or handler: %s", where, tag)
		case strings.Contains(strings.ToLower(tag), `="javascript:`):
			tb.Errorf("%s: script in an address: %s", where, tag)
		case strings.Contains(bare, "'"):
			tb.Errorf("%s: attribute without double quotes, which this check cannot read: %s", where, tag)
		}
	}
}

// checkHeaders fails if an answer lacks one of the headers that every answer carries.
func checkHeaders(tb testing.TB, where string, h http.Header) {
	tb.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options":     "nosniff",
		"Referrer-Policy":            "same-origin",
		"Cross-Origin-Opener-Policy": "same-origin",
	} {
		if got := h.Get(name); got != want {
			tb.Errorf("%s: %s is %q, want %q", where, name, got, want)
		}
	}
}
