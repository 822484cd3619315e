package dashboard

import (
	"bytes"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"dachs/storage"
)

// hostile are values that a stranger can bring into a report.
var hostile = []string{
	`/<script>alert(1)</script>`, `/"onmouseover="alert(1)`, `javascript:alert(1)`, `/'style='color:red`, `</title><script src=//evil.example>`,
	"/a,b\\c", `{{.Secret}}`, `/%3Cscript%3E?x=1&y=2#z`,
}

func hostileVisits(day storage.Day) (visits []seedVisit) {
	for _, v := range hostile {
		visits = append(visits, seedVisit{day: day, hour: 9, paths: []string{v}, dims: map[storage.Column]string{
			storage.Source: v, storage.Channel: v, storage.UTMCampaign: v, storage.Country: v, storage.Browser: v, storage.OS: v, storage.Device: v,
		}})
	}
	return visits
}

// walk visits every kind of page and answer, and hands each to check.
func walk(t *testing.T, check func(t *testing.T, where string, w *httptest.ResponseRecorder), prepare ...func(*Server)) {
	t.Helper()
	b := newBoard(t, Options{Version: "1.2.3"})
	for _, f := range prepare {
		f(b.server)
	}
	visit := func(method, target string, form url.Values, change ...func(*http.Request)) {
		t.Helper()
		check(t, method+" "+target, b.request(method, target, form, change...))
	}
	visit("GET", "/", nil) // not set up
	visit("GET", "/login", nil)
	visit("GET", "/setup/wrong", nil)
	secret, err := b.db.CreateSetup(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	visit("GET", "/setup/"+secret, nil)
	visit("POST", "/setup/"+secret, url.Values{"domain": {hostile[0]}, "timezone": {hostile[1]}})
	b.setUp("empty.example")
	visit("GET", "/", nil)
	for _, target := range []string{"/sites", "/sites/empty.example", "/sites/empty.example/tag", "/nowhere", "/sites/nowhere.example"} {
		visit("GET", target, nil)
	}
	visit("POST", "/sites", url.Values{"domain": {hostile[0]}, "timezone": {"UTC"}})
	visit("POST", "/sites", url.Values{"domain": {"empty.example"}, "timezone": {"UTC"}})
	b.site("shop.example", seedShop(b.today()-70, b.today(), 12)...)
	b.site("evil.example", hostileVisits(b.today())...)
	for _, target := range []string{
		"", "?period=day", "?period=12mo", "?period=custom&from=2026-10-01&to=2026-10-05", "?period=never", "?f=nonsense",
		"?f=is,visit:source,Google", "?f=contains,event:page,/products", "?f=is,visit:exit_page,/&f=is,event:page,/",
		"?panel=pages", "?panel=nothing", "?column=event:page&op=is&value=/",
	} {
		visit("GET", "/sites/shop.example"+target, nil)
	}
	visit("GET", "/sites/evil.example", nil)
	visit("GET", "/sites/evil.example?panel=sources", nil)
	for _, v := range hostile {
		visit("GET", "/sites/evil.example?f="+url.QueryEscape(formatFilter(storage.Filter{Column: storage.Path, Values: []string{v}})), nil)
		visit("GET", "/sites/evil.example?f="+url.QueryEscape(v)+"&period="+url.QueryEscape(v), nil)
	}
	visit("POST", "/api/v2/query", nil)
	visit("GET", "/api/v2/query", nil)
	visit("POST", "/logout", nil, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	visit("POST", "/logout", nil)
	visit("GET", "/login?next="+url.QueryEscape(hostile[1]), nil)
	visit("POST", "/login", url.Values{"password": {"wrong"}, "next": {hostile[1]}})
	visit("POST", "/login", url.Values{"password": {strings.Repeat("x", maxForm)}})
	visit("GET", "/static/app.css", nil)
	visit("DELETE", "/sites", nil)
}

func TestEveryAnswerIsStrict(t *testing.T) {
	seen := map[int]bool{}
	walk(t, func(t *testing.T, where string, w *httptest.ResponseRecorder) {
		seen[w.Code] = true
		checkHeaders(t, where, w.Header())
		if strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			checkStrict(t, where, w.Body.String())
		}
		if w.Code == http.StatusInternalServerError {
			t.Errorf("%s: status 500", where)
		}
		if got := w.Header().Get("Cache-Control"); !strings.Contains(got, "no-store") {
			t.Errorf("%s: Cache-Control %q", where, got)
		}
	})
	for _, code := range []int{200, 303, 400, 403, 404, 409, 410, 422} {
		if !seen[code] {
			t.Errorf("the walk met no status %d", code)
		}
	}
}

// TestCheckStrictFindsLeaks proves that the check above can fail.
func TestCheckStrictFindsLeaks(t *testing.T) {
	for _, html := range []string{
		`<p style="color:red">`, `<script>alert(1)</script>`, `<a href="x" onclick="y">`, `<a href="javascript:x">`, `<script src="//evil.example/a.js">`,
		`<style>p{}</style>`, `<p title='x' >`, `<base href="/">`,
	} {
		var found recorder
		checkStrict(&found, "planted", html)
		if !found.failed {
			t.Errorf("nothing found in %s", html)
		}
	}
}

// recorder is a testing.TB that notes whether something failed.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }

func TestHostileValuesAreShownAsText(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	b.site("evil.example", hostileVisits(b.today())...)
	html := b.page("/sites/evil.example")
	for _, escaped := range []string{
		"/&lt;script&gt;alert(1)&lt;/script&gt;", "/&#34;onmouseover=&#34;alert(1)", "/&#39;style=&#39;color:red", "{{.Secret}}",
	} {
		if !strings.Contains(html, "<bdi>"+escaped+"</bdi>") {
			t.Errorf("page does not show %s", escaped)
		}
	}
	if strings.Contains(html, "<script>alert") {
		t.Error("page holds a stranger's script")
	}
}

// TestEveryTemplateIsExecuted plants a call into each template and walks all pages.
func TestEveryTemplateIsExecuted(t *testing.T) {
	marked, want := fstest.MapFS{}, map[string]bool{}
	names, err := fs.Glob(templateFiles, "template/*.gohtml")
	if err != nil {
		t.Fatal(err)
	}
	define := regexp.MustCompile(`\{\{define "([^"]+)"\}\}`)
	for _, name := range names {
		data, err := fs.ReadFile(templateFiles, name)
		if err != nil {
			t.Fatal(err)
		}
		text := define.ReplaceAllStringFunc(string(data), func(s string) string {
			id := path.Base(name) + " " + define.FindStringSubmatch(s)[1]
			want[id] = true
			return s + `{{executed "` + id + `"}}`
		})
		marked[name] = &fstest.MapFile{Data: []byte(text)}
	}
	done := map[string]bool{}
	walk(t, func(*testing.T, string, *httptest.ResponseRecorder) {}, func(s *Server) {
		funcs := s.templateFuncs()
		funcs["executed"] = func(id string) string { done[id] = true; return "" }
		if s.pages, err = newPages(marked, funcs); err != nil {
			t.Fatal(err)
		}
	})
	for id := range want {
		if !done[id] {
			t.Errorf("no test executes template %s", id)
		}
	}
	if len(want) < 15 {
		t.Errorf("only %d templates found: the search for them is broken", len(want))
	}
}

func TestHome(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	f := func(want string) {
		t.Helper()
		if got := b.get("/").Header().Get("Location"); got != want {
			t.Errorf("GET / leads to %q, want %q", got, want)
		}
	}
	f("/sites")
	b.site("one.example")
	f("/sites/one.example")
	b.site("two.example")
	f("/sites")
}

func TestOpenDemo(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	b.site("shop.example", seedShop(b.today()-3, b.today(), 5)...)
	for _, target := range []string{"/sites", "/sites/shop.example", "/sites/shop.example/tag"} {
		html := b.page(target)
		if strings.Contains(html, `method="post"`) {
			t.Errorf("%s offers to change something", target)
		}
	}
	for _, c := range [][2]string{{"POST", "/sites"}, {"GET", "/login"}, {"POST", "/login"}, {"POST", "/logout"}, {"GET", "/setup/x"}, {"POST", "/setup/x"}} {
		if w := b.request(c[0], c[1], url.Values{"domain": {"new.example"}}); w.Code != http.StatusForbidden {
			t.Errorf("%s %s: status %d, want 403", c[0], c[1], w.Code)
		}
	}
	if len(b.db.Sites()) != 1 {
		t.Error("a site was added in the open demo")
	}
}

func TestBaseURL(t *testing.T) {
	for _, bad := range []string{"stats.example.com", "ftp://x.example", "https://x.example/path", "https://", "%"} {
		if _, err := parseBase(bad); err == nil {
			t.Errorf("base URL %q was accepted", bad)
		}
	}
	for base, want := range map[string]string{
		"": "http://example.com/d.js", "https://stats.example.com/": "https://stats.example.com/d.js",
	} {
		b := newBoard(t, Options{Open: true, BaseURL: base})
		b.site("shop.example")
		html := b.page("/sites/shop.example/tag")
		tag := `&lt;script defer src=&#34;` + want + `&#34; data-domain=&#34;shop.example&#34;&gt;&lt;/script&gt;`
		if !strings.Contains(html, tag) {
			t.Errorf("base %q: no tag %s", base, tag)
		}
	}
}

func TestNewNeedsAStore(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("New without a store gave no error")
	}
}

// TestPanicTellsNothing: what a panic carries may be part of a request.
func TestPanicTellsNothing(t *testing.T) {
	var log bytes.Buffer
	b := newBoard(t, Options{Open: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	b.site("shop.example", seedShop(b.today(), b.today(), 3)...)
	b.server.handler = b.server.recoverPanics(secureHeaders(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("203.0.113.7 looked at /secret")
	})))
	w := b.get("/sites/shop.example")
	checkHeaders(t, "after a panic", w.Header())
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d, want 500", w.Code)
	}
	if text := w.Body.String() + log.String(); strings.Contains(text, "203.0.113.7") || strings.Contains(text, "/secret") {
		t.Errorf("a panic's text got out: %s", text)
	}
	if !strings.Contains(log.String(), "dashboard panicked") {
		t.Errorf("log says nothing: %s", log.String())
	}
}

func TestRoutesAreGuarded(t *testing.T) {
	b := newBoard(t, Options{})
	b.setUp("shop.example")
	b.cookies = map[string]string{}
	free := []access{everybody, visitors}
	for _, rt := range b.server.routeTable() {
		if slices.Contains(free, rt.access) {
			continue
		}
		method, target, _ := strings.Cut(rt.pattern, " ")
		target = strings.NewReplacer("{$}", "", "{domain}", "shop.example").Replace(target)
		w := b.request(method, target, nil)
		switch {
		case method == http.MethodGet && (w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/login?next=")):
			t.Errorf("%s without a login: status %d to %q", rt.pattern, w.Code, w.Header().Get("Location"))
		case method != http.MethodGet && w.Code != http.StatusForbidden:
			t.Errorf("%s without a login: status %d, want 403", rt.pattern, w.Code)
		}
		if strings.Contains(w.Body.String(), "shop.example") && method != http.MethodGet {
			t.Errorf("%s without a login names a site", rt.pattern)
		}
	}
}
