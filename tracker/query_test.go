package tracker

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"dachs/storage"
)

func TestKeptQuery(t *testing.T) {
	long := strings.Repeat("ä", 60)
	for _, c := range []struct {
		keep        []string
		query, want string
	}{
		{nil, "p=1", ""},
		{[]string{"p"}, "", ""},
		{[]string{"p"}, "q=1", ""},
		{[]string{"p"}, "p=1&q=2#x", "p=1"},
		{[]string{"p"}, "q=2&p=1", "p=1"},
		{[]string{"p"}, "p=&p=2&p=3", "p=2"},
		{[]string{"p"}, "P=1", ""},
		{[]string{"p"}, "p", ""},
		{[]string{"p"}, "p=%20", ""},
		{[]string{"b", "a"}, "a=1&b=2", "b=2&a=1"},
		{[]string{"b", "a", "b"}, "a=1&b=2", "b=2&a=1"},
		{[]string{"filter[x]"}, "filter%5Bx%5D=1", "filter[x]=1"},
		{[]string{"q"}, "q=gr%C3%BCne+Schuhe", "q=grüne Schuhe"},
		{[]string{"q"}, "q=a%26b%3Dc%2Bd%23e%25f%3Fg", "q=a%26b%3Dc%2Bd%23e%25f%3Fg"},
		{[]string{"q"}, "q=100%", "q=100%25"},
		{[]string{"q"}, "q=a%00%0Ab", "q=a  b"},
		{[]string{"q"}, "q=" + long, "q=" + long[:maxKeptValue]},
		{[]string{"u"}, "u=jane%40example.com", "u=:email"},
		{[]string{"u"}, "u=%2B49+170+1234567", "u=:phone"},
		{[]string{"u"}, "u=550e8400-e29b-41d4-a716-446655440000", "u=:uuid"},
		// Cut at the limit this address would be half an address.
		{[]string{"u"}, "u=" + strings.Repeat("x+", 46) + "jane%40example.com", "u=" + strings.Repeat("x ", 46) + ":email"},
		{[]string{"gclid", "fbclid", "msclkid", "p"}, "gclid=x&fbclid=y&msclkid=z&p=1", "p=1"},
		{[]string{"a", "b", "c", "d", "e", "f"}, "a=1&b=2&c=3&d=4&e=5&f=6", "a=1&b=2&c=3&d=4&e=5"},
		{[]string{"a", "b", "c", "d", "e", "f"}, "b=2&c=3&d=4&e=5&f=6", "b=2&c=3&d=4&e=5&f=6"},
	} {
		if got := keptQuery(c.query, c.keep, new(Replaced)); got != c.want {
			t.Errorf("of %q, %q is kept; want %q", c.query, got, c.want)
		}
	}
}

func FuzzKeptQuery(f *testing.F) {
	for _, seed := range []string{"p=1&q=2", "q=%C3%A4+b", "q=%zz", "p=jane%40example.com&q=a%2526b", "p=%00&p=%E2%80%AE", strings.Repeat("p=%25&", 50)} {
		f.Add(seed, "p", "q")
	}
	f.Fuzz(func(t *testing.T, query, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return
		}
		keep := []string{a, b}
		got := keptQuery(query, keep, new(Replaced))
		if again := keptQuery(got, keep, new(Replaced)); again != got {
			t.Errorf("of %q, %q is kept, and of that %q", query, got, again)
		}
		if strings.ContainsAny(got, "#?") || !utf8.ValidString(got) || len(got) > 4+3*(len(a)+len(b)+2*maxKeptValue) {
			t.Errorf("of %q, %q is kept", query, got)
		}
		values, err := url.ParseQuery(strings.ReplaceAll(got, ";", "%3B"))
		if err != nil || len(values) > 2 {
			t.Errorf("%q is read as %v, %v", got, values, err)
		}
	})
}

// Each site has a say in what becomes of one event.
func TestDraftForSites(t *testing.T) {
	e := newEnricher(t)
	site := func(change func(s *storage.Site)) *storage.Site {
		s := &storage.Site{ID: 1, Domain: "example.com"}
		change(s)
		return s
	}
	p := Payload{Name: "pageview", URL: "https://www.shop.example.com/a/?p=2&token=secret#/route?x=1", Referrer: "https://www.example.com/from/jane@example.com", Scroll: -1}
	client := germanChrome()
	var d Draft
	if reason, err := e.Draft(&p, &client, &d); reason != Accepted {
		t.Fatal(reason, err)
	}
	d.city = "Munich"
	own := Origin{Channel: "Direct"}
	other := Origin{Source: "example.com", Channel: "Referral", Referrer: "example.com/from/:email"}
	for i, c := range []struct {
		site     *storage.Site
		path     string
		city     string
		origin   Origin
		replaced Replaced
	}{
		{site(func(s *storage.Site) {}), "/a", "", own, Replaced{}},
		{site(func(s *storage.Site) { s.Domain = "example.org" }), "/a", "", other, Replaced{replacedEmail: 1}},
		{site(func(s *storage.Site) { s.Domain = "shop.example.com" }), "/a", "", other, Replaced{replacedEmail: 1}},
		{site(func(s *storage.Site) { s.Domain = "x.org"; s.Settings.Aliases = []string{"42", "example.com"} }), "/a", "", own, Replaced{}},
		{site(func(s *storage.Site) { s.Domain = "x.org"; s.Settings.Aliases = []string{"www.example.com"} }), "/a", "", own, Replaced{}},
		{site(func(s *storage.Site) { s.Domain = "x.org"; s.Settings.Hosts = []string{"y.org", "example.com"} }), "/a", "", own, Replaced{}},
		{site(func(s *storage.Site) { s.Domain = "x.org"; s.Settings.Hosts = []string{"*.com"} }), "/a", "", own, Replaced{}},
		{site(func(s *storage.Site) { s.Domain = "x.org"; s.Settings.Hosts = []string{"*.example.com", "*.ample.com"} }), "/a", "", other, Replaced{replacedEmail: 1}},
		{site(func(s *storage.Site) { s.Settings.Query = []string{"p"} }), "/a?p=2", "", own, Replaced{}},
		{site(func(s *storage.Site) { s.Settings.Fragment = true }), "/a#/route", "", own, Replaced{}},
		{site(func(s *storage.Site) { s.Settings.Fragment = true; s.Settings.Query = []string{"p", "x"} }), "/a?p=2#/route", "", own, Replaced{}},
		{site(func(s *storage.Site) { s.Settings.City = true }), "/a", "Munich", own, Replaced{}},
		{site(func(s *storage.Site) {}), "/a", "", own, Replaced{}},
	} {
		h := d.For(c.site)
		if h.Path != c.path || h.Attributes.City != c.city || h.Origin != c.origin || h.Replaced != c.replaced {
			t.Errorf("site %d: %q, %q, %+v, %v; want %q, %q, %+v, %v", i, h.Path, h.Attributes.City, h.Origin, h.Replaced, c.path, c.city, c.origin, c.replaced)
		}
	}
}

// The path of some events is a property, as the site has it: Plausible's reports ask for it there.
func TestEventsThatTellTheirPath(t *testing.T) {
	e := newEnricher(t)
	site := storage.Site{Domain: "example.com", Settings: storage.Settings{Query: []string{"p"}}}
	full := make([]Prop, maxProps)
	for i := range full {
		full[i] = Prop{string(rune('A' + i)), "1"}
	}
	for _, c := range []struct {
		name  string
		props []Prop
		want  string
	}{
		{"404", nil, `{"path":"/no/:email?p=1"}`},
		{"404", []Prop{{"a", "1"}}, `{"a":"1","path":"/no/:email?p=1"}`},
		{"404", []Prop{{"path", "/other"}}, `{"path":"/other"}`},
		{"404", full, encodeProps(full, new(Replaced))},
		{"Form: Submission", nil, `{"path":"/no/:email?p=1"}`},
		{"Signup", nil, ""},
		{"pageview", []Prop{{"a", "1"}}, ""},
	} {
		client := germanChrome()
		hit, reason, err := e.Enrich(&Payload{Name: c.name, URL: "https://example.com/no/jane@example.com?p=1&q=2", Props: c.props}, &client, &site)
		if reason != Accepted || err != nil || hit.Props != c.want {
			t.Errorf("%s %v: %s, want %s (%v, %v)", c.name, c.props, hit.Props, c.want, reason, err)
		}
		if hit.Replaced != (Replaced{replacedEmail: 1}) {
			t.Errorf("%s %v: replaced %v", c.name, c.props, hit.Replaced)
		}
	}
}

func TestSettingsOfEachSiteCount(t *testing.T) {
	c := newCounting(t)
	if _, err := c.db.AddSite("example.org", "UTC"); err != nil {
		t.Fatal(err)
	}
	set := func(change func(s *storage.Settings)) {
		t.Helper()
		if _, err := c.db.ChangeSettings("example.com", func(s *storage.Settings) error { change(s); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	hit := func() {
		c.hit(`{"n":"pageview","u":"https://example.com/list?page=2&q=jane%40example.com#/r/jane@example.com","d":"example.com,example.org","w":390,"language":"fr-CA"}`)
	}
	hit()
	set(func(s *storage.Settings) { s.Query, s.Fragment = []string{"page", "q"}, true })
	hit()
	set(func(s *storage.Settings) { s.Fragment = false })
	hit()
	got := c.counts(storage.Path)
	for _, path := range []string{"/list", "/list?page=2&q=:email#/r/:email", "/list?page=2&q=:email"} {
		if got[path][2] != 1 {
			t.Errorf("%s has %v; all are %v", path, got[path], got)
		}
	}
	if got := c.counts(storage.Screen, storage.Language); got["xs fr"][0] != 1 {
		t.Errorf("screens and languages are %v", got)
	}
	_, metrics := c.do("GET", MetricsPath, "")
	// Of the first site: a kept parameter and a route of the second hit, a kept parameter of the third.
	if want := `dachs_texts_replaced_total{kind="email"} 3` + "\n"; !strings.Contains(metrics, want) {
		t.Errorf("metrics lack %q:\n%s", want, metrics)
	}
	c.hit(`{"n":"pageview","u":"https://example.com/jane@example.com","d":"example.com"}`, "User-Agent: curl/8")
	c.hit(`{"n":"engagement","u":"https://example.com/jane@example.com","d":"example.com","e":5000}`)
	if _, again := c.do("GET", MetricsPath, ""); !strings.Contains(again, `dachs_texts_replaced_total{kind="email"} 3`+"\n") {
		t.Error("what was replaced in a hit that did not count is counted")
	}
	org, _ := c.db.Site("example.org")
	c.site = org
	if got := c.counts(storage.Path); got["/list"][2] != 3 {
		t.Errorf("the other site has %v", got)
	}
}

func TestScreenClass(t *testing.T) {
	for width, want := range map[int]string{-1: "", 0: "", 1: "xs", 360: "xs", 479: "xs", 480: "sm", 767: "sm", 768: "md", 1023: "md",
		1024: "lg", 1439: "lg", 1440: "xl", 3840: "xl", maxWidth: "xl", maxWidth + 1: ""} {
		if got := screenClass(width); got != want {
			t.Errorf("%d is %q, want %q", width, got, want)
		}
	}
}
