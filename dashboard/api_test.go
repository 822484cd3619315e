package dashboard

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dachs/storage"
)

// ask sends a query and returns the status and the body.
func ask(tb testing.TB, h http.Handler, body string) (int, string) {
	tb.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v2/query", strings.NewReader(body)))
	if ct := w.Header().Get("Content-Type"); ct != "application/json; charset=utf-8" {
		tb.Errorf("content type = %q", ct)
	}
	return w.Code, strings.TrimSpace(w.Body.String())
}

// askPart returns one member of an answer, as it is written.
func askPart(tb testing.TB, h http.Handler, body, member string) string {
	tb.Helper()
	status, text := ask(tb, h, body)
	var answer map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusOK {
		tb.Errorf("%s: status %d, %s (%v)", body, status, text, err)
	}
	return string(answer[member])
}

func TestQueryMetrics(t *testing.T) {
	api := QueryHandler(apiStore(t), apiNow)
	const all = `"metrics":["visitors","visits","pageviews","views_per_visit","bounce_rate","visit_duration","events","time_on_page","scroll_depth"]`
	for _, c := range []struct {
		name  string
		parts []string
		want  string
	}{
		{"a day", []string{`"date_range":"day"`}, `[2,3,5,1.67,33,50,6,15,73]`},
		{"sums of days", []string{`"date_range":"7d"`}, `[3,4,6,1.5,50,38,7,13,69]`},
		{"nothing counted", []string{`"date_range":["2020-01-01","2020-01-31"]`}, `[0,0,0,null,null,null,0,null,null]`},
		{"one page", []string{`"date_range":"day"`, `"filters":[["is","event:page",["/docs"]]]`}, `[1,1,1,null,null,null,1,20,80]`},
		{"an entry page", []string{`"date_range":"day"`, `"filters":[["is","event:page",["/"]]]`}, `[2,2,2,2,50,60,2,13,53]`},
		{"an event", []string{`"date_range":"day"`, `"filters":[["is","event:name",["Signup"]]]`}, `[1,1,0,null,null,null,1,null,null]`},
	} {
		got := askPart(t, api, apiRequest(append(c.parts, all)...), "results")
		if want := `[{"metrics":` + c.want + `,"dimensions":[]}]`; got != want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, want)
		}
	}
}

func TestQueryDimensions(t *testing.T) {
	api := QueryHandler(apiStore(t), apiNow)
	for _, c := range []struct{ dimensions, want string }{
		{`"event:page"`, `/=2 /docs=1 /docs/api=1 /pricing=1`},
		{`"event:name"`, `pageview=2 Signup=1`},
		{`"event:hostname"`, `example.com=2 shop.example.com=1`},
		{`"visit:entry_page"`, `/=2`},
		{`"visit:exit_page"`, `/=1 /docs/api=1`},
		{`"visit:source"`, `Direct / None=1 Google=1`},
		{`"visit:channel"`, `Direct=1 Organic Search=1`},
		{`"visit:referrer"`, `Direct / None=1 google.com=1`},
		{`"visit:utm_source"`, `(not set)=2`},
		{`"visit:utm_medium"`, `(not set)=2`},
		{`"visit:utm_campaign"`, `(not set)=2`},
		{`"visit:utm_term"`, `(not set)=2`},
		{`"visit:utm_content"`, `(not set)=2`},
		{`"visit:country"`, `AT=1 DE=1`},
		{`"visit:region"`, `(not set)=1 Bavaria=1`},
		{`"visit:city"`, `(not set)=1 Munich=1`},
		{`"visit:browser"`, `Chrome=1 Firefox=1`},
		{`"visit:browser_version"`, `(not set)=1 120=1`},
		{`"visit:os"`, `Android=1 Linux=1`},
		{`"visit:os_version"`, `(not set)=1 6=1`},
		{`"visit:device"`, `Desktop=1 Mobile=1`},
		{`"visit:screen"`, `(not set)=1 xl=1`},
		{`"visit:language"`, `de=2`},
		{`"visit:country","visit:source"`, `AT|Direct / None=1 DE|Google=1`},
		{`"time:hour"`, `2026-03-30 09:00:00=1 2026-03-30 10:00:00=1`},
		{`"time"`, `2026-03-30 09:00:00=1 2026-03-30 10:00:00=1`},
		{`"time:day"`, `2026-03-30=2`},
		{`"time:week"`, `2026-03-30=2`},
		{`"time:month"`, `2026-03-01=2`},
		{`"event:name","event:props:plan"`, `pageview|(none)=2 Signup|pro=1`},
		{`"event:props:plan","event:props:seats"`, `(none)|(none)=2 pro|(none)=1`},
		{`"visit:browser","time:day","visit:os"`, `Chrome|2026-03-30|Linux=1 Firefox|2026-03-30|Android=1`},
	} {
		body := apiRequest(`"date_range":"day"`, `"dimensions":[`+c.dimensions+`]`)
		if got := rowsText(t, askPart(t, api, body, "results")); got != c.want {
			t.Errorf("by %s:\n got %s\nwant %s", c.dimensions, got, c.want)
		}
	}
}

// rowsText writes rows as dimension|dimension=first metric, with lower..upper for a bound.
func rowsText(tb testing.TB, results string) string {
	tb.Helper()
	var rows []struct {
		Metrics     []json.Number `json:"metrics"`
		Dimensions  []string      `json:"dimensions"`
		LowerBounds []json.Number `json:"lower_bounds"`
	}
	if err := json.Unmarshal([]byte(results), &rows); err != nil {
		tb.Fatalf("%s: %v", results, err)
	}
	var text []string
	for _, r := range rows {
		value := r.Metrics[0].String()
		if r.LowerBounds != nil {
			value = r.LowerBounds[0].String() + ".." + value
		}
		text = append(text, strings.Join(r.Dimensions, "|")+"="+value)
	}
	return strings.Join(text, " ")
}

func TestQueryPeriodsAndTime(t *testing.T) {
	api := QueryHandler(apiStore(t), apiNow)
	for _, c := range []struct{ dates, dimension, want string }{
		{`"day"`, "time", `2026-03-30 09:00:00=1 2026-03-30 10:00:00=1`},
		{`"yesterday"`, "time", `2026-03-29 23:00:00=1`},
		{`"7d"`, "time", `2026-03-29=1 2026-03-30=2`},
		{`"28d"`, "time:week", `2026-03-23=1 2026-03-30=2`},
		{`"month"`, "time:month", `2026-03-01=3`},
		{`"91d"`, "time", `2026-02-10=1 2026-03-29=1 2026-03-30=2`},
		{`"12mo"`, "time", `2026-02-01=1 2026-03-01=3`},
		{`"all"`, "time", `2024-02-01=1 2025-01-01=1 2026-02-01=1 2026-03-01=3`},
		{`["2026-02-10","2026-03-29"]`, "time:month", `2026-02-01=1 2026-03-01=1`},
		{`["2026-02-11","2026-03-29"]`, "time:week", `2026-03-23=1`},
		{`["2026-03-29","2026-03-29"]`, "time:week", `2026-03-29=1`}, // a week that begins with the period
		{`["2026-03-29T00:00:00+01:00","2026-03-29T23:59:59+02:00"]`, "time:day", `2026-03-29=1`},
	} {
		body := apiRequest(`"date_range":`+c.dates, `"dimensions":["`+c.dimension+`"]`)
		if got := rowsText(t, askPart(t, api, body, "results")); got != c.want {
			t.Errorf("%s by %s:\n got %s\nwant %s", c.dates, c.dimension, got, c.want)
		}
	}
}

func TestQueryFilters(t *testing.T) {
	api := QueryHandler(apiStore(t), apiNow)
	for _, c := range []struct{ filters, want string }{
		{`["is","visit:country",["DE"]]`, `=1`},
		{`["is","visit:country",["DE","AT","FR"]]`, `=2`},
		{`["is_not","visit:country",["DE"]]`, `=1`},
		{`["contains","visit:referrer",["goo","bing"]]`, `=1`},
		{`["is","visit:source",["Direct / None"]]`, `=1`},
		{`["is_not","visit:source",["Direct / None"]]`, `=1`},
		{`["is","visit:source",[""]]`, `=1`},
		{`["is_not","visit:city",["(not set)"]]`, `=1`},
		{`["is_not","visit:city",[""]]`, `=1`},
		{`["is","visit:city",["(not set)"]]`, `=1`},
		{`["is","visit:exit_page",["/docs/api"]]`, `=1`},
		{`["is","event:page",["/docs/api"]]`, `=1`},
		{`["is","event:hostname",["example.com"]]`, `=2`},
		{`["is","visit:country",["DE"]],["is","visit:browser",["Firefox"]]`, `=0`},
		{`["and",[["is","visit:country",["DE"]],["is","event:page",["/docs"]]]]`, `=1`},
		{`["contains","event:page",["/docs"]]`, `=1`},  // entered at /: counted once, at the first page of the set
		{`["is_not","event:page",["/docs"]]`, `=2`},    // one left the set through /docs and came back
		{`["is","event:page",["/","/pricing"]]`, `=2`}, // one saw both, in two visits
		{`["is","event:page",["/"]],["is","visit:os",["none"]]`, `=0`},
		{`["or",[["is","visit:country",["DE"]],["is","visit:browser",["Firefox"]]]]`, `=2`},
		{`["not",["or",[["is","visit:country",["DE"]],["is","visit:browser",["none"]]]]]`, `=1`},
		{`["contains_not","visit:country",["D"]]`, `=1`},
		{`["matches","visit:country",["^D","^X"]]`, `=1`},
		{`["matches_not","event:page",["."]]`, `=0`},
		{`["is","visit:country",["de"],{"case_sensitive":false}]`, `=1`},
		{`["is","visit:country",["de"]]`, `=0`},
		{`["is","event:props:plan",["pro"]]`, `=1`},
		{`["is","event:name",["Signup"]],["is_not","event:props:plan",["(none)"]]`, `=1`},
		{`["is","event:name",["Signup"]],["is","event:props:plan",["(none)"]]`, `=0`},
	} {
		body := apiRequest(`"date_range":"day"`, `"filters":[`+c.filters+`]`)
		if got := rowsText(t, askPart(t, api, body, "results")); got != c.want {
			t.Errorf("%s: got %s, want %s", c.filters, got, c.want)
		}
	}
}

func TestQueryOrderAndPages(t *testing.T) {
	api := QueryHandler(apiStore(t), apiNow)
	for _, c := range []struct{ order, page, want string }{
		{``, `{}`, `/=2 /docs=1 /docs/api=1 /pricing=1`},
		{`["visitors","asc"]`, `{}`, `/docs=1 /docs/api=1 /pricing=1 /=2`},
		{`["event:page","desc"]`, `{}`, `/pricing=1 /docs/api=1 /docs=1 /=2`},
		{`["visitors","asc"],["event:page","desc"]`, `{}`, `/pricing=1 /docs/api=1 /docs=1 /=2`},
		{``, `{"limit":2}`, `/=2 /docs=1`},
		{``, `{"limit":2,"offset":2}`, `/docs/api=1 /pricing=1`},
		{``, `{"limit":2,"offset":3}`, `/pricing=1`},
		{``, `{"offset":4}`, ``},
	} {
		body := apiRequest(`"date_range":"day"`, `"dimensions":["event:page"]`, `"order_by":[`+c.order+`]`, `"pagination":`+c.page, `"include":{"total_rows":true}`)
		if got := rowsText(t, askPart(t, api, body, "results")); got != c.want {
			t.Errorf("order %s, page %s:\n got %s\nwant %s", c.order, c.page, got, c.want)
		}
		if got := askPart(t, api, body, "meta"); got != `{"total_rows":4}` {
			t.Errorf("order %s, page %s: meta = %s", c.order, c.page, got)
		}
	}
}

func TestQueryMeta(t *testing.T) {
	api := QueryHandler(apiStore(t), apiNow)
	sum, hourly, bound := mustJSON(t, noteSumOfDays), mustJSON(t, noteByHour), mustJSON(t, upperBound)
	here, set := mustJSON(t, noteEnteredHere), mustJSON(t, noteEnteredSet)
	for _, c := range []struct {
		parts []string
		want  string
	}{
		{[]string{`"date_range":"day"`}, `{}`},
		{[]string{`"date_range":"7d"`}, `{"notes":{"visitors":` + sum + `}}`},
		{[]string{`"date_range":"7d"`, `"metrics":["visits"]`}, `{}`},
		{[]string{`"date_range":"7d"`, `"dimensions":["time:day"]`}, `{}`},
		{[]string{`"date_range":"7d"`, `"dimensions":["time:week"]`}, `{"notes":{"visitors":` + sum + `}}`},
		{[]string{`"date_range":"day"`, `"dimensions":["time"]`}, `{"notes":{"visitors":` + hourly + `}}`},
		{[]string{`"date_range":"day"`, `"include":{"imports":true}`}, `{"imports_included":true}`},
		{[]string{`"date_range":"day"`, `"include":{"total_rows":true}`}, `{"total_rows":1}`},
		{[]string{`"date_range":"day"`, `"metrics":["pageviews","bounce_rate"]`, `"dimensions":["event:page"]`, `"include":{"totals":true}`, `"pagination":{"limit":1}`},
			`{"notes":{"bounce_rate":` + here + `},"totals":{"metrics":[5,33]}}`},
		{[]string{`"date_range":["2025-01-05","2025-01-05"]`, `"dimensions":["event:page"]`, `"filters":[["contains","event:page",["/docs"]]]`, `"include":{"totals":true}`},
			`{"metric_warnings":{"visitors":` + bound + `},"totals":{"metrics":[2],"lower_bounds":[1]}}`},
		{[]string{`"date_range":["2026-03-28","2026-03-30"]`, `"dimensions":["time:day"]`, `"include":{"time_labels":true}`},
			`{"time_labels":["2026-03-28","2026-03-29","2026-03-30"]}`},
		{[]string{`"date_range":"7d"`, `"metrics":["visitors","pageviews","bounce_rate"]`, `"filters":[["is","event:page",["/docs"]]]`},
			`{"notes":{"bounce_rate":` + here + `,"visitors":` + sum + `}}`},
		{[]string{`"date_range":"day"`, `"metrics":["views_per_visit","visit_duration"]`, `"dimensions":["event:page"]`},
			`{"notes":{"views_per_visit":` + here + `,"visit_duration":` + here + `}}`},
		{[]string{`"date_range":"day"`, `"metrics":["bounce_rate"]`, `"filters":[["contains","event:page",["/docs"]]]`, `"dimensions":["visit:os"]`},
			`{"notes":{"bounce_rate":` + set + `}}`},
		{[]string{`"date_range":"day"`, `"metrics":["bounce_rate"]`, `"filters":[["is","event:page",["/","/docs"]]]`}, `{"notes":{"bounce_rate":` + set + `}}`},
		{[]string{`"date_range":"day"`, `"metrics":["bounce_rate"]`, `"filters":[["is_not","event:page",["/"]]]`, `"dimensions":["event:page"]`},
			`{"notes":{"bounce_rate":` + here + `}}`},
		{[]string{`"date_range":"day"`, `"metrics":["bounce_rate"]`, `"filters":[["is","visit:entry_page",["/"]]]`}, `{}`},
		{[]string{`"date_range":"day"`, `"metrics":["visits","pageviews","events"]`, `"filters":[["is","event:page",["/"]]]`}, `{}`},
		{[]string{`"date_range":"day"`, `"metrics":["pageviews","bounce_rate"]`, `"filters":[["is","event:page",["/"]],["is","event:hostname",["example.com"]]]`}, `{}`},
		{[]string{`"date_range":"day"`, `"metrics":["pageviews","bounce_rate"]`, `"filters":[["is","event:page",["/"]]]`, `"dimensions":["event:name"]`}, `{}`},
		{[]string{`"date_range":["2025-01-05","2025-01-05"]`, `"metrics":["visitors","visits","pageviews"]`, `"filters":[["contains","event:page",["/docs"]]]`},
			`{"metric_warnings":{"visitors":` + bound + `,"visits":` + bound + `}}`},
	} {
		if got := askPart(t, api, apiRequest(c.parts...), "meta"); got != c.want {
			t.Errorf("%v:\n got %s\nwant %s", c.parts, got, c.want)
		}
	}
}

func mustJSON(tb testing.TB, v any) string {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// The whole of an answer, byte by byte: clients parse it.
func TestQueryAnswer(t *testing.T) {
	api := QueryHandler(apiStore(t), apiNow)
	status, got := ask(t, api, `{"site_id":"www.Example.com","metrics":["visitors","bounce_rate"],"date_range":"day",
		"dimensions":["visit:utm_campaign"],"filters":[["and",[["is","visit:browser",["Firefox"]]]]],"pagination":{"limit":5}}`)
	const want = `{"results":[{"metrics":[1,100],"dimensions":["(not set)"]},{"metrics":[0,0],"dimensions":["spring & summer"]}],"meta":{},` +
		`"query":{"site_id":"www.Example.com","metrics":["visitors","bounce_rate"],"date_range":["2026-03-30","2026-03-30"],` +
		`"filters":[["and",[["is","visit:browser",["Firefox"]]]]],"dimensions":["visit:utm_campaign"],"order_by":[["visitors","desc"]],` +
		`"include":{},"pagination":{"limit":5,"offset":0}}}`
	if status != http.StatusOK || got != want {
		t.Errorf("status %d\n got %s\nwant %s", status, got, want)
	}
}

func TestQueryLowerBounds(t *testing.T) {
	api := QueryHandler(apiStore(t), apiNow)
	for _, c := range []struct{ filter, want string }{
		{`["contains","event:page",["/docs"]]`, `{"metrics":[2,2,null],"dimensions":[],"lower_bounds":[null,1,null]}`},
		{`["is","event:page",["/docs"]]`, `{"metrics":[1,1,null],"dimensions":[]}`},
	} {
		body := apiRequest(`"date_range":["2025-01-05","2025-01-05"]`, `"metrics":["pageviews","visitors","views_per_visit"]`, `"filters":[`+c.filter+`]`)
		if got := askPart(t, api, body, "results"); got != "["+c.want+"]" {
			t.Errorf("%s:\n got %s\nwant %s", c.filter, got, c.want)
		}
	}
}

func TestQueryErrors(t *testing.T) {
	api := QueryHandler(apiStore(t), apiNow)
	for _, c := range []struct {
		body   string
		status int
		want   string
	}{
		{`{"site_id"`, 400, "request body: JSON ends too early"},
		{apiRequest(`"metrics":["users"]`), 400, `metrics: metric \"users\": unknown`},
		{apiRequest(`"date_range":"8d"`), 400, `date_range: period \"8d\": unknown`},
		{apiRequest(`"date_range":["2026-03-30T10:00:00Z","2026-03-30T11:59:59Z"]`), 400, "not whole days in the site's time zone (Europe/Berlin)"},
		{apiRequest(`"filters":[["is","event:page",["/"]]]`, `"dimensions":["visit:exit_page"]`), 400, "no table holds these dimensions together: visit:exit_page, event:page"},
		{apiRequest(`"filters":[["matches","event:page",["^/(a"]]]`), 400, `filter over event:page, pattern 1, \"^/(a\": missing closing ) at \"^/(a\"`},
		{apiRequest(`"filters":[["or",[["is","event:page",["/"]],["is","event:hostname",["x"]]]]]`), 400, "no table holds these dimensions together: event:page, event:hostname"},
		{apiRequest(`"site_id":"nowhere.example"`), 404, `site_id: no site \"nowhere.example\" here; dachs site add makes one`},
		{apiRequest(`"site_id":"a b"`), 404, "site_id: no site"},
		{apiRequest(`"filters":[["is","visit:os",["` + strings.Repeat("x", 64<<10) + `"]]]`), 413, "request body: longer than 65536 bytes"},
	} {
		status, got := ask(t, api, c.body)
		if status != c.status || !strings.HasPrefix(got, `{"error":"`) || !strings.Contains(got, c.want) {
			t.Errorf("%.200s\n = %d %s\nwant %d with %s", c.body, status, got, c.status, c.want)
		}
	}
}

func TestQueryMethod(t *testing.T) {
	store := apiStore(t)
	server, err := New(Options{Store: store, Now: apiNow})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodOptions, http.MethodHead} {
		request := func(h http.Handler) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, "/api/v2/query", nil))
			return w
		}
		if w := request(server); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s to the server = %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
		w := request(QueryHandler(store, apiNow))
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s = %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
		if method == http.MethodHead && w.Body.Len() > 0 {
			t.Errorf("HEAD has a body: %s", w.Body)
		}
	}
}

func TestQueryToken(t *testing.T) {
	db := apiStore(t)
	secret := func(domain string, scope storage.Scope) string {
		site, ok := db.Site(domain)
		if !ok {
			t.Fatalf("no site %s", domain)
		}
		_, s, err := db.CreateToken(site.ID, scope)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	own, other := secret("example.com", storage.ScopeStats), secret("other.example", storage.ScopeStats)
	old, counts := secret("example.com", ""), secret("example.com", storage.ScopeCount)
	revoked, gone, err := db.CreateToken(1, storage.ScopeStats)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.RevokeToken(revoked.ID); err != nil {
		t.Fatal(err)
	}
	server, err := New(Options{Store: db, Now: apiNow})
	if err != nil {
		t.Fatal(err)
	}
	const bad = `{"error":"token and site_id do not belong together: one of them is unknown, or the token is for another site, or for counting"}`
	const none = `{"error":"no token: send the header Authorization: Bearer TOKEN; dachs token create makes one"}`
	for _, c := range []struct {
		name, header, body string
		status             int
		want               string
	}{
		{"own site", "Bearer " + own, apiRequest(), 200, `{"results":[{"metrics":[3]`},
		{"from before there were scopes", "Bearer " + old, apiRequest(), 200, `{"results":[{"metrics":[3]`},
		{"one that may only count", "Bearer " + counts, apiRequest(), 401, bad},
		{"scheme in other letters", "bearer  " + own, apiRequest(), 200, `{"results":[`},
		{"site as people write it", "Bearer " + own, apiRequest(`"site_id":"https://www.Example.com/"`), 200, `{"results":[`},
		{"no header", "", apiRequest(), 401, none},
		{"no secret", "Bearer ", apiRequest(), 401, none},
		{"other scheme", "Basic " + own, apiRequest(), 401, none},
		{"unknown token", "Bearer nonsense", apiRequest(), 401, bad},
		{"revoked token", "Bearer " + gone, apiRequest(), 401, bad},
		{"token of another site", "Bearer " + other, apiRequest(), 401, bad},
		{"unknown site", "Bearer " + own, apiRequest(`"site_id":"nowhere.example"`), 401, bad},
		{"no site at all", "Bearer " + own, apiRequest(`"site_id":"/"`), 401, bad},
		{"malformed, without token", "", `{`, 401, none},
		{"malformed, unknown token", "Bearer nonsense", `{`, 401, bad},
		{"malformed", "Bearer " + own, `{`, 400, `{"error":"request body: JSON ends too early"}`},
		{"wrong date, token of another site", "Bearer " + other, apiRequest(`"date_range":"8d"`), 401, bad},
	} {
		r := httptest.NewRequest(http.MethodPost, "/api/v2/query", strings.NewReader(c.body))
		if c.header != "" {
			r.Header.Set("Authorization", c.header)
		}
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		if w.Code != c.status || !strings.HasPrefix(w.Body.String(), c.want) {
			t.Errorf("%s = %d %s, want %d %s", c.name, w.Code, w.Body, c.status, c.want)
		}
		if challenge := w.Header().Get("WWW-Authenticate"); (challenge == "Bearer") != (c.status == 401) {
			t.Errorf("%s: WWW-Authenticate = %q", c.name, challenge)
		}
	}
}

// What failed is for the log; the operator's own socket is told, the network is not.
func TestQueryFailures(t *testing.T) {
	db := apiStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v2/query", strings.NewReader(apiRequest()))
	w := httptest.NewRecorder()
	QueryHandler(db, apiNow).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("query of a client that went away = %d %s, want 503", w.Code, w.Body)
	}

	var log strings.Builder
	for _, trusted := range []bool{true, false} {
		api := &statsAPI{
			store: db, now: apiNow, log: slog.New(slog.NewTextHandler(&log, nil)), trusted: trusted,
			admit: func(*http.Request) (siteFinder, error) { return nil, io.ErrNoProgress },
		}
		status, got := ask(t, api, apiRequest())
		if told := strings.Contains(got, io.ErrNoProgress.Error()); status != http.StatusInternalServerError || told != trusted {
			t.Errorf("trusted %t: %d %s", trusted, status, got)
		}
	}
	if n := strings.Count(log.String(), io.ErrNoProgress.Error()); n != 2 {
		t.Errorf("log has the cause %d times, want 2: %s", n, log.String())
	}
}

// A name that the store would show as another name must survive the way there and back.
func TestShownValues(t *testing.T) {
	for c := range storage.Column(len(storage.Row{}.Dims)) {
		for _, v := range []string{"", "x", "Direct", "none"} {
			if got := storedValue(c, shownValue(c, v)); got != v {
				t.Errorf("column %v: %q is shown as %q and read back as %q", c, v, shownValue(c, v), got)
			}
		}
	}
}
