package tracker

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fastjson"

	"dachs/storage"
	"dachs/tracker/visit"
)

func newEnricher(tb testing.TB) *Enricher {
	tb.Helper()
	e, err := NewEnricher(EnricherOptions{Geo: openGeo(tb, "")})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func germanChrome() Client {
	return Client{Addr: netip.MustParseAddr("193.99.144.80"), UserAgent: chromeWindows, Language: "de-AT,de;q=0.9,en;q=0.8"}
}

func TestEnrich(t *testing.T) {
	e := newEnricher(t)
	attributes := Attributes{
		Country: "DE", Browser: "Chrome", BrowserVersion: "141", OS: "Windows", OSVersion: "10", Device: "Desktop", Language: "de",
	}
	for _, c := range []struct {
		payload Payload
		want    Hit
	}{
		{
			Payload{Name: "pageview", URL: "https://www.example.com/a/?utm_source=fb#x", Referrer: "https://www.google.com/", Interactive: true, Scroll: -1,
				Props: []Prop{{"of", "an event"}}, Engaged: 7},
			Hit{Kind: visit.PageView, Name: "pageview", Path: "/a", Hostname: "example.com", Interactive: true, Scroll: -1,
				Origin: Origin{Source: "Facebook", Channel: "Organic Social", Referrer: "google.com", UTMSource: "fb"}},
		},
		{
			Payload{Name: "Mail to jane@example.com", URL: "https://example.com/u/jane@example.com", Revenue: Money{1250, "EUR"}, Scroll: -1,
				Props: []Prop{{"b", "2"}, {"a", "jane@example.com"}, {"url", "https://other.example/x/?token=1#y"}}},
			Hit{Kind: visit.Event, Name: "Mail to :email", Path: "/u/:email", Hostname: "example.com", Scroll: -1, Revenue: Money{1250, "EUR"},
				Props: `{"a":":email","b":"2","url":"https://other.example/x"}`, Origin: Origin{Channel: "Direct"},
				Replaced: Replaced{replacedEmail: 3}},
		},
		{
			Payload{Name: "engagement", URL: "https://example.com/#/a", HashMode: true, Interactive: true, Engaged: 5000, Scroll: 70},
			Hit{Kind: visit.Engagement, Name: "engagement", Path: "/#/a", Hostname: "example.com", Interactive: true, Engaged: 5000, Scroll: 70,
				Origin: Origin{Channel: "Direct"}},
		},
	} {
		client := germanChrome()
		c.want.Attributes = attributes
		got, reason, err := e.Enrich(&c.payload, &client, &storage.Site{})
		if reason != Accepted || err != nil {
			t.Errorf("%+v: %v, %v", c.payload, reason, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v: (-want +got)\n%s", c.payload, diff)
		}
	}
}

func TestEnrichRefuses(t *testing.T) {
	e := newEnricher(t)
	for _, c := range []struct {
		url, userAgent, purpose string
		want                    Reason
	}{
		{"https://example.com/", chromeWindows, "", Accepted},
		{"https://example.com/", "", "", Bot},
		{"https://example.com/", "curl/8.5.0", "", Bot},
		{"https://example.com/", chromeWindows, "prefetch;prerender", Prefetch},
		{"/relative?secret", chromeWindows, "", Malformed},
	} {
		client := germanChrome()
		client.UserAgent, client.Purpose = c.userAgent, c.purpose
		hit, got, err := e.Enrich(&Payload{Name: "pageview", URL: c.url}, &client, &storage.Site{})
		if got != c.want || (err != nil) != (c.want == Malformed) {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
		if got != Accepted && hit != (Hit{}) {
			t.Errorf("%+v: leaves %+v", c, hit)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("error %q quotes the URL", err)
		}
	}
}

// The address, the user agent, the query and the fragment must not be in any field of a hit (invariant 1).
func TestHitHoldsNothingOfTheRequest(t *testing.T) {
	e := newEnricher(t)
	p := Payload{
		Name: "pageview", URL: "https://user:canary1@example.com:4711/path?q=canary2&token=canary3&gclid=canary4#canary5", Domain: "example.com",
		Referrer: "https://canary6@other.example/from?q=canary7#canary8", Props: []Prop{{"a", "https://x.example/?q=canary9"}},
	}
	c := germanChrome()
	c.UserAgent += " canary10/1"
	c.Language = "de-canary11"
	for _, name := range []string{"pageview", "event", "engagement"} {
		p.Name = name
		hit, reason, err := e.Enrich(&p, &c, &storage.Site{})
		if reason != Accepted || err != nil {
			t.Fatal(reason, err)
		}
		text := fmt.Sprintf("%+v", hit)
		for _, secret := range []string{"canary", "193.99", "4711", "Mozilla"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %s", secret, text)
			}
		}
	}
}

func TestLanguage(t *testing.T) {
	for accept, want := range map[string]string{
		"de": "de", "de-AT,de;q=0.9": "de", "EN_us": "en", " fr ; q=1": "fr", "gsw-CH": "gsw", "zh-Hant-TW": "zh",
		"": "", "*": "", "x": "", "d3": "", "deutsch": "", "<script>": "", "-": "", "ä": "",
	} {
		if got := language(accept); got != want {
			t.Errorf("language(%q) is %q, want %q", accept, got, want)
		}
	}
}

func TestEncodeProps(t *testing.T) {
	for _, c := range []struct {
		props []Prop
		want  string
	}{
		{nil, ""},
		{[]Prop{{"a", "1"}}, `{"a":"1"}`},
		{[]Prop{{"b", "2"}, {"a", "1"}}, `{"a":"1","b":"2"}`},
		{[]Prop{{"a", "1"}, {"b", "2"}}, `{"a":"1","b":"2"}`},
		{[]Prop{{"a", "1"}, {"a", "2"}}, `{"a":"1"}`},
		{[]Prop{{`q"\`, "\"\\\n\x1f</ä"}}, `{"q\"\\":"\"\\\u000A\u001F</ä"}`},
		{[]Prop{{"a", `1","b":"2`}}, `{"a":"1\",\"b\":\"2"}`},
		{[]Prop{{"mail jane@example.com", "550e8400-e29b-41d4-a716-446655440000"}}, `{"mail :email":":uuid"}`},
		{[]Prop{{"to", "mailto:jane@example.com"}}, `{"to":"mailto::email"}`},
		{[]Prop{{"url", "https://www.x.example/a/?q=1#f"}}, `{"url":"https://x.example/a"}`},
	} {
		got := encodeProps(c.props, new(Replaced))
		if got != c.want {
			t.Errorf("encodeProps(%q) is %s, want %s", c.props, got, c.want)
		}
		if got == "" {
			continue
		}
		if _, err := fastjson.Parse(got); err != nil {
			t.Errorf("%s is not JSON: %v", got, err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, body := range map[string]string{
		"pageview": `{"n":"pageview","u":"https://example.com/blog/a-post?utm_source=newsletter","d":"example.com","r":"https://www.google.com/"}`,
		"event": `{"n":"Purchase","u":"https://example.com/checkout","d":"example.com","r":null,"i":false,` +
			`"p":{"plan":"pro","seats":5},"$":{"amount":"49.90","currency":"EUR"}}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var parser fastjson.Parser
			var p Payload
			for b.Loop() {
				if err := decode(&parser, []byte(body), &p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEnrich(b *testing.B) {
	e := newEnricher(b)
	for name, p := range map[string]Payload{
		"direct":   {Name: "pageview", URL: "https://example.com/blog/a-post", Scroll: -1},
		"campaign": {Name: "pageview", URL: "https://example.com/blog/a-post?utm_source=newsletter&utm_medium=email", Referrer: "https://www.google.com/", Scroll: -1},
		"event":    {Name: "Purchase", URL: "https://example.com/checkout", Props: []Prop{{"seats", "5"}, {"plan", "pro"}}, Scroll: -1},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			c := germanChrome()
			for b.Loop() {
				if _, reason, err := e.Enrich(&p, &c, &storage.Site{}); reason != Accepted {
					b.Fatal(reason, err)
				}
			}
		})
	}
}

// The parts of Enrich that cost most.
func BenchmarkParts(b *testing.B) {
	geo := openGeo(b, "")
	addr := netip.MustParseAddr("193.99.144.80")
	page, _ := splitURL("https://example.com/blog/a-post")
	for name, f := range map[string]func(){
		"bot":       func() { IsBot(chromeWindows) },
		"useragent": func() { parseUserAgent(chromeWindows) },
		"geo":       func() { geo.locate(addr) },
		"origin":    func() { originOf(page, "https://www.google.com/", &storage.Site{}, new(Replaced)) },
		"page":      func() { pagePath(page, false, nil, new(Replaced)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}

// Run with -race: one Enricher serves all connections.
func TestEnrichConcurrently(t *testing.T) {
	e := newEnricher(t)
	p := Payload{Name: "event", URL: "https://example.com/a?ref=hn", Props: []Prop{{"b", "2"}, {"a", "1"}}}
	c := germanChrome()
	want, _, err := e.Enrich(&p, &c, &storage.Site{})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if got, reason, err := e.Enrich(&p, &c, &storage.Site{}); got != want || reason != Accepted || err != nil {
					t.Errorf("%+v, %v, %v; want %+v", got, reason, err, want)
					return
				}
			}
		})
	}
	group.Wait()
}
