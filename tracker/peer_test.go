package tracker

import (
	"bytes"
	"context"
	"fmt"
	"image/gif"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"dachs/storage"
)

// peerCase is one request of a peer's client, sent for a site of its own: @ in path, body and headers stands for the site's
// alias, # for its domain.
type peerCase struct {
	name   string
	target string // "POST /api/send"
	body   string
	header []string
	status int
	answer string // exactly, "*" for any
	// counted is what the site has afterwards: "events=1" is meant unless it begins with a number of events, and each
	// name=value is the only value of a column or, with a dot before it, of a property.
	counted string
}

func (c *counting) run(cases []peerCase) {
	c.t.Helper()
	for i, pc := range cases {
		c.t.Run(pc.name, func(t *testing.T) {
			site, alias := c.peerSite(t, fmt.Sprintf("s%d.example", i))
			fill := strings.NewReplacer("@", alias, "#", site.Domain).Replace
			method, path, _ := strings.Cut(pc.target, " ")
			header := slices.Clone(pc.header)
			for i := range header {
				header[i] = fill(header[i])
			}
			resp, text := c.do(method, fill(path), fill(pc.body), header...)
			if resp.StatusCode != pc.status || pc.answer != "*" && text != pc.answer {
				t.Errorf("answer %d %q, want %d %q", resp.StatusCode, text, pc.status, pc.answer)
			}
			if cookie := resp.Header.Get("Set-Cookie") + resp.Header.Get("Etag") + resp.Header.Get("Last-Modified"); cookie != "" {
				t.Errorf("the answer would be recognised again: %s", cookie)
			}
			c.checkCounted(t, site, fill(pc.counted))
		})
	}
}

// peerSite adds a site with an alias like those of Umami.
func (c *counting) peerSite(t *testing.T, domain string) (storage.Site, string) {
	t.Helper()
	if _, err := c.db.AddSite(domain, "UTC"); err != nil {
		t.Fatal(err)
	}
	alias := "b0a7-" + strings.ReplaceAll(domain, ".", "-")
	site, err := c.db.ChangeSettings(domain, func(s *storage.Settings) error {
		s.Aliases = []string{alias}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return site, alias
}

var peerColumns = map[string]storage.Column{
	"name": storage.Name, "path": storage.Path, "host": storage.Hostname, "source": storage.Source, "channel": storage.Channel,
	"referrer": storage.Referrer, "campaign": storage.UTMCampaign, "term": storage.UTMTerm, "medium": storage.UTMMedium,
	"content": storage.UTMContent, "utm_source": storage.UTMSource,
	"browser": storage.Browser, "country": storage.Country, "language": storage.Language, "os": storage.OS,
}

// checkCounted compares what a site has with what peerCase.counted says.
func (c *counting) checkCounted(t *testing.T, site storage.Site, counted string) {
	t.Helper()
	want := strings.Fields(counted)
	number := "1"
	if len(want) > 0 && !strings.Contains(want[0], "=") {
		number, want = want[0], want[1:]
	}
	if got := c.values(t, site, nil, ""); got != number {
		t.Errorf("events are %s, want %s", got, number)
		return
	}
	for _, pair := range want {
		name, value, _ := strings.Cut(pair, "=")
		value = strings.ReplaceAll(value, "_", " ")
		columns, key := []storage.Column{storage.Props}, strings.TrimPrefix(name, ".")
		if column, ok := peerColumns[name]; ok {
			columns, key = []storage.Column{column}, ""
		} else if key == name {
			t.Fatalf("no column %s", name)
		}
		if got := c.values(t, site, columns, key); got != strings.TrimSpace(number+" "+value) {
			t.Errorf("%s is %q, want %q", name, got, number+" "+value)
		}
	}
}

// values returns the events of a site by a column, as "1 a, 2 b".
func (c *counting) values(t *testing.T, site storage.Site, by []storage.Column, prop string) string {
	t.Helper()
	day := storage.DayOf(c.clock())
	q := storage.Query{Site: site.ID, From: day - 1, To: day + 1, GroupBy: by, Metrics: []storage.Metric{storage.Events}}
	if prop != "" {
		q.PropKeys = []string{prop}
	}
	res, err := c.db.Query(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range res.Rows {
		all = append(all, strings.TrimSpace(fmt.Sprint(r.Values[0].Number, " ", strings.Join(r.Keys, " "))))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// countToken makes a token that may count for a site.
func (c *counting) countToken(domain string) string {
	c.t.Helper()
	site, ok := c.db.Site(domain)
	if !ok {
		c.t.Fatalf("no site %s", domain)
	}
	_, secret, err := c.db.CreateToken(site.ID, storage.ScopeCount)
	if err != nil {
		c.t.Fatal(err)
	}
	return secret
}

// peerHits is one good hit in each format, for example.com with the alias 7.
func peerHits() map[string]peerCase {
	return map[string]peerCase{
		"Umami":              {target: "POST " + UmamiSendPath, body: `{"type":"event","payload":{"website":"7","hostname":"example.com","url":"/"}}`},
		"Umami's batch":      {target: "POST " + UmamiBatchPath, body: `[{"type":"event","payload":{"website":"7","hostname":"example.com","url":"/"}}]`},
		"GoatCounter":        {target: "GET " + GoatCounterPath + "?p=/", header: []string{"Referer: https://example.com/"}},
		"GoatCounter's POST": {target: "POST " + GoatCounterPath + "?p=/", header: []string{"Origin: https://example.com"}},
		"Matomo":             {target: "GET " + MatomoPath + "?idsite=7&rec=1&url=https%3A%2F%2Fexample.com%2F"},
		"Matomo's image":     {target: "GET " + PiwikPath + "?idsite=7&rec=1&url=https%3A%2F%2Fexample.com%2F&send_image=0"},
		"Matomo's form":      {target: "POST " + MatomoPath, body: "idsite=7&rec=1&url=https%3A%2F%2Fexample.com%2F"},
		"Matomo's bulk":      {target: "POST " + MatomoPath, body: `{"requests":["?idsite=7&rec=1&url=https%3A%2F%2Fexample.com%2F"]}`},
		"Matomo's quiet":     {target: "POST " + MatomoPath, body: `{"requests":["?idsite=7&rec=1&url=https%3A%2F%2Fexample.com%2F"],"send_image":0}`},
	}
}

func newPeers(t *testing.T) *counting {
	c := newCounting(t)
	if _, err := c.db.ChangeSettings("example.com", func(s *storage.Settings) error { s.Aliases = []string{"7"}; return nil }); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *counting) send(pc peerCase, header ...string) (*http.Response, string) {
	c.t.Helper()
	method, path, _ := strings.Cut(pc.target, " ")
	return c.do(method, path, pc.body, append(slices.Clone(pc.header), header...)...)
}

// TestPeersDroppedHitsLookLikeCountedOnes sends each format once so that it counts, and then so that it is dropped.
func TestPeersDroppedHitsLookLikeCountedOnes(t *testing.T) {
	c := newPeers(t)
	dropped := map[string]struct {
		header string
		edit   func(peerCase) peerCase
		reason Reason
	}{
		"GPC":      {header: "Sec-GPC: 1", reason: GPC},
		"DNT":      {header: "DNT: 1", reason: DNT},
		"bot":      {header: "User-Agent: Googlebot/2.1 (+http://www.google.com/bot.html)", reason: Bot},
		"prefetch": {header: "X-Purpose: preview", reason: Prefetch},
		"unknown site": {reason: UnknownSite, edit: func(pc peerCase) peerCase {
			edit := strings.NewReplacer(`"7"`, `"8"`, "idsite=7", "idsite=8").Replace
			pc.target, pc.body = edit(pc.target), edit(pc.body)
			if strings.Contains(pc.target, GoatCounterPath) {
				pc.header = []string{"Referer: https://unknown.example/", "Origin: https://unknown.example"}
			}
			return pc
		}},
	}
	counted := 0
	for format, pc := range peerHits() {
		want, wantText := c.send(pc)
		counted++
		c.expectEvents(format, counted)
		for name, d := range dropped {
			sent, header := pc, []string{}
			if d.edit != nil {
				sent = d.edit(pc)
			}
			if d.header != "" {
				header = append(header, d.header)
			}
			before := c.tracker.Outcomes()[d.reason]
			resp, text := c.send(sent, header...)
			resp.Header["Date"] = want.Header["Date"]
			for _, h := range []http.Header{resp.Header, want.Header} {
				for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"} {
					h.Del(name) // it repeats what was sent
				}
			}
			if resp.StatusCode != want.StatusCode || text != wantText || !equalHeaders(resp.Header, want.Header) {
				t.Errorf("%s, %s: %d %q %v, that of a counted hit is %d %q %v", format, name, resp.StatusCode, text, resp.Header, want.StatusCode, wantText, want.Header)
			}
			if got := c.tracker.Outcomes()[d.reason] - before; got != 1 {
				t.Errorf("%s, %s: counted %d times", format, name, got)
			}
			c.expectEvents(format+", "+name, counted)
		}
	}
}

func (c *counting) expectEvents(what string, want int) {
	c.t.Helper()
	if got := c.counts()[""][3]; got != want {
		c.t.Errorf("%s: %d events, want %d", what, got, want)
	}
}

// TestPeersAreOverloadedToo closes the store under them: nobody is told that a hit was taken.
func TestPeersAreOverloadedToo(t *testing.T) {
	c := newPeers(t)
	if err := c.db.Close(); err != nil {
		t.Fatal(err)
	}
	for format, pc := range peerHits() {
		resp, text := c.send(pc)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", format, resp.StatusCode, text)
		}
	}
}

// TestPeersAreBelievedOnlyWithAToken has a forged address and user agent in each format that takes them.
func TestPeersAreBelievedOnlyWithAToken(t *testing.T) {
	c := newPeers(t)
	other := func() string {
		if _, err := c.db.AddSite("other.example", ""); err != nil {
			t.Fatal(err)
		}
		return c.countToken("other.example")
	}()
	_, reads, err := c.db.CreateToken(c.site.ID, storage.ScopeStats)
	if err != nil {
		t.Fatal(err)
	}
	good := c.countToken("example.com")
	const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
	formats := map[string]func(token string) peerCase{
		"Umami": func(token string) peerCase {
			return peerCase{target: "POST " + UmamiSendPath, header: bearerOf(token),
				body: `{"type":"event","payload":{"website":"@","url":"/","ip":"81.2.69.142","userAgent":"` + chrome + `"}}`}
		},
		"Umami's batch": func(token string) peerCase {
			return peerCase{target: "POST " + UmamiBatchPath, header: bearerOf(token),
				body: `[{"type":"event","payload":{"website":"@","url":"/","ip":"81.2.69.142","userAgent":"` + chrome + `"}}]`}
		},
		"Matomo": func(token string) peerCase {
			return peerCase{target: "GET " + MatomoPath + "?idsite=@&rec=1&url=https%3A%2F%2Fexample.com%2F&cip=81.2.69.142&ua=" +
				strings.ReplaceAll(chrome, " ", "+") + "&token_auth=" + token}
		},
		"Matomo's form": func(token string) peerCase {
			return peerCase{target: "POST " + MatomoPath, header: bearerOf(token), body: "idsite=@&rec=1&url=https%3A%2F%2Fexample.com%2F&cip=81.2.69.142&ua=" +
				strings.ReplaceAll(chrome, " ", "+")}
		},
		"Matomo's bulk": func(token string) peerCase {
			return peerCase{target: "POST " + MatomoPath, body: `{"token_auth":"` + token + `","requests":["?idsite=@&rec=1&url=https%3A%2F%2Fexample.com%2F&cip=81.2.69.142&ua=` +
				strings.ReplaceAll(chrome, " ", "+") + `"]}`}
		},
	}
	i := 0
	for format, hit := range formats {
		for name, tt := range map[string]struct {
			token   string
			counted string
		}{
			"none": {"", "browser=Firefox country=DE"}, "unknown": {"nonsense", "browser=Firefox country=DE"},
			"of another site": {other, "browser=Firefox country=DE"}, "that may only read": {reads, "browser=Firefox country=DE"},
			"good": {good, "browser=Chrome country=GB"},
		} {
			i++
			site, alias := c.peerSite(t, fmt.Sprintf("t%d.example", i))
			token := tt.token
			if token == good {
				token = c.countToken(site.Domain)
			}
			pc := hit(token)
			pc.target, pc.body = strings.ReplaceAll(pc.target, "@", alias), strings.ReplaceAll(pc.body, "@", alias)
			c.send(pc, "X-Forwarded-For: 85.214.132.117")
			t.Run(format+", token "+name, func(t *testing.T) { c.checkCounted(t, site, tt.counted) })
		}
	}
}

func bearerOf(token string) []string { return []string{"Authorization: Bearer " + token} }

// TestPeersVisitorsAreTheSame counts one visitor who comes by every format as one.
func TestPeersVisitorsAreTheSame(t *testing.T) {
	c := newPeers(t)
	for _, pc := range peerHits() {
		c.send(pc)
	}
	c.hit(`{"n":"pageview","u":"https://example.com/","d":"example.com"}`)
	n := len(peerHits()) + 1
	c.expect([4]int{1, 1, n, n})
}

// TestNothingThatPeersSayOfVisitorsReachesTheDisk sends every field by which a peer knows somebody, believed and not, and looks
// for them in all files of the store.
func TestNothingThatPeersSayOfVisitorsReachesTheDisk(t *testing.T) {
	c := newPeers(t)
	token := bearerOf(c.countToken("example.com"))
	chrome := strings.ReplaceAll(firefox, "Firefox/140.0", "Firefox/140.0 CanaryAgent/7")
	marks := []string{"81.2.69.142", "CanaryAgent", "canaryid", "canaryvid", "canarytitle", "canaryquery", "canaryfragment", "canarysession", "canaryorder",
		"canaryuser", "canarylocation", token[0][len("Authorization: Bearer "):]}
	for _, header := range [][]string{nil, token} {
		for _, pc := range []peerCase{
			{target: "POST " + UmamiSendPath, body: `{"type":"event","payload":{"website":"7","url":"/planted?x=canaryquery#canaryfragment","title":"canarytitle","id":"canaryid",` +
				`"vid":"canaryvid","ip":"81.2.69.142","userAgent":"` + chrome + `"}}`},
			{target: "POST " + UmamiSendPath, body: `{"type":"identify","payload":{"website":"7","id":"canaryid","data":{"name":"canaryuser"}}}`},
			{target: "GET " + GoatCounterPath + "?p=/g%3Fx%3Dcanaryquery&t=canarytitle&q=%3Fy%3Dcanaryquery", header: []string{"Referer: https://example.com/?canaryquery"}},
			{target: "POST " + GoatCounterBulkPath, body: `{"hits":[{"path":"/b","title":"canarytitle","session":"canarysession","location":"canarylocation","ip":"81.2.69.142","user_agent":"` + chrome + `"}]}`},
			{target: "GET " + MatomoPath + "?idsite=7&rec=1&url=https%3A%2F%2Fexample.com%2Fm%3Fcanaryquery%23canaryfragment&action_name=canarytitle&_id=canaryid&cid=canaryid&uid=canaryuser" +
				"&cip=81.2.69.142&ua=" + url.QueryEscape(chrome)},
			{target: "GET " + MatomoPath + "?idsite=7&rec=1&url=https%3A%2F%2Fexample.com%2F&idgoal=0&ec_id=canaryorder&ec_items=canaryorder"},
		} {
			c.send(pc, header...)
		}
	}
	c.expectEvents("all", 9) // identify is none, and /api/v0/count needs a token
	if err := c.db.Close(); err != nil {
		t.Fatal(err)
	}
	planted := false
	err := filepath.WalkDir(c.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		for _, mark := range marks {
			if bytes.Contains(bytes.ToLower(b), []byte(strings.ToLower(mark))) {
				t.Errorf("%s is in %s", mark, filepath.Base(name))
			}
		}
		planted = planted || bytes.Contains(b, []byte("planted"))
		return err
	})
	if err != nil || !planted {
		t.Errorf("the search finds what is there: %v (%v)", planted, err)
	}
}

func TestPeersBulkIsBounded(t *testing.T) {
	c := newPeers(t)
	hit := `{"type":"event","payload":{"website":"7","url":"/"}}`
	query := `"?idsite=7&rec=1&url=https%3A%2F%2Fexample.com%2F"`
	goat := `{"path":"/","user_agent":"` + firefox + `","ip":"192.0.2.9"}`
	many := func(s string, n int) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	token := bearerOf(c.countToken("example.com"))
	counted := 0
	for _, n := range []int{maxBulk, maxBulk + 1} {
		for target, body := range map[string]string{
			UmamiBatchPath: "[" + many(hit, n) + "]", MatomoPath: `{"requests":[` + many(query, n) + "]}",
			GoatCounterBulkPath: `{"hits":[` + many(goat, n) + "]}",
		} {
			resp, text := c.do("POST", target, body, token...)
			if n <= maxBulk {
				counted += n
			}
			if (resp.StatusCode == 400) != (n > maxBulk) {
				t.Errorf("%s with %d hits: %d %.200s", target, n, resp.StatusCode, text)
			}
			c.expectEvents(target, counted)
		}
	}
}

func TestPeersPreflight(t *testing.T) {
	c := newCounting(t)
	for path, header := range map[string]string{UmamiSendPath: "x-umami-cache", UmamiBatchPath: "x-umami-cache", GoatCounterPath: "content-type", MatomoPath: "content-type", PiwikPath: "content-type"} {
		resp, _ := c.do("OPTIONS", path, "", "Origin: https://example.com", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: "+header)
		h := resp.Header
		origin := h.Get("Access-Control-Allow-Origin")
		if resp.StatusCode != 204 || origin != "*" && origin != "https://example.com" || !strings.Contains(h.Get("Access-Control-Allow-Headers"), header) ||
			!strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") {
			t.Errorf("%s: %d %v", path, resp.StatusCode, h)
		}
		if credentials := h.Get("Access-Control-Allow-Credentials"); (credentials == "true") != (origin != "*") || origin != "*" && h.Get("Vary") != "Origin" {
			t.Errorf("%s: origin %s with credentials %q, vary %q", path, origin, credentials, h.Get("Vary"))
		}
	}
	for _, method := range []string{"PUT", "HEAD", "DELETE"} {
		for _, path := range []string{UmamiSendPath, GoatCounterPath + "?p=/", MatomoPath + "?idsite=7&rec=1", GoatCounterBulkPath, EventPath} {
			if resp, _ := c.do(method, path, ""); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
				t.Errorf("%s %s: %d", method, path, resp.StatusCode)
			}
		}
	}
	c.expect([4]int{})
}

func TestPixelIsAnImage(t *testing.T) {
	img, err := gif.Decode(bytes.NewReader([]byte(pixel)))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, alpha := img.At(0, 0).RGBA(); img.Bounds().Dx() != 1 || img.Bounds().Dy() != 1 || alpha != 0 || len(pixel) != 43 {
		t.Errorf("%d bytes, %v, alpha %d", len(pixel), img.Bounds(), alpha)
	}
}

// checkDecoded checks what has to hold of every hit that a peer's decoder lets through.
func checkDecoded(t *testing.T, p *Payload, s *said) {
	t.Helper()
	if s.skip != Accepted {
		return
	}
	if p.Name == "" || utf8.RuneCountInString(p.Name) > maxName || len(p.URL) > maxURL || len(p.Props) > maxProps || len(p.Referrer) > maxReferrer {
		t.Errorf("payload is beyond its limits: %+v", p)
	}
	if _, ok := splitURL(p.URL); !ok {
		t.Errorf("%q is no address of a page", p.URL)
	}
	if p.Scroll != -1 || p.Engaged < 0 || p.Width < 0 || p.Width > 99999 || p.Domain == "" || strings.Contains(p.Domain, ",") {
		t.Errorf("fields of %+v", p)
	}
	for _, prop := range p.Props {
		if len(prop.Key) > maxPropKey || len(prop.Value) > maxPropValue || prop.Key == "" || prop.Value == "" {
			t.Errorf("property %+v", prop)
		}
	}
}
