package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"dachs/storage"
	"dachs/tracker"
	"dachs/tracker/visit"
)

// benchTraffic makes up the hits of a large site: 2.5 page views a visit, 1.2 visits a visitor and day, 500
// pages of uneven weight, and attributes as they are spread on the web. What a real site has more of than this,
// it has in paths and campaigns.
type benchTraffic struct {
	r       *rand.Rand
	paths   []string
	page    *rand.Zipf
	country *rand.Zipf
	site    *rand.Zipf // referring site
}

const (
	benchPages     = 500
	benchReferrers = 200
	benchSeed      = 0xBE7C
)

// newBenchTraffic makes the traffic of a day: the same for the same stream, so that it can be made up again.
func newBenchTraffic(stream uint64) *benchTraffic {
	r := rand.New(rand.NewPCG(benchSeed, stream))
	t := &benchTraffic{r: r, page: rand.NewZipf(r, 1.1, 1, benchPages-1), country: rand.NewZipf(r, 1.5, 2, 79), site: rand.NewZipf(r, 1.3, 1, benchReferrers-1)}
	for i := range benchPages {
		t.paths = append(t.paths, fmt.Sprintf("/%s/%d-some-title-of-a-page", []string{"blog", "docs", "shop", "news"}[i%4], i))
	}
	t.paths[0] = "/"
	return t
}

// benchVisitor is somebody on one day.
type benchVisitor struct {
	addr       netip.Addr
	attributes tracker.Attributes
}

func (t *benchTraffic) visitor(n int) benchVisitor {
	type system struct{ name, version, device string }
	type browser struct{ name, version string }
	s := pick(t.r, []system{{"Windows", "10", "Desktop"}, {"Android", "15", "Mobile"}, {"iOS", "18", "Mobile"}, {"macOS", "10", "Desktop"},
		{"Android", "14", "Mobile"}, {"iOS", "17", "Mobile"}, {"GNU/Linux", "", "Desktop"}, {"Android", "13", "Tablet"}, {"ChromeOS", "", "Desktop"}})
	b := pick(t.r, []browser{{"Chrome", "141"}, {"Safari", "18"}, {"Chrome", "140"}, {"Firefox", "143"}, {"Edge", "141"}, {"Safari", "17"},
		{"Chrome", "139"}, {"Samsung Internet", "28"}, {"Firefox", "140"}, {"Opera", "122"}, {"Chrome", "138"}})
	c := int(t.country.Uint64())
	a := tracker.Attributes{
		Country: string([]byte{'A' + byte(c%26), 'A' + byte(c*7%26)}), OS: s.name, OSVersion: s.version, Device: s.device,
		Browser: b.name, BrowserVersion: b.version,
		Language: []string{"en", "de", "fr", "es", "nl", "it", "pl", "pt", "sv", "ja"}[(c+min(t.r.IntN(6), 1)*c)%10],
	}
	return benchVisitor{netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), a}
}

// pick draws with falling weight: each value has 0.6 of the weight of the one before.
func pick[T any](r *rand.Rand, values []T) T {
	for _, v := range values {
		if r.Float64() < .4 {
			return v
		}
	}
	return values[0]
}

func (t *benchTraffic) origin() tracker.Origin {
	n := int(t.site.Uint64())
	switch x := t.r.Float64(); {
	case x < .42:
		return tracker.Origin{Channel: "Direct"}
	case x < .72:
		name := []string{"Google", "Bing", "DuckDuckGo", "Ecosia"}[min(n, 3)]
		return tracker.Origin{Source: name, Channel: "Organic Search", Referrer: []string{"google.com", "bing.com", "duckduckgo.com", "ecosia.org"}[min(n, 3)]}
	case x < .8:
		return tracker.Origin{Source: "newsletter", Channel: "Email", UTMSource: "newsletter", UTMMedium: "email", UTMCampaign: fmt.Sprintf("letter-%d", n%30)}
	default:
		host := fmt.Sprintf("site-%d.example", n)
		return tracker.Origin{Source: host, Channel: "Referral", Referrer: fmt.Sprintf("%s/article/%d", host, t.r.IntN(3))}
	}
}

// day calls add with about views page views of a day, in no order of time across visitors.
func (t *benchTraffic) day(midnight time.Time, views int, add func(v *benchVisitor, h *tracker.Hit, at time.Time) error) error {
	for n := 0; views > 0; n++ {
		v := t.visitor(n)
		at := midnight.Add(time.Duration(t.r.IntN(72000)) * time.Second)
		for again := true; again; again = t.r.IntN(6) == 0 {
			h := tracker.Hit{Kind: visit.PageView, Name: storage.PageViewName, Hostname: "example.com", Scroll: -1, Origin: t.origin(), Attributes: v.attributes}
			for more := true; more; more = t.r.Float64() < .6 {
				h.Path = t.paths[t.page.Uint64()]
				if err := add(&v, &h, at); err != nil {
					return err
				}
				views--
				at = at.Add(time.Duration(5+t.r.IntN(180)) * time.Second)
			}
			if at = at.Add(40 * time.Minute); at.Sub(midnight) > 23*time.Hour {
				break
			}
		}
	}
	return nil
}
