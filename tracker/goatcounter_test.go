package tracker

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
)

func TestGoatCounter(t *testing.T) {
	c := newCounting(t)
	ok := pixel
	get := func(query string) string { return "GET " + GoatCounterPath + "?" + query }
	page := []string{"Referer: https://www.#/from?q=1"}
	c.run([]peerCase{
		{name: "p", target: get("p=/a/"), header: page, status: 200, answer: ok, counted: "name=pageview path=/a host=# channel=Direct"},
		{name: "p without a slash", target: get("p=a"), header: page, status: 200, answer: ok, counted: "path=/a"},
		{name: "p with a query", target: get("p=%2Fa%3Fx%3D1%26utm_source%3DNews"), header: page, status: 200, answer: ok, counted: "path=/a utm_source=News"},
		{name: "p is the root", target: get("p=%2F"), header: page, status: 200, answer: ok, counted: "path=/"},
		{name: "p in another alphabet", target: get("p=/%C3%BCber"), header: page, status: 200, answer: ok, counted: "path=/über"},
		{name: "no p", target: get("t=title"), header: page, status: 400, answer: ok, counted: "0"},
		{name: "p is too long", target: get("p=/" + strings.Repeat("x", maxURL)), header: page, status: 400, answer: ok, counted: "0"},
		{name: "t, rnd and ns", target: get("p=/a&t=A+title&rnd=abc&ns=true"), header: page, status: 200, answer: ok, counted: "path=/a"},
		{name: "r", target: get("p=/a&r=https%3A%2F%2Fwww.google.com%2Fsearch%3Fq%3Dx"), header: page, status: 200, answer: ok, counted: "source=Google"},
		{name: "r is free text", target: get("p=/a&r=My+Letter"), header: page, status: 200, answer: ok, counted: "source=My_Letter"},
		{name: "q", target: get("p=/a&q=%3Futm_campaign%3DMay%26utm_source%3DNews"), header: page, status: 200, answer: ok, counted: "campaign=May utm_source=News"},
		{name: "q with names of its own", target: get("p=/a&q=%3Fcampaign%3DMay%26src%3DNews"), header: page, status: 200, answer: ok, counted: "campaign=May source=News"},
		{name: "q before r", target: get("p=/a&q=%3Fref%3DNews&r=Text"), header: page, status: 200, answer: ok, counted: "source=News"},
		{name: "e", target: get("p=signup&e=true"), header: page, status: 200, answer: ok, counted: "name=signup path=/from host=#"},
		{name: "e with a slash", target: get("p=/signup&e=on"), header: []string{"Origin: https://#"}, status: 200, answer: ok, counted: "name=signup path=/"},
		{name: "e is false", target: get("p=/a&e=0"), header: page, status: 200, answer: ok, counted: "name=pageview"},
		{name: "e is neither", target: get("p=/a&e=maybe"), header: page, status: 400, answer: ok, counted: "0"},
		{name: "s", target: get("p=/a&s=1920,1080,1"), header: page, status: 200, answer: ok, counted: "path=/a"},
		{name: "b of a driven browser", target: get("p=/a&b=153"), header: page, status: 200, answer: ok, counted: "0"},
		{name: "b of nobody", target: get("p=/a&b=0"), header: page, status: 200, answer: ok, counted: "path=/a"},
		{name: "b that only the server finds", target: get("p=/a&b=7"), header: page, status: 400, answer: ok, counted: "0"},
		{name: "b that is no number", target: get("p=/a&b=x"), header: page, status: 400, answer: ok, counted: "0"},
		{name: "POST as a beacon does", target: "POST " + GoatCounterPath + "?p=/a", header: []string{"Origin: https://#", "Content-Type: text/plain"}, status: 200, answer: ok, counted: "path=/a"},
		{name: "site by the host", target: get("p=/a"), header: []string{"Host: @.goat.example"}, status: 200, answer: ok, counted: "host=# path=/a"},
		{name: "site by the domain as host", target: get("p=/a"), header: []string{"Host: #:8080"}, status: 200, answer: ok, counted: "host=# path=/a"},
		{name: "host before page", target: get("p=/a"), header: []string{"Host: @.goat.example", "Referer: https://other.example/"}, status: 200, answer: ok, counted: "host=other.example"},
		{name: "no site at all", target: get("p=/a"), status: 200, answer: ok, counted: "0"},
	})
	resp, _ := c.do("GET", GoatCounterPath+"?t=x", "")
	if got := resp.Header.Get("X-Goatcounter"); got != "p: is missing; want the path of the page, or the name of an event" {
		t.Errorf("X-Goatcounter is %q", got)
	}
	resp, _ = c.do("GET", GoatCounterPath+"?p=/", "")
	for name, want := range map[string]string{
		"Content-Type": "image/gif", "Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin", "Cache-Control": "no-store", "X-Goatcounter": "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestGoatCounterBulk(t *testing.T) {
	c := newCounting(t)
	const ok = goatAccepted
	now := c.clock()
	person := `,"user_agent":"` + firefox + `","ip":"85.214.132.117"`
	hits := func(hits ...string) string { return `{"hits":[` + strings.Join(hits, ",") + `]}` }
	hit := func(fields string) string { return hits(`{"path":"/a"` + person + fields + `}`) }
	wrong := func(index int, text string) string { return fmt.Sprintf(`{"errors":{"%d":"%s"}}`, index, text) }
	refused := func(text string) string { return `{"error":"` + text + `"}` }
	for i, tt := range []struct {
		name, body, answer string
		status             int
		counted            string
	}{
		{"page view", hit(""), ok, 202, "name=pageview path=/a host=# country=DE browser=Firefox"},
		{"two", hits(`{"path":"/a"`+person+`}`, `{"path":"/a"`+person+`}`), ok, 202, "2 path=/a"},
		{"event", hits(`{"path":"/signup","event":true` + person + `}`), ok, 202, "name=signup path=/"},
		{"event as a text", hits(`{"path":"signup","event":"on"` + person + `}`), ok, 202, "name=signup"},
		{"event is neither", hits(`{"path":"signup","event":3` + person + `}`), wrong(0, "event: is not one of true, false, 1, 0, on, off"), 400, "0"},
		{"title, location and session", hit(`,"title":"T","location":"US","session":"abc"`), ok, 202, "path=/a country=DE"},
		{"ref", hit(`,"ref":"https://www.google.com/"`), ok, 202, "source=Google"},
		{"query", hit(`,"query":"utm_campaign=May"`), ok, 202, "campaign=May"},
		{"language", hit(`,"language":"pt"`), ok, 202, "language=pt"},
		{"no language of the server's own", hit(``), ok, 202, "language="},
		{"size", hit(`,"size":[1920,1080,1]`), ok, 202, "path=/a"},
		{"bot of a script", hit(`,"bot":150`), ok, 202, "0"},
		{"bot by its user agent", hits(`{"path":"/","ip":"192.0.2.1","user_agent":"Googlebot/2.1"}`), ok, 202, "0"},
		{"bot out of range", hit(`,"bot":1`), wrong(0, "bot: is out of range; want 0, or 150 and above"), 400, "0"},
		{"bot of another type", hit(`,"bot":{}`), wrong(0, "bot: is an object; want a number"), 400, "0"},
		{"created_at of a minute ago", hit(`,"created_at":"` + now.Add(-time.Minute).Format(time.RFC3339) + `"`), ok, 202, "path=/a"},
		{"created_at of last week", hit(`,"created_at":"` + now.Add(-7*24*time.Hour).Format(time.RFC3339) + `"`),
			wrong(0, "body: is from another time; want hits within an hour, since they are counted as of now (dachs import log reads old logs)"), 400, "0"},
		{"created_at that is none", hit(`,"created_at":"soon"`), wrong(0, "created_at: is not a time; want seconds since 1970, or one such as 2026-01-31T15:04:05Z"), 400, "0"},
		{"ip that is none", hits(`{"path":"/","ip":"x","user_agent":"` + firefox + `"}`), wrong(0, "ip: is not an IP address"), 400, "0"},
		{"no ip", hits(`{"path":"/","user_agent":"` + firefox + `"}`), wrong(0, "user_agent: and ip are both wanted: visitors are told apart by them, in memory only"), 400, "0"},
		{"a session alone", hits(`{"path":"/","session":"x"}`), wrong(0, "user_agent: and ip are both wanted: visitors are told apart by them, in memory only"), 400, "0"},
		{"no path", hits(`{"path":""` + person + `}`), wrong(0, "path: is missing; want the path of the page, or the name of an event"), 400, "0"},
		{"the rest counts", hits(`{"path":"/a"`+person+`}`, `7`, `{"path":"/a"`+person+`}`), wrong(1, "body: is a number; want an object with path, user_agent and ip"), 400, "2 path=/a"},
		{"no_sessions and filter", `{"no_sessions":true,"filter":["ip"],` + hit("")[1:], ok, 202, "path=/a"},
		{"no hits", `{"hits":[]}`, refused("hits: is missing or no array of hits"), 400, "0"},
		{"hits of another type", `{"hits":{}}`, refused("hits: is missing or no array of hits"), 400, "0"},
		{"no JSON", `{`, refused("body: is not JSON"), 400, "0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			site, _ := c.peerSite(t, fmt.Sprintf("g%d.example", i))
			resp, text := c.do("POST", GoatCounterBulkPath, tt.body, append(bearerOf(c.countToken(site.Domain)), "Accept-Language: fr", "X-Forwarded-For: 198.51.100.1")...)
			if resp.StatusCode != tt.status || text != tt.answer {
				t.Errorf("answer %d %s, want %d %s", resp.StatusCode, text, tt.status, tt.answer)
			}
			c.checkCounted(t, site, strings.ReplaceAll(tt.counted, "#", site.Domain))
		})
	}
	site, _ := c.peerSite(t, "g.example")
	_, reads, err := c.db.CreateToken(site.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string][]string{"no token": nil, "an unknown token": bearerOf("x"), "a token that reads": bearerOf(reads)} {
		resp, text := c.do("POST", GoatCounterBulkPath, hit(""), header...)
		if resp.StatusCode != 401 || !strings.Contains(text, "dachs token create --count") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	if resp, text := c.do("POST", GoatCounterBulkPath, hit(""), append(bearerOf(c.countToken("g.example")), "Sec-GPC: 1")...); resp.StatusCode != 202 || text != ok {
		t.Errorf("GPC: %d %s", resp.StatusCode, text)
	}
	c.checkCounted(t, site, "0")
}

func FuzzGoatCounter(f *testing.F) {
	for _, seed := range []string{"p=/a&t=x&r=https%3A%2F%2Fa.example&q=%3Futm_source%3Dx%26src%3Dy&s=1,2,3&b=0&rnd=1", "p=x&e=true&r=free+text", "p=%ff%00//?#", "p=/&b=-9223372036854775809", "e=maybe"} {
		f.Add(seed, "https://example.com/from")
	}
	f.Fuzz(func(t *testing.T, query, from string) {
		if _, ok := splitURL(from); !ok || len(from) > maxURL/2 {
			return
		}
		var a fasthttp.Args
		a.Parse(query)
		p, s := Payload{}, said{}
		if err := decodeGoatCounter(&a, from, &p, &s); err != nil {
			checkFieldError(t, err)
			return
		}
		p.Domain = "example.com"
		checkDecoded(t, &p, &s)
	})
}

func FuzzGoatCounterHit(f *testing.F) {
	for _, seed := range []string{`{"path":"/a","user_agent":"x","ip":"1.2.3.4","size":[1,2],"bot":150,"event":"on","created_at":"2026-01-01T00:00:00Z","ref":"x y","query":"?a&b"}`, `{"path":7}`, `[]`, `{"size":"1e9"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var parser fastjson.Parser
		v, err := parseJSON(&parser, body)
		if err != nil {
			return
		}
		var p Payload
		var s said
		if err := decodeGoatCounterHit(v, "example.com", &p, &s); err != nil {
			checkFieldError(t, err)
			return
		}
		checkDecoded(t, &p, &s)
	})
}

func TestAddTags(t *testing.T) {
	for _, tt := range []struct{ page, want string }{
		{"https://a.example/", "https://a.example/"},
		{"https://a.example/?mtm_campaign=May", "https://a.example/?mtm_campaign=May&utm_campaign=May"},
		{"https://a.example/?x=1&PK_KWD=hoe%26rake#mtm_source=no", "https://a.example/?x=1&PK_KWD=hoe%26rake&utm_term=hoe%26rake#mtm_source=no"},
		{"https://a.example/?mtm_source=", "https://a.example/?mtm_source="},
		{"https://a.example/?a?mtm_source=x&pk_medium=y", "https://a.example/?a?mtm_source=x&pk_medium=y&utm_medium=y"},
	} {
		if got := addTags(tt.page, matomoTags()); got != tt.want {
			t.Errorf("addTags(%s) is %s, want %s", tt.page, got, tt.want)
		}
		if _, err := url.Parse(addTags(tt.page, goatTags())); err != nil {
			t.Error(err)
		}
	}
}
